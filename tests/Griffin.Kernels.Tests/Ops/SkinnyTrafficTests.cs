using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Every fused product of a decode step requests its weight once, in whole sectors, whichever rows of it a block takes.</summary>
[TestFixture]
internal sealed class SkinnyTrafficTests
{
    private const ElementType Type = ElementType.BFloat16;
    private const int Inner = 256;
    private const int Width = 64;
    private const int Heads = 2;
    private const int HeadDim = 32;

    /// <summary>Rows of the weight, and the op on a case and a weight.</summary>
    private static readonly Dictionary<string, (int Rows, Action<OpTest, SkinnyCase, TensorView> Run)> ops = new()
    {
        [nameof(ResidualProduct)] = (Width, (test, x, w) =>
        {
            var op = new ResidualProduct(test.Device, Type, Width, Inner);
            op.Run(test.Stream, x.Input.X, w, x.Vector(Width), x.Normals(x.Rows, Width), test.Output(x.Rows, op.PartsFor(x.Rows), ElementType.Float32));
        }),
        [nameof(GatedProduct)] = (2 * Width, (test, x, w) =>
            new GatedProduct(test.Device, Type, Width, Inner).Run(test.Stream, x.Input, w, x.Vector(2 * Width), test.Output(x.Rows, Width, Type))),
        [nameof(RotaryProduct)] = ((Heads + 2) * HeadDim, (test, x, w) =>
        {
            var phases = test.Allocate(8 * sizeof(ulong));
            test.Stream.CopyToDevice<ulong>(RotaryPhases.Compute(16, 10000), phases);
            var call = SkinnyCase.Steps(x.Rows);
            new RotaryProduct(test.Device, Type, Heads, HeadDim, 16, Inner).Run(
                test.Stream, call.Upload(test), x.Input, w, TensorView.Of(phases, 0, ElementType.UInt64, 1, 8), test.Output(x.Rows, Heads * HeadDim, Type),
                new StateMemory(test, call.Slots, (int)KeyValueRing.Bytes(3, HeadDim, Type)).State, 3);
        }),
        [nameof(RecurrentInput)] = (2 * Width, (test, x, w) =>
        {
            var call = new SequenceCase([.. Enumerable.Range(0, x.Rows).Select(row => new SequenceRow(row, 0))], new int[x.Rows]);
            new RecurrentInput(test.Device, Type, Width, Inner, 4).Run(
                test.Stream, call.Upload(test), x.Input, w, x.Vector(Width), test.Matrix(new float[Width * 4], Width, 4, Type), x.Vector(Width),
                test.Output(x.Rows, Width, Type), test.Output(x.Rows, Width, Type), new StateMemory(test, call.Slots, 3 * Width * sizeof(ushort)).State);
        }),
        [nameof(SamplingHead)] = (Width, (test, x, w) =>
        {
            var op = new SamplingHead(test.Device, Type, Width, Inner);
            var bytes = new byte[x.Rows * 512];
            for (var row = 0; row < x.Rows; row++)
                SamplerSettings.Greedy.WriteTo(bytes.AsSpan(row * 512));
            var (states, rows) = (test.Bytes(bytes), test.Integers([.. Enumerable.Range(0, x.Rows)]));
            op.Run(test.Stream, x.Input, w, 0, rows, rows, new LayerState(states.Owner, states.Address, 512), test.Integers(new int[x.Rows]),
                TensorView.Of(test.Allocate(x.Rows * op.TilesFor(x.Rows) * sizeof(ulong)), 0, ElementType.UInt64, x.Rows, op.TilesFor(x.Rows)));
        }),
    };

    private static IEnumerable<string> Names => ops.Keys;

    [Test]
    public void The_weight_is_requested_once_in_whole_sectors([ValueSource(nameof(Names))] string name, [Values(1, 16, 40)] int rows)
    {
        TestDevices.RequireEmulator("counts accesses");
        using var device = GpuDevice.OpenEmulator(new EmulatorOptions { Checked = true, CountAccesses = true });
        using var test = new OpTest(device);
        var (weightRows, run) = ops[name];
        var x = new SkinnyCase(test, Type, rows, Inner);
        var w = test.Matrix(new CounterRandom(5).Bf16Normals(weightRows * Inner), weightRows, Inner, Type);
        run(test, x, w);
        test.Stream.Synchronize();
        var counters = device.TakeCounters()[0]; // the product: a merge may follow
        Assert.Multiple(() =>
        {
            Assert.That(counters[w.Owner].BytesRead, Is.EqualTo(2L * weightRows * Inner));
            Assert.That(counters[w.Owner].RequestSectorsRead * 32, Is.EqualTo(2L * weightRows * Inner));
            Assert.That(counters.MatrixMultiplyAdds, Is.EqualTo((long)weightRows * Inner * (rows <= 8 ? 8 : rows <= 16 ? 16 : 64)));
        });
    }
}
