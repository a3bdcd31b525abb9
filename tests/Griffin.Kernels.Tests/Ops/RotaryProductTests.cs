using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Norm, q|k|v product, rotation and ring write in one kernel, against the three ops.</summary>
[TestFixture]
internal sealed class RotaryProductTests
{
    private const int RingSlots = 5;

    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<RotaryProduct>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Rounds_as_the_single_ops_do(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        (int Heads, int HeadDim, int Rotated)[] shapes = [(1, 2, 2), (3, 12, 6), (2, 16, 8), (4, 10, 0)];
        foreach (var ((rows, inner), (heads, headDim, rotated)) in SkinnyCase.SizesOf(variant, type).Zip(shapes))
        {
            var what = $"{variant}, {type}, {rows} x {inner}, {heads} heads of {headDim}";
            var x = new SkinnyCase(test, type, rows, inner);
            var (call, w) = (SkinnyCase.Steps(rows), x.OneHot((heads + 2) * headDim));
            var (mine, theirs) = (Ring(test, type, call, headDim), Ring(test, type, call, headDim));
            var phases = Phases(test, rotated);
            var queries = test.Output(rows, heads * headDim, type, 3);
            var op = new RotaryProduct(test.Device, type, heads, headDim, rotated, inner, variant);
            Assert.That(op.VariantFor(rows), Is.EqualTo(variant));
            op.Run(test.Stream, call.Upload(test), x.Input, w, phases, queries, mine.State, RingSlots);

            var qkv = x.Product(x.Normed(), w);
            new RotaryStep(test.Device, type, heads, headDim, rotated, "general").Run(test.Stream, call.Upload(test), qkv, phases, theirs.State, RingSlots);
            Close.Exact(test.Read(queries), test.Read(qkv.ColumnRange(0, heads * headDim)), what);
            for (var slot = 0; slot < call.Slots; slot++)
                Close.Exact(mine.Read(slot, type), theirs.Read(slot, type), $"{what}: slot {slot}");
            mine.AssertOnlyChanged(call.ChangedSlots);
        }
    }

    /// <summary>Dense products at position 0, where nothing turns: the plain product, which float64 judges.</summary>
    [TestCaseSource(nameof(Variants))]
    public void Matches_float64(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        const int heads = 3, headDim = 12;
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            var x = new SkinnyCase(test, type, rows, inner);
            var w = OpTest.Normals(new CounterRandom(6), type, (heads + 2) * headDim * inner);
            var call = new SequenceCase([.. Enumerable.Range(0, rows).Select(row => new SequenceRow(row, 0))], new int[rows]);
            var queries = test.Output(rows, heads * headDim, type);
            var ring = new StateMemory(test, rows, (int)KeyValueRing.Bytes(1, headDim, type));
            new RotaryProduct(test.Device, type, heads, headDim, 8, inner, variant).Run(
                test.Stream, call.Upload(test), x.Input, x.Matrix(w, (heads + 2) * headDim, inner), Phases(test, 8), queries, ring.State, 1);
            var (expected, bound) = x.Reference(w, (heads + 2) * headDim);
            var q = test.Read(queries);
            float[] actual = [.. Enumerable.Range(0, rows).SelectMany(row => (float[])[.. q[(row * heads * headDim)..((row + 1) * heads * headDim)], .. ring.Read(row, type)])];
            OpTest.Compare(type, actual, expected, i => bound[i], $"{variant}, {type}, {rows} x {inner}");
        }
    }

    [Test]
    public void Schedule_does_not_show([Values("mma-8", "mma-16", "fma-8", "general")] string variant)
    {
        Schedules.DoNotShow(variant, test =>
        {
            const ElementType type = ElementType.BFloat16;
            var x = new SkinnyCase(test, type, 9, 136);
            var call = SkinnyCase.Steps(9);
            var ring = Ring(test, type, call, 12);
            var queries = test.Output(9, 36, type);
            new RotaryProduct(test.Device, type, 3, 12, 8, 136, variant).Run(
                test.Stream, call.Upload(test), x.Input, x.Normals(60, 136), Phases(test, 8), queries, ring.State, RingSlots);
            return [.. test.Read(queries), .. call.ChangedSlots.SelectMany(slot => ring.Read(slot, type))];
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var x = new SkinnyCase(test, type, 2, 8);
        var call = SkinnyCase.Steps(2);
        var (w, phases, queries, ring) = (x.Normals(24, 8), Phases(test, 4), test.Output(2, 8, type), Ring(test, type, call, 8));
        var op = new RotaryProduct(test.Device, type, 1, 8, 4, 8);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, SkinnyCase.Steps(3).Upload(test), x.Input, w, phases, queries, ring.State, RingSlots), "rows");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, call.Upload(test), x.Input, w, Phases(test, 6), queries, ring.State, RingSlots), "phases");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, call.Upload(test), x.Input, w, phases, queries.ColumnRange(0, 7), ring.State, RingSlots), "queries");
            Assert.Throws<ArgumentException>(() => op.Run(test.Stream, call.Upload(test), x.Input, w, phases, queries, ring.State, 50), "a ring larger than its slot");
            Assert.Throws<ArgumentOutOfRangeException>(() => _ = new RotaryProduct(test.Device, type, 1, 7, 4, 8), "odd heads");
        });
    }

    private static TensorView Phases(OpTest test, int rotated)
    {
        var phases = RotaryPhases.Compute(rotated, 10000);
        var memory = test.Allocate(Math.Max(1, phases.Length) * sizeof(ulong));
        test.Stream.CopyToDevice<ulong>(phases, memory);
        return TensorView.Of(memory, 0, ElementType.UInt64, 1, phases.Length);
    }

    private static StateMemory Ring(OpTest test, ElementType type, SequenceCase call, int headDim)
    {
        StateMemory ring = new(test, call.Slots, (int)KeyValueRing.Bytes(RingSlots, headDim, type));
        for (var slot = 0; slot < call.Slots; slot++)
            ring.Write(slot, OpTest.Normals(new CounterRandom((ulong)slot), type, 2 * RingSlots * headDim), type);
        return ring;
    }
}
