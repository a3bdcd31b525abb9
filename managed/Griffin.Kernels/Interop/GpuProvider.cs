namespace Griffin.Kernels.Interop;

/// <summary>
/// A way to reach CUDA: the driver, the run-time compiler and, when found, cuBLAS and cuBLASLt. Several may be open in one process.
/// The library comes with two: NVIDIA's own libraries and the emulator, both bound by function pointers; others may be given to <see cref="Runtime.GpuDevice"/>.
/// </summary>
/// <param name="Name">A short name for messages, for instance "nvidia" or "emulator".</param>
/// <param name="Driver">The driver calls; <see cref="CudaDriver.Init"/> has succeeded.</param>
/// <param name="Nvrtc">The compiler calls.</param>
/// <param name="Blas">The cuBLAS calls, or null: products then use the library's own kernel.</param>
/// <param name="Trace">How the libraries were found.</param>
/// <param name="Emulator">Control of the emulator when that is behind the driver calls, else null.</param>
public sealed record GpuProvider(string Name, CudaDriver Driver, Nvrtc Nvrtc, Blas? Blas, SearchTrace Trace, EmulatorControl? Emulator = null)
{
    /// <summary>The cuBLASLt calls, or null: large products then go where the others go.</summary>
    public BlasLt? BlasLt { get; init; }
}
