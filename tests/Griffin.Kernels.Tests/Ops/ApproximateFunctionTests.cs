using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// The approximate functions of approx.cuh and what lru.cuh makes of them, against float64, within the units that the files state. On the emulator the
/// twins are as bad as the PTX manual allows, and round once more; on a GPU this is the proof of the PTX forms.
/// </summary>
[TestFixture]
internal sealed class ApproximateFunctionTests
{
    private const int Outputs = 9;

    private const string Source = """
        #include "include/lru.cuh"
        struct ApproxParams { const f32* x; f32* y; i64 count; };
        __global__ void __launch_bounds__(256) approximate(ApproxParams p) {
            const i64 i = static_cast<i64>(blockIdx.x) * 256 + threadIdx.x;
            if (i >= p.count) return;
            const f32 x = p.x[i];
            f32* const y = p.y + i * 9;
            const ValueAndSlope sigmoid = approx_sigmoid_with_slope(x);
            const LruDecay decay = approx_lru_decay(-fabsf(x));
            y[0] = approx_exp2(x);
            y[1] = approx_reciprocal(x);
            y[2] = approx_sqrt(fabsf(x));
            y[3] = approx_sigmoid(x);
            y[4] = approx_gelu_tanh(x);
            y[5] = sigmoid.value;
            y[6] = sigmoid.slope;
            y[7] = decay.a;
            y[8] = decay.m;
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct ApproxParams
    {
        public ulong X;
        public ulong Y;
        public long Count;
    }

    [Test]
    public void EveryFunctionKeepsItsBound()
    {
        // 1e-30 to 100, both signs; every 1/512 up to 16, and on both sides of where the decay's polynomial ends.
        float[] positive =
        [
            .. Enumerable.Range(0, 3200).Select(i => (float)Math.Pow(10, -30 + (i / 100.0))), .. Enumerable.Range(1, 8192).Select(i => i / 512f),
            MathF.BitDecrement(0.5f), 0.5f, MathF.BitIncrement(0.5f),
        ];
        float[] x = [.. positive, .. positive.Select(value => -value)];
        var y = Run(x);
        // The twins: half a unit in the last place, a unit here, in what they start from, and as much behind it.
        var (rounding, rounded) = TestDevices.Plain.Kind == GpuDeviceKind.Emulator ? (2, 1) : (0, 0);
        for (var i = 0; i < x.Length; i++)
        {
            double value = x[i], size = Math.Abs(value);
            var sigmoid = 1 / (1 + Math.Exp(-value));
            Expect("approx_exp2", 0, Math.Pow(2, value), 5 - rounded);
            Expect("approx_reciprocal", 1, 1 / value, 3 - rounded);
            Expect("approx_sqrt", 2, Math.Sqrt(size), 2);
            Expect("approx_sigmoid", 3, sigmoid, 8 + (2 * size));
            Expect("approx_gelu_tanh", 4, ReferenceMath.GeluTanh(value), RgLruReference.GeluError(value) / OpTest.Units(1));
            Expect("approx_sigmoid_with_slope", 5, sigmoid, 8 + (2 * size));
            Expect("its slope", 6, sigmoid / (1 + Math.Exp(value)), 16 + (2 * size));
            Expect("approx_lru_decay's a", 7, Math.Pow(2, -size), 5 - rounded);
            Expect("approx_lru_decay's root", 8, Math.Sqrt(-ExponentialLessOne(-2 * size * Math.Log(2))), 7);

            // Below the normal numbers a 0 will do.
            void Expect(string what, int output, double expected, double units) =>
                Assert.That(y[(i * Outputs) + output], Is.EqualTo(expected).Within((OpTest.Units(units + rounding) * Math.Abs(expected)) + 1.2e-36), $"{what} of {value:G9}");
        }
    }

    /// <summary>What the ends give: no NaN from infinities, full gates and closed ones.</summary>
    [Test]
    public void TheEndsAreRight()
    {
        var y = Run([float.PositiveInfinity, float.NegativeInfinity, 0, 200, -200]);
        float[] Of(int input) => y[(input * Outputs)..((input + 1) * Outputs)];
        Assert.Multiple(() =>
        {
            Assert.That(Of(0)[..4], Is.EqualTo(new[] { float.PositiveInfinity, 0, float.PositiveInfinity, 1 }).Within(1e-6));
            Assert.That(Of(1)[3], Is.Zero);
            Assert.That(Of(0)[7..], Is.EqualTo(new[] { 0f, 1 }).Within(1e-6));
            Assert.That(Of(2)[7..], Is.EqualTo(new[] { 1f, 0 }), "a gate that decays nothing");
            Assert.That(Of(3)[3..7], Is.EqualTo(new[] { 1f, 200, 1, 0 }).Within(1e-4));
            Assert.That(Of(4)[3..7], Is.EqualTo(new[] { 0f, 0, 0, 0 }));
        });
    }

    // e^x - 1 without cancellation: the series where x is small.
    private static double ExponentialLessOne(double x)
    {
        if (Math.Abs(x) > 0.01)
            return Math.Exp(x) - 1;
        double sum = 0, term = 1;
        for (var n = 1; n < 12; n++)
            sum += term *= x / n;
        return sum;
    }

    private static float[] Run(float[] x)
    {
        var device = TestDevices.Plain;
        using var stream = device.CreateStream();
        using var input = device.Upload<float>(x);
        using var output = device.AllocateUninitialized<float>(x.Length * Outputs);
        var kernel = device.Compiler.Get<ApproxParams>(new(KernelSource.FromText("approximate.cu", Source), "approximate"));
        stream.Launch(kernel, (x.Length + 255) / 256, 256, new ApproxParams { X = input.Address, Y = output.Address, Count = x.Length });
        stream.Synchronize();
        return output.ToArray();
    }
}
