using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Norm, x|y product and the convolution step in one kernel, against the three ops.</summary>
[TestFixture]
internal sealed class RecurrentInputTests
{
    private const int Width = 19;

    private static IEnumerable<TestCaseData> Variants() =>
        from type in OpTest.Types
        from variant in OpTest.VariantsOf<RecurrentInput>(OpTest.Dimensions(64), type)
        select new TestCaseData(type, variant);

    [TestCaseSource(nameof(Variants))]
    public void Rounds_as_the_single_ops_do(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        var taps = 4;
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            foreach (var withBias in new[] { true, false })
            {
                var x = new SkinnyCase(test, type, rows, inner);
                var call = SkinnyCase.Steps(rows);
                var (w, convolution, bias) = (x.OneHot(2 * Width), test.Matrix(OpTest.Normals(new CounterRandom(3), type, Width * taps), Width, taps, type), x.Vector(Width));
                var inputBias = withBias ? x.Vector(Width) : TensorView.Empty;
                var (mine, theirs) = (State(test, type, call, taps), State(test, type, call, taps));
                var zy = test.Output(rows, 2 * Width, type, 3);
                var (z, y) = (zy.ColumnRange(0, Width), zy.ColumnRange(Width, Width));
                new RecurrentInput(test.Device, type, Width, inner, taps, variant).Run(test.Stream, call.Upload(test), x.Input, w, inputBias, convolution, bias, z, y, mine.State);

                var xy = x.Product(x.Normed(), w);
                var convolved = test.Output(rows, Width, type);
                new Conv1DStep(test.Device, type, Width, taps, "general").Run(
                    test.Stream, call.Upload(test), xy.ColumnRange(0, Width), inputBias, convolution, bias, convolved, theirs.State);
                var what = $"{variant}, {type}, {rows} x {inner}, {taps} taps";
                Close.Exact(test.Read(z), test.Read(convolved), what);
                Close.Exact(test.Read(y), test.Read(xy.ColumnRange(Width, Width)), $"{what}: y");
                for (var slot = 0; slot < call.Slots; slot++)
                    Close.Exact(mine.Read(slot, type), theirs.Read(slot, type), $"{what}: slot {slot}");
                mine.AssertOnlyChanged(call.ChangedSlots);
            }

            taps = taps % 4 + 1;
        }
    }

    /// <summary>Dense products: the y half is the plain product, which float64 judges.</summary>
    [TestCaseSource(nameof(Variants))]
    public void Matches_float64(ElementType type, string variant)
    {
        using var test = new OpTest(TestDevices.Checked);
        const int taps = 1; // z = round(bias + weight · x): a scaled product
        foreach (var (rows, inner) in SkinnyCase.SizesOf(variant, type))
        {
            var x = new SkinnyCase(test, type, rows, inner);
            var w = OpTest.Normals(new CounterRandom(6), type, 2 * Width * inner);
            var call = new SequenceCase([.. Enumerable.Range(0, rows).Select(row => new SequenceRow(row, 0))], new int[rows]);
            var zero = test.Vector(new float[Width], type);
            var one = test.Matrix([.. Enumerable.Repeat(1f, Width)], Width, 1, type);
            var (z, y) = (test.Output(rows, Width, type), test.Output(rows, Width, type));
            new RecurrentInput(test.Device, type, Width, inner, taps, variant).Run(
                test.Stream, call.Upload(test), x.Input, x.Matrix(w, 2 * Width, inner), TensorView.Empty, one, zero, z, y, new StateMemory(test, rows, 16).State);
            var (expected, bound) = x.Reference(w, 2 * Width);
            var (values, branch) = (test.Read(z), test.Read(y));
            float[] actual = [.. Enumerable.Range(0, rows).SelectMany(row => (float[])[.. values[(row * Width)..((row + 1) * Width)], .. branch[(row * Width)..((row + 1) * Width)]])];
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
            var state = State(test, type, call, 4);
            var zy = test.Output(9, 2 * Width, type);
            new RecurrentInput(test.Device, type, Width, 136, 4, variant).Run(
                test.Stream, call.Upload(test), x.Input, x.Normals(2 * Width, 136), x.Vector(Width), test.Matrix(new CounterRandom(3).Bf16Normals(Width * 4), Width, 4, type),
                x.Vector(Width), zy.ColumnRange(0, Width), zy.ColumnRange(Width, Width), state.State);
            return [.. test.Read(zy), .. call.ChangedSlots.SelectMany(slot => state.Read(slot, type))];
        });
    }

    [Test]
    public void Refuses_wrong_arguments()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var x = new SkinnyCase(test, type, 2, 8);
        var call = SkinnyCase.Steps(2);
        var (w, convolution, bias) = (x.Normals(16, 8), test.Output(8, 4, type), x.Vector(8));
        var (z, y, state) = (test.Output(2, 8, type), test.Output(2, 8, type), new StateMemory(test, 3, 3 * 8 * sizeof(float)).State);
        var op = new RecurrentInput(test.Device, type, 8, 8, 4);
        void Run(SequenceCase rows, TensorView z, TensorView y, LayerState state) =>
            op.Run(test.Stream, rows.Upload(test), x.Input, w, TensorView.Empty, convolution, bias, z, y, state);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentException>(() => Run(new([new(0, 0, 1)], [0]), z, y, state), "two tokens");
            Assert.Throws<ArgumentException>(() => Run(SkinnyCase.Steps(3), z, y, state), "rows");
            Assert.Throws<ArgumentException>(() => Run(call, z, z, state), "overlap");
            Assert.Throws<ArgumentException>(() => Run(call, z, y, state with { SlotStride = 80 }), "slots too small");
        });
    }

    private static StateMemory State(OpTest test, ElementType type, SequenceCase call, int taps)
    {
        StateMemory state = new(test, call.Slots, (taps - 1) * Width * type.SizeOf());
        for (var slot = 0; slot < call.Slots && taps > 1; slot++)
        {
            // Inputs that the slot has not seen are not to be read: NaN.
            var past = OpTest.Normals(new CounterRandom((ulong)slot), type, (taps - 1) * Width);
            for (var back = call.Seen[slot] + 1; back < taps; back++)
                Array.Fill(past, float.NaN, (taps - 1 - back) * Width, Width);
            state.Write(slot, past, type);
        }

        return state;
    }
}
