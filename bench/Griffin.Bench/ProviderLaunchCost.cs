using System.Runtime.InteropServices;
using BenchmarkDotNet.Attributes;
using Griffin.Kernels.Interop;
using Griffin.Kernels.ManagedCuda;
using Griffin.Kernels.Runtime;
using ManagedCuda;
using ManagedCuda.BasicTypes;

namespace Griffin.Bench;

/// <summary>
/// What one launch costs on the host through each provider, and through ManagedCuda's own <see cref="CudaKernel"/>: all three over the same stub, a
/// library that ManagedCuda finds under the driver's name, whose calls return at once. Built with -p:WithManagedCuda=true only.
/// </summary>
[MemoryDiagnoser]
public class ProviderLaunchCost
{
    private readonly KernelSpec _spec = new(KernelSource.FromText("stub.cu", "struct LaunchParams {}; __global__ void stub(LaunchParams) {}"), "stub");
    private GpuDevice _direct = null!;
    private GpuDevice _managed = null!;
    private GpuStream _directStream = null!;
    private GpuStream _managedStream = null!;
    private GpuKernel<LaunchParams> _directKernel = null!;
    private GpuKernel<LaunchParams> _managedKernel = null!;
    private CudaContext _context = null!;
    private CudaStream _cudaStream = null!;
    private CudaKernel _cudaKernel = null!;
    private LaunchParams _parameters;

    /// <summary>Loads the stub and opens a device through each provider.</summary>
    [GlobalSetup]
    public void Setup()
    {
        // Loaded first, it is what the loader answers the name libcuda.so with.
        nint library = NativeLibrary.Load(Path.Combine(AppContext.BaseDirectory, "libstub_cuda.so"));
        GpuProvider stub = StubCuda.CreateProvider();
        (_direct, _directStream, _directKernel) = Open(stub with { Name = "direct", Driver = new DirectCudaDriver(new ExportTable(library, "stub")) });
        (_managed, _managedStream, _managedKernel) = Open(stub with { Name = ManagedCudaProvider.Name, Driver = new ManagedCudaDriver(hasStreamOrderedMemory: true) });
        (_context, _cudaStream, _cudaKernel) = OpenManagedCuda();
        _parameters = new() { X = 0x1000, Y = 0x2000, Rows = 16, Columns = 2560 };
    }

    /// <summary>Closes the devices.</summary>
    [GlobalCleanup]
    public void Cleanup()
    {
        _cudaStream.Dispose();
        _context.Dispose();
        _direct.Dispose();
        _managed.Dispose();
    }

    /// <summary>Our launch through the library's own binding.</summary>
    [Benchmark(Baseline = true)]
    public void Direct() => _directStream.Launch(_directKernel, 16, 256, in _parameters);

    /// <summary>Our launch through ManagedCuda.</summary>
    [Benchmark]
    public void ThroughManagedCuda() => _managedStream.Launch(_managedKernel, 16, 256, in _parameters);

    /// <summary>A launch by ManagedCuda's own class.</summary>
    [Benchmark]
    public void ManagedCudaKernel() => _cudaKernel.RunAsync(_cudaStream.Stream, _parameters);

    private (GpuDevice, GpuStream, GpuKernel<LaunchParams>) Open(GpuProvider provider)
    {
        GpuDevice device = GpuDevice.Open("cuda", new() { Provider = provider, UseDiskCache = false });
        GpuStream stream = device.CreateStream();
        GpuKernel<LaunchParams> kernel = device.Compiler.Get<LaunchParams>(_spec);
        stream.Launch(kernel, 1, 1, default);
        return (device, stream, kernel);
    }

    private static (CudaContext, CudaStream, CudaKernel) OpenManagedCuda()
    {
        CudaContext context = new(0);
        CudaKernel kernel = new("stub", context.LoadModulePTX(new byte[1])) { GridDimensions = 16, BlockDimensions = 256 };
        return (context, new CudaStream(), kernel);
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
