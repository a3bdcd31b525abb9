using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Small kernels for tests of the runtime.</summary>
internal static class TestKernels
{
    private const string Text = """
        #include "include/base.cuh"
        struct AffineParams { const f32* x; f32* y; f32 scale; f32 shift; i32 length; };
        __global__ void __launch_bounds__(256) affine(AffineParams p) {
            const i32 i = blockIdx.x * blockDim.x + threadIdx.x;
            if (i < p.length) p.y[i] = p.scale * p.x[i] + p.shift;
        }
        __global__ void __launch_bounds__(256) past_the_end(AffineParams p) {
            if (threadIdx.x == 0) p.y[p.length] = 1.0f;
        }
        __global__ void __launch_bounds__(256) through_shared(AffineParams p) {
            extern __shared__ f32 scratch[];
            const i32 i = threadIdx.x;
            scratch[i] = p.x[i];
            __syncthreads();
            p.y[i] = scratch[p.length - 1 - i];
        }
        """;

    private static readonly KernelSource source = KernelSource.FromText("runtime_tests.cu", Text);

    public static KernelSpec Affine { get; } = new(source, "affine");

    public static KernelSpec PastTheEnd { get; } = new(source, "past_the_end");

    public static KernelSpec ThroughShared { get; } = new(source, "through_shared");

    /// <summary>y = scale · x + shift.</summary>
    public static void RunAffine(GpuStream stream, GpuKernel<AffineParams> kernel, DeviceBuffer<float> x, DeviceBuffer<float> y, float scale, float shift) =>
        stream.Launch(kernel, (int)((x.Length + 255) / 256), 256, Params(x, y, scale, shift));

    public static AffineParams Params(DeviceBuffer<float> x, DeviceBuffer<float> y, float scale = 1, float shift = 0) =>
        new() { X = x.Address, Y = y.Address, Scale = scale, Shift = shift, Length = (int)x.Length };
}

[StructLayout(LayoutKind.Sequential)]
internal struct AffineParams
{
    public ulong X;
    public ulong Y;
    public float Scale;
    public float Shift;
    public int Length;
}
