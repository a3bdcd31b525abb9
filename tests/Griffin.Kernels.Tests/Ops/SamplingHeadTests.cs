using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>The head that chooses tokens without logits, against the head with logits and the sampler.</summary>
[TestFixture]
internal sealed class SamplingHeadTests
{
    private const float Cap = 3;

    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<SamplingHead>(OpTest.Dimensions(64), type)
        where variant != "merge"
        select new TestCaseData(type, variant);

    /// <summary>
    /// Greedy rows beside rows with a temperature. Equal logits, which one-hot weights make many of, fall to the lowest token of a greedy row;
    /// penalties move the choice; padding has none.
    /// </summary>
    [TestCaseSource(nameof(Variants))]
    public void Chooses_what_the_sampler_chooses(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            foreach (var vocabulary in new[] { 1, 37, 130 })
            {
                var x = new SkinnyCase(test, type, rows, inner);
                foreach (var w in new[] { x.Normals(vocabulary, inner), x.OneHot(vocabulary), x.Matrix(new float[vocabulary * inner], vocabulary, inner) })
                {
                    var states = States(test, rows, vocabulary);
                    var positions = test.Integers([.. Enumerable.Range(0, rows).Select(row => row % 5 == 4 ? -1 : row)]);
                    var slots = test.Integers([.. Enumerable.Range(0, rows).Select(row => rows - 1 - row)]);
                    var (mine, theirs) = (Tokens(test, rows), Tokens(test, rows));
                    Choose(test, type, variant, x, w, positions, slots, states, mine);

                    var logits = test.Output(rows, vocabulary, ElementType.Float32);
                    new NormProduct(test.Device, type, vocabulary, inner, variant).Run(test.Stream, x.Input, w, Cap, logits);
                    new Sampler(test.Device, vocabulary).Run(test.Stream, logits, positions, slots, states, theirs);
                    Assert.That(Read(test, mine), Is.EqualTo(Read(test, theirs)), $"{variant}, {type}, {rows} x {inner}, {vocabulary} tokens");
                }
            }
        }
    }

    /// <summary>A logit that is no number is the last of all, as in the sampler.</summary>
    [Test]
    public void Not_a_number_is_not_chosen([Values("mma-8", "fma-8", "general")] string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        const int vocabulary = 20, inner = 16;
        var x = new SkinnyCase(test, ElementType.BFloat16, 2, inner);
        var w = new float[vocabulary * inner];
        Array.Fill(w, float.NaN);
        Array.Fill(w, -1, 7 * inner, inner);
        var tokens = Tokens(test, 2);
        Choose(test, ElementType.BFloat16, variant, x, x.Matrix(w, vocabulary, inner), test.Integers(3, 4), test.Integers(0, 1), States(test, 2, vocabulary), tokens);
        Assert.That(Read(test, tokens), Is.EqualTo(new[] { 7, 7 }));
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "fma-8", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            var x = new SkinnyCase(test, ElementType.BFloat16, 9, 136);
            var tokens = Tokens(test, 9);
            Choose(test, ElementType.BFloat16, variant, x, x.OneHot(50), test.Integers([.. Enumerable.Range(0, 9)]), test.Integers([.. Enumerable.Range(0, 9)]), States(test, 9, 50), tokens);
            return Array.ConvertAll(Read(test, tokens), token => (float)token);
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.BFloat16;
        using var test = new OpTest(TestDevices.Checked);
        var x = new SkinnyCase(test, type, 3, 16);
        var (w, states, row) = (x.Normals(40, 16), States(test, 3, 40), test.Integers(0, 1, 2));
        var op = new SamplingHead(test.Device, type, 40, 16);
        var best = Best(test, 3, op.TilesFor(3));
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, 0, row, row, states, test.Integers(1, 2), best), "tokens");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, 0, row, row, states with { SlotStride = 64 }, row, best), "slots too small");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, x.Input, w, 0, row, row, states, row, Best(test, 3, 1)), "workspace");
            Assert.Throws<ArgumentOutOfRangeException>(() => op.Run(test.Stream, x.Input, w, -1, row, row, states, row, best), "cap");
        });
    }

    private static void Choose(
        OpTest test, ElementType type, string variant, SkinnyCase x, TensorView w, TensorView positions, TensorView slots, LayerState states, TensorView tokens)
    {
        var op = new SamplingHead(test.Device, type, (int)w.Rows, x.Inner, variant);
        Assert.That(op.VariantFor(x.Rows), Is.EqualTo(variant));
        op.Run(test.Stream, x.Input, w, Cap, positions, slots, states, tokens, Best(test, x.Rows, op.TilesFor(x.Rows)));
    }

    /// <summary>Slots with counts, of which every other has a penalty, and two of three a temperature.</summary>
    private static LayerState States(OpTest test, int rows, int vocabulary)
    {
        var stride = (int)((Sampler.StateBytes(vocabulary) + 15) / 16 * 16);
        var bytes = new byte[rows * stride];
        for (var slot = 0; slot < rows; slot++)
        {
            new SamplerSettings { RepetitionPenalty = slot % 2 == 0 ? 1 : 1.7f, Temperature = slot % 3 * 0.6f, Seed = (ulong)slot * 0x9E3779B97F4A7C15 }.WriteTo(bytes.AsSpan(slot * stride));
            int[] counts = [.. new CounterRandom((ulong)slot).Integers(vocabulary, -1, 3).Select(count => Math.Max(0, count))];
            MemoryMarshal.AsBytes<int>(counts).CopyTo(bytes.AsSpan((slot * stride) + SamplerSettings.ByteCount));
        }

        var memory = test.Bytes(bytes);
        return new LayerState(memory.Owner, memory.Address, stride);
    }

    private static TensorView Tokens(OpTest test, int rows) => test.Integers([.. Enumerable.Repeat(Poison.Integer, rows)]);

    private static TensorView Best(OpTest test, int rows, int tiles) => TensorView.Of(test.Allocate((long)rows * tiles * sizeof(ulong)), 0, ElementType.UInt64, rows, tiles);

    private static int[] Read(OpTest test, TensorView tokens)
    {
        var values = new int[tokens.Columns];
        test.Stream.CopyToHost(tokens.Owner, 0, values.AsSpan());
        test.Stream.Synchronize();
        return values;
    }
}
