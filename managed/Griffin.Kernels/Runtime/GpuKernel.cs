namespace Griffin.Kernels.Runtime;

/// <summary>A compiled kernel of one device, to be launched with a parameter struct; it lives as long as the device.</summary>
/// <typeparam name="TParams">The kernel's only parameter, laid out as its C++ twin.</typeparam>
public sealed class GpuKernel<TParams> where TParams : unmanaged
{
    private readonly LoadedKernel _kernel;
    private nint _function;

    internal GpuKernel(LoadedKernel kernel) => _kernel = kernel;

    /// <summary>What was asked for.</summary>
    public KernelSpec Spec => _kernel.Spec;

    /// <summary>What the driver says about the kernel; waits for its compilation.</summary>
    public KernelAttributes Attributes => _kernel.Wait().Attributes;

    internal DeviceContext Context => _kernel.Context;

    internal nint Function => _function != 0 ? _function : Load();

    /// <summary>Allows launches with up to this much dynamic shared memory; needed over 48 KB.</summary>
    /// <exception cref="GpuException">The device has not that much (thrown here, or by the first launch when the kernel is not compiled yet).</exception>
    public void SetMaxDynamicSharedBytes(int bytes) => _kernel.SetMaxDynamicSharedBytes(bytes);

    private nint Load()
    {
        _kernel.CheckParameterSize(typeof(TParams), System.Runtime.CompilerServices.Unsafe.SizeOf<TParams>());
        return _function = _kernel.Wait().Function;
    }
}
