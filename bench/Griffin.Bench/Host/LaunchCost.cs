using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench;

/// <summary>What one launch costs on the host beside the driver's own time: the stub driver returns at once.</summary>
[MemoryDiagnoser]
public class LaunchCost
{
    private readonly KernelSpec _spec = new(KernelSource.FromText("stub.cu", "struct LaunchParams {}; __global__ void stub(LaunchParams) {}"), "stub");
    private GpuDevice _device = null!;
    private GpuDevice _oldDevice = null!;
    private GpuStream _stream = null!;
    private GpuStream _oldStream = null!;
    private GpuKernel<LaunchParams> _kernel = null!;
    private GpuKernel<LaunchParams> _oldKernel = null!;
    private LaunchParams _parameters;

    /// <summary>Opens two stub devices: one with cuLaunchKernelEx, one whose driver is older.</summary>
    [GlobalSetup]
    public void Setup()
    {
        (_device, _stream, _kernel) = Open(new Dictionary<string, nint>());
        (_oldDevice, _oldStream, _oldKernel) = Open(new Dictionary<string, nint> { ["cuLaunchKernelEx"] = 0 });
        _parameters = new() { X = 0x1000, Y = 0x2000, Rows = 16, Columns = 2560 };
    }

    /// <summary>Closes the devices.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _device.Dispose();
        _oldDevice.Dispose();
    }

    /// <summary>The usual launch.</summary>
    [Benchmark(Baseline = true)]
    public void LaunchKernelEx() => _stream.Launch(_kernel, 16, 256, in _parameters);

    /// <summary>The launch on a driver older than CUDA 11.8's.</summary>
    [Benchmark]
    public void LaunchKernelOldDriver() => _oldStream.Launch(_oldKernel, 16, 256, in _parameters);

    private (GpuDevice, GpuStream, GpuKernel<LaunchParams>) Open(Dictionary<string, nint> overrides)
    {
        GpuDevice device = GpuDevice.Open("cuda", new() { Provider = StubCuda.CreateProvider(overrides), UseDiskCache = false });
        GpuStream stream = device.CreateStream();
        GpuKernel<LaunchParams> kernel = device.Compiler.Get<LaunchParams>(_spec);
        stream.Launch(kernel, 1, 1, default);
        return (device, stream, kernel);
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct LaunchParams
    {
        public ulong X;
        public ulong Y;
        public long Rows;
        public int Columns;
    }
}
