using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>How a program adds a kernel that the library does not ship: source text, compile, typed launch.</summary>
public sealed class ExtensionExampleTests
{
    private const string Source = """
        #include "include/bf16.cuh"
        struct MixParams { const bf16* x; const bf16* y; bf16* z; i64 length; f32 share; };
        template <int THREADS>
        __global__ void __launch_bounds__(THREADS) mix(MixParams p) {
            const i64 i = static_cast<i64>(blockIdx.x) * THREADS + threadIdx.x;
            if (i < p.length) p.z[i] = from_float<bf16>(p.share * to_float(p.x[i]) + (1.0f - p.share) * to_float(p.y[i]));
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct MixParams { public ulong X, Y, Z; public long Length; public float Share; }

    [Test]
    public void AKernelOfYourOwn()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<BFloat16> x = device.Upload<BFloat16>([.. Enumerable.Repeat(BFloat16.FromSingle(4f), 1000)]);
        using DeviceBuffer<BFloat16> y = device.Upload<BFloat16>([.. Enumerable.Repeat(BFloat16.FromSingle(8f), 1000)]);
        using DeviceBuffer<BFloat16> z = device.AllocateUninitialized<BFloat16>(1000);
        GpuKernel<MixParams> mix = device.Compiler.Get<MixParams>(new(KernelSource.FromText("mix.cu", Source), "mix<128>"));
        stream.Launch(mix, grid: 8, block: 128, new MixParams { X = x.Address, Y = y.Address, Z = z.Address, Length = 1000, Share = 0.25f });
        stream.Synchronize();
        Assert.That(z.ToArray(), Has.All.EqualTo(BFloat16.FromSingle(7f)));
    }
}
