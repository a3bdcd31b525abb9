using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Emulator;

/// <summary>The mathematical functions that the emulator computes itself, held to what CUDA's guide promises of them.</summary>
[TestFixture]
public sealed class MathTests
{
    private const string Source = """
        #include "include/base.cuh"
        struct MathParams { const f32* x; f32* y; i64 count; };
        __global__ void __launch_bounds__(256) exponential(MathParams p) {
            const i64 i = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x;
            if (i < p.count) p.y[i] = expf(p.x[i]);
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct MathParams
    {
        public ulong X;
        public ulong Y;
        public long Count;
    }

    [Test]
    public void Expf_is_within_two_units_in_the_last_place()
    {
        // Every 4,093rd number of all that are finite, both signs, and those where something changes.
        float[] x =
        [
            .. Enumerable.Range(0, (int)(0x7F800000 / 4093)).SelectMany(i => new[] { BitConverter.Int32BitsToSingle(i * 4093), -BitConverter.Int32BitsToSingle(i * 4093) }),
            .. Enumerable.Range(-2000, 4000).Select(i => i * 0.0543f),
            0, -0f, 88.72283f, 88.722839f, 88.72284f, 89, -87.33654f, -87.33655f, -103.9f, -103.98f, -104, -105, float.PositiveInfinity, float.NegativeInfinity, float.NaN,
        ];
        var y = Run(x);
        Assert.That(y[^3..], Is.EqualTo(new[] { float.PositiveInfinity, 0, float.NaN }));
        for (var i = 0; i < x.Length - 3; i++)
        {
            var expected = Math.Exp(x[i]);
            var right = expected > float.MaxValue ? y[i] == float.PositiveInfinity : Math.Abs(y[i] - expected) <= 2 * Ulp(expected);
            if (!right)
                Assert.Fail($"expf({x[i]:G9}) = {y[i]:G9}, expected {expected:G9}");
        }
    }

    private static double Ulp(double value) => Math.Max(MathF.BitIncrement((float)value) - (double)(float)value, float.Epsilon);

    private static float[] Run(float[] x)
    {
        using var device = TestDevices.OpenPlain();
        using var stream = device.CreateStream();
        using var input = device.Upload<float>(x);
        using var output = device.AllocateUninitialized<float>(x.Length);
        var kernel = device.Compiler.Get<MathParams>(new(KernelSource.FromText("math.cu", Source), "exponential"));
        stream.Launch(kernel, (x.Length + 255) / 256, 256, new MathParams { X = input.Address, Y = output.Address, Count = x.Length });
        stream.Synchronize();
        return output.ToArray();
    }
}
