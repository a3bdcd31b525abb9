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
    private readonly delegate* unmanaged<int, LaunchRecord*, int, int> _countersTake;

    internal EmulatorControl(ExportTable exports)
    {
        _addDevice = (delegate* unmanaged<DeviceConfig*, int>)exports.Required("griffinEmuAddDevice");
        _compilerIdentity = (delegate* unmanaged<byte*, int, int>)exports.Required("griffinEmuCompilerIdentity");
        _lastFault = (delegate* unmanaged<byte*, int, int>)exports.Required("griffinEmuLastFault");
        _version = (delegate* unmanaged<int>)exports.Required("griffinEmuVersion");
        _countersTake = (delegate* unmanaged<int, LaunchRecord*, int, int>)exports.Required("griffinEmuCountersTake");
    }

    /// <summary>The control of the emulator when that is what a loaded library is, else null: for providers that load the driver in their own way.</summary>
    /// <param name="library">A handle of <see cref="NativeLibrary"/>.</param>
    public static EmulatorControl? TryBind(nint library) =>
        NativeLibrary.TryGetExport(library, "griffinEmuVersion", out _) ? new(new ExportTable(library, "emulator")) : null;

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

    /// <summary>Takes the records of the launches that have run on a device, oldest first.</summary>
    internal LaunchRecord[] TakeCounters(int ordinal)
    {
        int waiting = _countersTake(ordinal, null, 0);
        if (waiting <= 0) return [];
        LaunchRecord[] records = new LaunchRecord[waiting];
        fixed (LaunchRecord* pointer = records) waiting = _countersTake(ordinal, pointer, waiting);
        return waiting == records.Length ? records : records[..Math.Max(0, waiting)];
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

    /// <summary>Mirror of <c>GriffinEmuAllocationRecord</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct AllocationRecord
    {
        public ulong Address;
        public ulong Bytes;
        public ulong BytesRead;
        public ulong BytesWritten;
        public ulong RequestSectorsRead;
        public ulong RequestSectorsWritten;
        public ulong SectorsRead;
        public ulong SectorsWritten;
    }

    /// <summary>Mirror of <c>GriffinEmuLaunchRecord</c>.</summary>
    [StructLayout(LayoutKind.Sequential)]
    internal struct LaunchRecord
    {
        public const int NameBytes = 256;
        public const int MaxAllocations = 24;

        public fixed byte Kernel[NameBytes];
        public fixed uint Grid[3];
        public fixed uint Block[3];
        public uint DynamicSharedBytes;
        public uint AllocationCount;
        public ulong SharedBytesRead;
        public ulong SharedBytesWritten;
        public ulong BankConflicts;
        public ulong Barriers;
        public ulong MatrixMultiplyAdds;
        public AllocationRecords Allocations;
    }

    [System.Runtime.CompilerServices.InlineArray(LaunchRecord.MaxAllocations)]
    internal struct AllocationRecords
    {
        private AllocationRecord _first;
    }
}
