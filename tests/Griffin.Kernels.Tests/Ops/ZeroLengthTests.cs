using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>A call of no rows launches nothing, whichever op it is; the same call with one row does launch.</summary>
[TestFixture]
internal sealed class ZeroLengthTests
{
    private const ElementType Type = ElementType.Float32;
    private const int Width = 8;
    private const int HeadDim = 4;
    private const int RingSlots = 3;
    private const int QkvWidth = (2 + 2) * HeadDim;

    // Each runs its op on so many rows of one token. Every op must be here.
    private static readonly Dictionary<Type, Action<Call>> calls = new()
    {
        [typeof(AdamW)] = c => new AdamW(c.Device, Type)
            .Run(c.Stream, c.Flat(64), c.Flat(64), c.Flat(64), c.Flat(64), c.Flat(64), c.Test.Bytes(new byte[c.Count]), c.Weight(1, 1), c.Weight(1, 8)),
        [typeof(AdvanceRows)] = c => new AdvanceRows(c.Device, step: true).Run(c.Stream, c.Rows, c.Test.Integers(0), c.Integers(0)),
        [typeof(BlockDiagonalGates)] = c => new BlockDiagonalGates(c.Device, Type, Width, 2)
            .Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width / 2), c.Weight(1, Width), c.Weight(Width, Width / 2), c.Weight(1, Width), c.Matrix(2 * Width)),
        [typeof(ColumnSum)] = c =>
        {
            var op = new ColumnSum(c.Device, Type, Width);
            op.Run(c.Stream, c.Matrix(Width), c.Weight(1, Width), c.Test.Workspace(op.WorkspaceBytes(c.Count)));
        },
        [typeof(BlockDiagonalGatesBackward)] = c =>
        {
            foreach (var useBlas in new[] { true, false })
            {
                var op = new BlockDiagonalGatesBackward(c.Device, Type, Width, 2, useBlas);
                op.Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width / 2), c.Weight(Width, Width / 2), c.Matrix(2 * Width), c.Matrix(Width), c.Weight(Width, Width / 2),
                    c.Weight(Width, Width / 2), c.Test.Workspace(op.WorkspaceBytes(c.Count)));
            }
        },
        [typeof(Conv1D)] = c =>
        {
            var (op, x, state) = (new Conv1D(c.Device, Type, Width, 4), c.Matrix(Width), c.State(3 * Width));
            op.Run(c.Stream, c.Rows, x, TensorView.Empty, c.Weight(Width, 4), c.Weight(1, Width), c.Matrix(Width), state);
            op.UpdateState(c.Stream, c.Rows, x, TensorView.Empty, state);
        },
        [typeof(Conv1DBackward)] = c =>
        {
            var op = new Conv1DBackward(c.Device, Type, Width, 4);
            op.Run(c.Stream, c.Rows, c.Matrix(Width), TensorView.Empty, c.Weight(Width, 4), c.Matrix(Width), c.Matrix(Width), c.Weight(Width, 4), c.Weight(1, Width),
                c.Test.Workspace(op.WorkspaceBytes(c.Count)));
        },
        [typeof(Conv1DStep)] = c => new Conv1DStep(c.Device, Type, Width, 4)
            .Run(c.Stream, c.Rows, c.Matrix(Width), TensorView.Empty, c.Weight(Width, 4), c.Weight(1, Width), c.Matrix(Width), c.State(3 * Width)),
        [typeof(ConvGates)] = c => new ConvGates(new Conv1D(c.Device, Type, Width, 4), new BlockDiagonalGates(c.Device, Type, Width, 2))
            .Run(c.Stream, c.Rows, c.Matrix(Width), TensorView.Empty, c.Weight(Width, 4), c.Weight(1, Width), c.Weight(Width, Width / 2), c.Weight(1, Width),
                c.Weight(Width, Width / 2), c.Weight(1, Width), c.Matrix(Width), c.Matrix(2 * Width), c.State(3 * Width)),
        [typeof(CrossEntropy)] = c => new CrossEntropy(c.Device, Type, Width)
            .Run(c.Stream, c.Matrix(Width), c.Integers(0), 30, c.Weight(1, 1), c.Weight(1, Math.Max(1, c.Count)).ColumnRange(0, c.Count), c.Matrix(Width)),
        [typeof(DecodeAttention)] = c =>
        {
            var op = new DecodeAttention(c.Device, Type, 2, HeadDim);
            op.Run(c.Stream, c.Rows, c.Matrix(QkvWidth), c.Ring(), RingSlots, RingSlots, c.Matrix(2 * HeadDim), c.Test.Workspace(op.WorkspaceBytes(c.Count, RingSlots)),
                c.Test.Zeros(op.ArrivalBytes(c.Count, RingSlots)));
        },
        [typeof(Embedding)] = c => new Embedding(c.Device, Type, Width).Run(c.Stream, c.Integers(1), c.Weight(2, Width), 1, c.Matrix(Width)),
        [typeof(EmbeddingBackward)] = c => new EmbeddingBackward(c.Device, Type, Width).Run(c.Stream, c.Integers(1), c.Integers(0), c.Matrix(Width), 1, c.Weight(2, Width)),
        [typeof(EmbeddingStep)] = c => new EmbeddingStep(c.Device, Type, Width).Run(c.Stream, c.Integers(1), c.Weight(2, Width), 1, c.Matrix(Width), c.Matrix(1)),
        [typeof(GatedMatMul)] = c => new GatedMatMul(c.Device, Type, Width, Width).Run(c.Stream, c.Matrix(Width), c.Weight(2 * Width, Width), c.Weight(1, 2 * Width), c.Matrix(Width)),
        [typeof(GatedProduct)] = c => new GatedProduct(c.Device, Type, Width, Width).Run(c.Stream, c.Normed, c.Weight(2 * Width, Width), c.Weight(1, 2 * Width), c.Matrix(Width)),
        [typeof(GeluMultiply)] = c => new GeluMultiply(c.Device, Type, Width).Run(c.Stream, c.Matrix(2 * Width), c.Weight(1, 2 * Width), c.Matrix(Width)),
        [typeof(GeluMultiplyBackward)] = c => new GeluMultiplyBackward(c.Device, Type, Width)
            .Run(c.Stream, c.Matrix(2 * Width), c.Weight(1, 2 * Width), c.Matrix(Width), c.Matrix(2 * Width)),
        [typeof(GradientNorm)] = c => new GradientNorm(c.Device).Run(c.Stream, c.Flat(64), c.Weight(1, 1), c.Test.Workspace(GradientNorm.WorkspaceBytes(64L * c.Count))),
        [typeof(SamplingHead)] = c =>
        {
            var op = new SamplingHead(c.Device, Type, Width, Width);
            op.Run(c.Stream, c.Normed, c.Weight(Width, Width), 30, c.Integers(0), c.Integers(0), c.State((int)Sampler.StateBytes(Width) / sizeof(float)), c.Integers(0),
                TensorView.Of(c.Test.Allocate(sizeof(ulong) * (1 + (c.Count * op.TilesFor(c.Count)))), 0, ElementType.UInt64, c.Count, op.TilesFor(c.Count)));
        },
        [typeof(MatMul)] = c =>
        {
            foreach (var useBlas in new[] { true, false })
                new MatMul(c.Device, Type, Width, Width, useBlas: useBlas).Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width), c.Matrix(Width));
        },
        [typeof(NormProduct)] = c => new NormProduct(c.Device, Type, Width, Width).Run(c.Stream, c.Normed, c.Weight(Width, Width), 30, c.Matrix(Width)),
        [typeof(PartialSums)] = c => new PartialSums(c.Device, Width).Run(c.Stream, c.Matrix(Width), c.Weight(1, Width)),
        [typeof(MatMulInputGradient)] = c =>
        {
            foreach (var useBlas in new[] { true, false })
                new MatMulInputGradient(c.Device, Type, Width, Width, useBlas).Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width), c.Matrix(Width));
        },
        [typeof(MatMulWeightGradient)] = c =>
        {
            foreach (var useBlas in new[] { true, false })
                new MatMulWeightGradient(c.Device, Type, Width, Width, useBlas).Run(c.Stream, c.Matrix(Width), c.Matrix(Width), c.Weight(Width, Width), TensorView.Empty);
        },
        [typeof(RecurrentInput)] = c => new RecurrentInput(c.Device, Type, Width, Width, 4).Run(
            c.Stream, c.Rows, c.Normed, c.Weight(2 * Width, Width), c.Weight(1, Width), c.Weight(Width, 4), c.Weight(1, Width), c.Matrix(Width), c.Matrix(Width), c.State(3 * Width)),
        [typeof(RecurrentMixer)] = c =>
        {
            var op = new RecurrentMixer(new ConvGates(new Conv1D(c.Device, Type, Width, 4), new BlockDiagonalGates(c.Device, Type, Width, 2)), new RgLru(c.Device, Type, Width));
            op.Run(c.Stream, c.Rows, c.Matrix(Width), TensorView.Empty, c.Weight(Width, 4), c.Weight(1, Width), c.Weight(Width, Width / 2), c.Weight(1, Width),
                c.Weight(Width, Width / 2), c.Weight(1, Width), c.Matrix(Width), TensorView.Empty, c.Weight(1, Width), c.Matrix(Width), c.State(3 * Width), c.State(Width),
                c.Matrix(Width), c.Matrix(2 * Width), c.Test.Workspace(op.WorkspaceBytes(c.Count, c.Count)));
        },
        [typeof(RecurrentStep)] = c => new RecurrentStep(c.Device, Type, Width, 2).Run(
            c.Stream, c.Rows,
            new(c.Matrix(Width), c.Weight(Width, Width / 2), c.Weight(1, Width), c.Weight(Width, Width / 2), c.Weight(1, Width), c.Matrix(Width), c.Weight(1, Width), c.Weight(1, Width)),
            c.Matrix(Width), c.State(Width)),
        [typeof(ResidualMatMul)] = c =>
        {
            var op = new ResidualMatMul(c.Device, Type, Width, Width);
            FactoredRows normed = new(c.Matrix(Width), c.Weight(1, Math.Max(1, c.Count)).ColumnRange(0, c.Count));
            op.Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width), c.Weight(1, Width), c.Matrix(Width), new(c.Weight(1, Width), 1e-6f), normed,
                c.Test.Workspace(op.WorkspaceBytes(c.Count)));
        },
        [typeof(ResidualProduct)] = c =>
        {
            var op = new ResidualProduct(c.Device, Type, Width, Width);
            op.Run(c.Stream, c.Matrix(Width), c.Weight(Width, Width), c.Weight(1, Width), c.Matrix(Width), c.Matrix(op.PartsFor(c.Count)));
        },
        [typeof(RgLru)] = c =>
        {
            foreach (var variant in new[] { RgLru.Sequential, RgLru.Chunked })
            {
                var op = new RgLru(c.Device, Type, Width, variant);
                op.Run(c.Stream, c.Rows, c.Matrix(Width), c.Matrix(2 * Width), c.Matrix(Width), TensorView.Empty, c.Weight(1, Width), c.Matrix(Width), c.State(Width),
                    c.Test.Workspace(op.WorkspaceBytes(c.Count, c.Count)));
            }
        },
        [typeof(RgLruBackward)] = c =>
        {
            foreach (var variant in new[] { RgLru.Sequential, RgLru.Chunked })
            {
                var op = new RgLruBackward(c.Device, Type, Width, variant);
                op.Run(c.Stream, c.Rows, c.Matrix(Width), c.Matrix(2 * Width), c.Matrix(Width), TensorView.Empty, c.Weight(1, Width), c.Matrix(Width), c.Matrix(Width),
                    c.Matrix(Width), c.Matrix(2 * Width), c.Matrix(Width), c.Weight(1, Width), c.Test.Workspace(op.WorkspaceBytes(c.Count, c.Count)));
            }
        },
        [typeof(RgLruStep)] = c => new RgLruStep(c.Device, Type, Width)
            .Run(c.Stream, c.Rows, c.Matrix(Width), c.Matrix(2 * Width), c.Matrix(Width), TensorView.Empty, c.Weight(1, Width), c.Matrix(Width), c.State(Width)),
        [typeof(RingAppend)] = c => new RingAppend(c.Device, Type, 2, HeadDim).Run(c.Stream, c.Rows, c.Matrix(QkvWidth), c.Ring(), RingSlots),
        [typeof(RmsNorm)] = c =>
        {
            var op = new RmsNorm(c.Device, Type, Width);
            op.Run(c.Stream, c.Matrix(Width), c.Weight(1, Width), c.Matrix(Width), 1e-6f);
            op.RunResidual(c.Stream, c.Matrix(Width), c.Matrix(Width), TensorView.Empty, c.Weight(1, Width), c.Matrix(Width), c.Matrix(Width), 1e-6f);
        },
        [typeof(RmsNormBackward)] = c =>
        {
            var op = new RmsNormBackward(c.Device, Type, Width);
            op.Run(c.Stream, c.Matrix(Width), c.Weight(1, Width), c.Matrix(Width), c.Matrix(Width), true, c.Weight(1, Width), 1e-6f, c.Test.Workspace(op.WorkspaceBytes(c.Count)));
        },
        [typeof(RotaryEmbedding)] = c => new RotaryEmbedding(c.Device, Type, 2, HeadDim, 2).Run(c.Stream, c.Matrix(QkvWidth), c.Integers(1), c.Phases()),
        [typeof(RotaryProduct)] = c => new RotaryProduct(c.Device, Type, 2, HeadDim, 2, Width).Run(
            c.Stream, c.Rows, c.Normed, c.Weight(QkvWidth, Width), c.Phases(), c.Matrix(2 * HeadDim), c.Ring(), RingSlots),
        [typeof(RotaryStep)] = c => new RotaryStep(c.Device, Type, 2, HeadDim, 2).Run(c.Stream, c.Rows, c.Matrix(QkvWidth), c.Phases(), c.Ring(), RingSlots),
        [typeof(Sampler)] = c => new Sampler(c.Device, Width)
            .Run(c.Stream, c.Matrix(Width), c.Integers(0), c.Integers(0), c.State((int)Sampler.StateBytes(Width) / sizeof(float)), c.Integers(0)),
        [typeof(SoftCap)] = c => new SoftCap(c.Device, Width).Run(c.Stream, c.Matrix(Width), 30),
        [typeof(WindowAttention)] = c => new WindowAttention(c.Device, Type, 2, HeadDim).Run(c.Stream, c.Rows, c.Matrix(QkvWidth), c.Ring(), RingSlots, RingSlots, c.Matrix(2 * HeadDim)),
        [typeof(WindowAttentionBackward)] = c =>
        {
            var op = new WindowAttentionBackward(c.Device, Type, 2, HeadDim);
            op.Run(c.Stream, c.Rows, c.Matrix(QkvWidth), RingSlots, c.Matrix(2 * HeadDim), c.Matrix(2 * HeadDim), c.Matrix(2), c.Matrix(QkvWidth), c.Test.Workspace(op.WorkspaceBytes(c.Count)));
        },
    };

    private static IEnumerable<Type> Ops =>
        typeof(KernelOp).Assembly.GetTypes().Where(type => type is { IsClass: true, IsAbstract: false } && type.IsAssignableTo(typeof(IKernelCatalogue))).OrderBy(type => type.Name);

    [TestCaseSource(nameof(Ops))]
    public void NoRowsLaunchNothing(Type op)
    {
        TestDevices.RequireEmulator("counts launches");
        Assert.That(calls, Contains.Key(op));
        using var device = TestDevices.OpenEmulator(new EmulatorOptions { CountAccesses = true });
        Assert.That(Launches(1), Is.Not.Empty, "one row");
        Assert.That(Launches(0), Is.Empty, "no rows");

        IReadOnlyList<LaunchCounters> Launches(int rows)
        {
            using var test = new OpTest(device);
            calls[op](new Call(test, rows));
            test.Stream.Synchronize();
            return device.TakeCounters();
        }
    }

    /// <summary>Operands of a call of so many rows, zeros all of them.</summary>
    private sealed class Call(OpTest test, int count)
    {
        public OpTest Test => test;

        public GpuDevice Device => test.Device;

        public GpuStream Stream => test.Stream;

        public int Count => count;

        public PackedRows Rows { get; } = new SequenceCase([.. Enumerable.Range(0, count).Select(row => new SequenceRow(row, 0))], [0]).Upload(test);

        public TensorView Matrix(int columns) => Zeros(count, columns);

        public NormedInput Normed => new(Matrix(Width), Weight(1, Width), Matrix(1), 1e-6f);

        public TensorView Flat(int elements) => Zeros(1, count * elements);

        public TensorView Weight(int rows, int columns) => Zeros(rows, columns);

        public TensorView Integers(int value) => test.Integers([.. Enumerable.Repeat(value, count)]);

        public LayerState Ring() => State(2 * RingSlots * HeadDim);

        public LayerState State(int elements)
        {
            var memory = Zeros(1, elements).Owner;
            return new LayerState(memory, memory.Address, memory.Bytes);
        }

        public TensorView Phases()
        {
            var phases = test.Allocate(sizeof(ulong));
            test.Stream.CopyToDevice<ulong>(RotaryPhases.Compute(2, 10_000), phases);
            return TensorView.Of(phases, 0, ElementType.UInt64, 1, 1);
        }

        private TensorView Zeros(int rows, int columns) => test.Matrix(new float[rows * columns], rows, columns, Type);
    }
}
