namespace Griffin.Kernels.Runtime;

/// <summary>What the compiler made of a kernel.</summary>
/// <param name="Spec">What was asked for.</param>
/// <param name="LoweredName">The symbol of the kernel in the image.</param>
/// <param name="Image">A cubin, or PTX when the device is newer than the compiler.</param>
/// <param name="IsPtx">True when <paramref name="Image"/> is PTX.</param>
/// <param name="Log">Everything the compiler said, warnings included.</param>
/// <param name="FromCache">True when it came from the disk cache.</param>
public sealed record CompiledKernel(KernelSpec Spec, string LoweredName, ReadOnlyMemory<byte> Image, bool IsPtx, string Log, bool FromCache)
{
    /// <summary>Registers, spills and shared memory as the compiler reported them; null unless compiled with <c>--ptxas-options=-v</c> to a cubin.</summary>
    public KernelResources? Resources => KernelResources.Parse(Log, LoweredName);
}
