using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class WindowAttentionBackwardTests
{
    private const int Far = (1 << 24) + 12_345;

    // The golden model, austen-tiny, odd ones, one per tile size, more heads than a tile has rows.
    private static readonly (int Heads, int HeadDim)[] shapes = [(2, 12), (3, 64), (1, 7), (10, 16), (4, 80), (5, 128), (20, 144), (2, 256), (1, 300), (70, 16)];

    private static IEnumerable<TestCaseData> Cases() =>
        shapes.SelectMany(shape => OpTest.Types.SelectMany(type => Variants(shape.Heads, shape.HeadDim, type).Select(variant => new TestCaseData(type, variant, shape.Heads, shape.HeadDim))));

    [TestCaseSource(nameof(Cases))]
    public void MatchesFloat64(ElementType type, string variant, int heads, int headDim) =>
        AssertMatches(type, variant, new(heads, headDim, 0, 11), [Run(0, 45), Run(Far, 13), [], [-1, -1, .. Run(0, 3), .. Run(0, 2), .. Run(0, 17), -1, -1, -1], [-1, -1], Run(0, 1)]);

    // T of 1, W-1, W, W+1, 2W, 3W+5 and primes, alone in a row and as documents of one; windows from the token alone to everything.
    [TestCase(1)]
    [TestCase(8)]
    [TestCase(9)]
    [TestCase(10)]
    [TestCase(64)]
    [TestCase(int.MaxValue)]
    public void MatchesFloat64AtUglyLengths(int keysVisible)
    {
        int[] lengths = [1, 8, 9, 10, 18, 32, 13, 37, 67];
        foreach (var (type, heads, headDim) in new[] { (ElementType.Float32, 2, 12), (ElementType.BFloat16, 3, 16), (ElementType.BFloat16, 7, 32) })
        {
            foreach (var variant in Variants(heads, headDim, type))
                AssertMatches(type, variant, new(heads, headDim, 0, keysVisible), [.. lengths.Select(length => Run(0, length)), [.. lengths.SelectMany(length => Run(0, length))]]);
        }
    }

    [Test]
    public void EveryNumberOfHeads([Range(1, 10)] int heads)
    {
        foreach (var variant in Variants(heads, 16, ElementType.BFloat16))
            AssertMatches(ElementType.BFloat16, variant, new(heads, 16, 0, 19), [[.. Run(0, 41), .. Run(0, 30)], Run(0, 23)]);
    }

    /// <summary>Behind the forward kernel, with its result and its logarithms.</summary>
    [TestCase(ElementType.Float32, 2, 12)]
    [TestCase(ElementType.Float32, 3, 64)]
    [TestCase(ElementType.BFloat16, 3, 64)]
    [TestCase(ElementType.BFloat16, 2, 256)]
    public void FollowsTheForwardKernel(ElementType type, int heads, int headDim)
    {
        foreach (var variant in Variants(heads, headDim, type))
        {
            using var call = new AttentionGradientCall(TestDevices.Checked, type, new(heads, headDim, 0, 30), [Run(0, 70), [.. Run(0, 19), .. Run(0, 31), -1]]);
            call.Run(variant, afterForward: true);
            call.AssertGradient(variant, factor: 4);
        }
    }

    /// <summary>The float64 gradients that the kernels are held against are the derivatives of the float64 forward pass, which is the forward tests' own.</summary>
    [TestCase(4)]
    [TestCase(int.MaxValue)]
    public void ReferenceIsTheDerivative(int keysVisible)
    {
        const int Heads = 2, HeadDim = 3;
        int[] positions = [-1, 0, 1, 2, 3, 4, 5, 0, 1, 0, -1];
        var shape = new AttentionShapeCase(Heads, HeadDim, 0, keysVisible);
        var (row, reference) = (AttentionCall.MakeRow(shape, 5, positions), new AttentionBackwardReference(Heads, HeadDim, keysVisible));
        var qkv = Array.ConvertAll(row.Qkv, x => (double)x);
        var dy = Array.ConvertAll(new CounterRandom(6).Normals(positions.Length * Heads * HeadDim), x => (double)x);
        var forward = new AttentionReference(Heads, HeadDim, keysVisible).Compute(row);
        Assert.That(reference.Forward(positions, qkv).Output, Is.EqualTo(forward.Output).Within(1e-13));
        Assert.That(reference.Forward(positions, qkv).LogSumExp, Is.EqualTo(forward.LogSumExp).Within(1e-13));

        var gradient = reference.Backward(positions, qkv, dy, rounded: false).Gradient;
        Assert.That(gradient.Count(x => x != 0), Is.GreaterThan(60));
        for (var i = 0; i < qkv.Length; i++)
            Assert.That(gradient[i], Is.EqualTo((Loss(i, 1e-5) - Loss(i, -1e-5)) / 2e-5).Within(1e-8), $"element {i}");

        double Loss(int element, double step)
        {
            var moved = qkv.ToArray();
            moved[element] += step;
            return reference.Forward(positions, moved).Output.Zip(dy, (y, slope) => y * slope).Sum();
        }
    }

    /// <summary>A document's gradients have the bits that they have alone, whatever is packed before and behind it and wherever its row lies.</summary>
    [TestCase(ElementType.Float32, 3, 20)]
    [TestCase(ElementType.BFloat16, 3, 64)]
    [TestCase(ElementType.BFloat16, 10, 16)]
    public void PackedEqualsSeparate(ElementType type, int heads, int headDim)
    {
        var shape = new AttentionShapeCase(heads, headDim, 0, 21);
        int[] lengths = [3, 70, 1, 22, 37, 20, 41];
        foreach (var variant in Variants(heads, headDim, type))
        {
            var separate = Gradients([.. lengths.Select(length => Run(0, length))]);
            var packed = Gradients([[-1, .. lengths.SelectMany(length => Run(0, length))]]);
            Close.Finite(separate);
            Close.Exact(packed.AsSpan((heads + 2) * headDim), separate, variant);

            float[] Gradients(IReadOnlyList<int[]> rows)
            {
                using var call = new AttentionGradientCall(TestDevices.Checked, type, shape, rows);
                call.Run(variant);
                return call.Read();
            }
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        foreach (var (type, heads, headDim) in new[] { (ElementType.Float32, 3, 64), (ElementType.BFloat16, 3, 64), (ElementType.BFloat16, 2, 256) })
        {
            foreach (var variant in Variants(heads, headDim, type))
            {
                Close.Exact(Compute(() => TestDevices.OpenChecked(seed, smallShared: true)), Compute(TestDevices.OpenPlain), $"{type} {variant}");

                float[] Compute(Func<GpuDevice> open)
                {
                    using var device = open();
                    using var call = new AttentionGradientCall(device, type, new(heads, headDim, 0, 20), [Run(0, 50), [.. Run(0, 9), .. Run(0, 30)]]);
                    call.Run(variant);
                    return call.Read();
                }
            }
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        using var call = new AttentionGradientCall(TestDevices.Checked, ElementType.BFloat16, new(2, 16, 0, 9), [Run(0, 3)]);
        var op = new WindowAttentionBackward(call.Test.Device, ElementType.BFloat16, 2, 16);
        var workspace = call.Test.Output(1, 8, ElementType.Float32);
        Assert.Multiple(() =>
        {
            Assert.That(() => call.Run(op, 0, call.Gradient, workspace), Throws.InstanceOf<ArgumentOutOfRangeException>());
            Assert.That(() => call.Run(op, 9, call.Qkv, workspace), Throws.ArgumentException);
            Assert.That(() => call.Run(op, 9, call.Test.Output(3, 63, ElementType.BFloat16), workspace), Throws.ArgumentException);
            Assert.That(() => call.Run(op, 9, call.Gradient, workspace.ColumnRange(0, 5)), Throws.ArgumentException);
            Assert.That(() => call.Run(op, 9, call.Gradient, workspace.ColumnRange(1, 6)), Throws.ArgumentException);
            Assert.That(() => call.Run(op, 9, call.Gradient, TensorView.Empty), Throws.ArgumentException);
            Assert.That(() => call.Run(op, 9, call.Gradient, workspace), Throws.Nothing);
            Assert.That(() => new WindowAttentionBackward(call.Test.Device, ElementType.BFloat16, 1, 1025), Throws.InstanceOf<ArgumentOutOfRangeException>());
        });
    }

    private static int[] Run(int first, int count) => AttentionCall.Run(first, count);

    // What a GPU could be given, and the emulator's own.
    private static IEnumerable<string> Variants(int heads, int headDim, ElementType type)
    {
        var model = OpTest.Dimensions(headDim) with { Heads = heads };
        var names = OpTest.VariantsOf<WindowAttentionBackward>(model, type);
        return TestDevices.IsEmulator ? names.Append("serial") : names;
    }

    private static void AssertMatches(ElementType type, string variant, AttentionShapeCase shape, IReadOnlyList<int[]> rows)
    {
        using var call = new AttentionGradientCall(TestDevices.Checked, type, shape, rows);
        call.Run(variant);
        call.AssertGradient(variant);
    }
}
