using System.Runtime.InteropServices;
using System.Text;

namespace Griffin.Kernels.Interop;

/// <summary>The emulator's own functions, beside those of CUDA.</summary>
public sealed unsafe class EmulatorControl
{
    private readonly delegate* unmanaged<DeviceConfig*, int> _addDevice;
    private readonly delegate* unmanaged<byte*, int, int> _compilerIdentity;
    private readonly delegate* unmanaged<byte*, int, int> _lastFault;
    private readonly delegate* unmanaged<int> _version;

    internal EmulatorControl(ExportTable exports)
    {
        _addDevice = (delegate* unmanaged<DeviceConfig*, int>)exports.Required("griffinEmuAddDevice");
        _compilerIdentity = (delegate* unmanaged<byte*, int, int>)exports.Required("griffinEmuCompilerIdentity");
        _lastFault = (delegate* unmanaged<byte*, int, int>)exports.Required("griffinEmuLastFault");
        _version = (delegate* unmanaged<int>)exports.Required("griffinEmuVersion");
    }

    /// <summary>Version of the emulator library.</summary>
    public int Version => _version();

    /// <summary>The C++ compiler behind the emulated NVRTC, its resolved flags and the digest of what it always includes; empty when there is no compiler.</summary>
    public string CompilerIdentity() => Text(_compilerIdentity);

    /// <summary>What the last fault of the current context was, in words; empty if there was none.</summary>
    public string LastFault() => Text(_lastFault);

    /// <summary>Adds an emulated device and returns its ordinal.</summary>
    public int AddDevice(int computeMajor, int computeMinor, bool isChecked, bool countAccesses, ulong seed, int workers, long memoryBytes)
    {
        DeviceConfig config = new()
        {
            ComputeMajor = computeMajor,
            ComputeMinor = computeMinor,
            Checked = isChecked ? 1 : 0,
            CountAccesses = countAccesses ? 1 : 0,
            Seed = seed,
            Workers = workers,
            MemoryBytes = memoryBytes,
        };
        return _addDevice(&config);
    }

    private static string Text(delegate* unmanaged<byte*, int, int> read)
    {
        int length = read(null, 0);
        if (length <= 0) return "";
        byte[] buffer = new byte[length + 1];
        fixed (byte* pointer = buffer) _ = read(pointer, buffer.Length);
        return Encoding.UTF8.GetString(buffer.AsSpan()).TrimEnd('\0');
    }

    [StructLayout(LayoutKind.Sequential)]
    internal struct DeviceConfig
    {
        public int ComputeMajor;
        public int ComputeMinor;
        public int Checked;
        public int CountAccesses;
        public ulong Seed;
        public int Workers;
        public long MemoryBytes;
    }
}
