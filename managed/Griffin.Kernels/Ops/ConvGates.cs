using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The convolution of a recurrent block and the gate logits of its result: <see cref="Conv1D"/> and then <see cref="BlockDiagonalGates"/>, in one kernel where
/// that fits and pays, with the same bits as those two with the matrix instructions.
/// </summary>
public sealed class ConvGates : KernelOp, IKernelCatalogue, ISelfTested
{
    /// <summary>Forces the one kernel.</summary>
    public const string Fused = "fused";

    /// <summary>Forces the two ops, one after the other.</summary>
    public const string Separate = "separate";

    private const int Taps = 4;
    private const int TileRows = 64;
    private const int TileColumns = 64;
    private const int StepTerms = 32;
    private const int Stages = 3;

    // Fewer rows are better off with the gates' steps.
    private const int LeastRows = 9;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("conv_gates.cu"),
        new KernelVariant<Shape>(Fused, q => new($"conv_gates<{Stages}>", 256) { Vector = q.Vector, TileRows = TileRows, TileColumns = TileColumns, SharedBytes = SharedBytes(q.Shape.BlockWidth) })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.Taps == Taps && q.Shape.BlockWidth % 16 == 0,
        });

    private readonly Conv1D _convolution;
    private readonly BlockDiagonalGates _gates;
    private readonly PlannedKernel<ConvGatesParams>? _fused;
    private readonly int _blockWidth;
    private readonly int _leastRows;

    /// <summary>Takes the two ops, and requests the kernel that stands for both where the device has use for it.</summary>
    /// <param name="convolution">The convolution.</param>
    /// <param name="gates">The gates, as wide.</param>
    /// <param name="variant"><see cref="Fused"/> or <see cref="Separate"/> to force one way; null to choose, call by call.</param>
    /// <exception cref="ArgumentException">The ops do not belong together, or the variant does not fit.</exception>
    public ConvGates(Conv1D convolution, BlockDiagonalGates gates, string? variant = null) : base(Checked(convolution, gates).Device, convolution.Type)
    {
        _convolution = Use(convolution);
        _gates = Use(gates);
        _blockWidth = gates.Width / gates.Blocks;
        Shape shape = new(_blockWidth, convolution.Taps);
        // On the emulator's few cores the plain convolution and the product cost less apart: its blocks pay for every barrier.
        bool wanted = variant is null ? Device.Kind == GpuDeviceKind.Cuda && variants.Fitting(Query(shape)).Count > 0 : variant != Separate;
        if (wanted) _fused = Request<Shape, ConvGatesParams>(variants, shape, variant);
        _leastRows = variant is null ? LeastRows : 1;
    }

    internal Conv1D Convolution => _convolution;

    internal BlockDiagonalGates Gates => _gates;

    /// <summary>Queues both.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="x">[N, width], the product that makes the input, without its bias.</param>
    /// <param name="xBias">[width], or empty.</param>
    /// <param name="convWeight">[width, taps], as <see cref="Conv1D"/> takes it.</param>
    /// <param name="convBias">[width].</param>
    /// <param name="inputWeight">[blocks · b, b], as <see cref="BlockDiagonalGates"/> takes it.</param>
    /// <param name="inputBias">[width].</param>
    /// <param name="recurrenceWeight">As <paramref name="inputWeight"/>.</param>
    /// <param name="recurrenceBias">[width].</param>
    /// <param name="z">[N, width], written: the convolution's result.</param>
    /// <param name="gates">[N, 2 · width], written: input gate logits, then recurrence gate logits. z, gates and x share nothing.</param>
    /// <param name="state">The convolution's states, read; default where every slot of the call is fresh.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView x, in TensorView xBias, in TensorView convWeight, in TensorView convBias, in TensorView inputWeight,
        in TensorView inputBias, in TensorView recurrenceWeight, in TensorView recurrenceBias, in TensorView z, in TensorView gates, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (_fused is null || rows.Tokens < _leastRows)
        {
            _convolution.Run(stream, rows, x, xBias, convWeight, convBias, z, state);
            _gates.Run(stream, z, inputWeight, inputBias, recurrenceWeight, recurrenceBias, gates);
            return;
        }
        int vector = _fused.Plan.Vector;
        _convolution.CheckAll(rows, x, xBias, convWeight, convBias, z, state, vector);
        _gates.CheckAll(z, inputWeight, inputBias, recurrenceWeight, recurrenceBias, gates, vector);
        Check.Distinct(gates, x);
        if (rows.Tokens == 0) return;
        int tiles = Tiling.Count(rows.Tokens, TileRows), splits = Splits(tiles * _gates.Blocks);
        ConvGatesParams parameters = new()
        {
            X = x.Address,
            XBias = xBias.Address,
            ConvWeight = convWeight.Address,
            ConvBias = convBias.Address,
            InputWeight = inputWeight.Address,
            InputBias = inputBias.Address,
            RecurrenceWeight = recurrenceWeight.Address,
            RecurrenceBias = recurrenceBias.Address,
            Z = z.Address,
            Gates = gates.Address,
            Rows = rows.Params,
            State = state.Params,
            XStride = x.RowStride,
            ZStride = z.RowStride,
            GatesStride = gates.RowStride,
            Blocks = _gates.Blocks,
            BlockWidth = _blockWidth,
            Splits = splits,
        };
        _fused.LaunchGrid(stream, new Dim3(tiles, _gates.Blocks * splits), parameters);
    }

    /// <summary>Name of the variant that a call of so many tokens takes.</summary>
    public string VariantFor(int tokens) => _fused is null || tokens < _leastRows ? Separate : Fused;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        CatalogueEntry[] fused = [.. variants.Enumerate(nameof(ConvGates), new(model.RnnWidth / model.GateBlocks, model.ConvTaps), type)];
        return fused.Length > 0 ? fused : Conv1D.Catalogue(model, type).Concat(BlockDiagonalGates.Catalogue(model, type)).Select(entry => entry with { Op = nameof(ConvGates) });
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, taps = SelfTestBench.Taps, blocks = SelfTestBench.GateBlocks;
        TensorView results = bench.Output(tokens, 3 * width);
        ConvGates op = new(new Conv1D(bench.Device, bench.Type, width, taps), new BlockDiagonalGates(bench.Device, bench.Type, width, blocks), bench.Variant);
        op.Run(bench.Stream, bench.Rows(), bench.Input(tokens, width), bench.Input(1, width), bench.Input(width, taps, 0.25f), bench.Input(1, width),
            bench.Input(width, width / blocks, 0.1f), bench.Input(1, width), bench.Input(width, width / blocks, 0.1f), bench.Input(1, width),
            results.ColumnRange(0, width), results.ColumnRange(width, 2 * width), SelfTestBench.State(bench.Input(SelfTestBench.Slots, (taps - 1) * width)));
        return results;
    }

    // Enough blocks to give every multiprocessor two, as far as columns can be shared out.
    private int Splits(int blocks)
    {
        int most = Tiling.Count(_blockWidth, TileColumns), splits = 1;
        while (splits < most && blocks * splits < 2 * Device.Limits.MultiprocessorCount) ++splits;
        return splits;
    }

    // 64 rows of z and three before them; stages of weights.
    private static int SharedBytes(int blockWidth)
    {
        int columns = Tiling.Count(blockWidth, StepTerms) * StepTerms;
        return ((TileRows + Taps - 1) * GradientShapes.SharedStride(columns) + Stages * StepTerms * GradientShapes.SharedStride(2 * TileColumns)) * sizeof(ushort);
    }

    private static Conv1D Checked(Conv1D convolution, BlockDiagonalGates gates)
    {
        ArgumentNullException.ThrowIfNull(convolution);
        ArgumentNullException.ThrowIfNull(gates);
        return convolution.Width == gates.Width && convolution.Type == gates.Type && convolution.Device == gates.Device
            ? convolution
            : throw new ArgumentException("The convolution and the gates have different widths, types or devices.", nameof(gates));
    }

    private readonly record struct Shape(int BlockWidth, int Taps);
}

/// <summary>Mirror of ConvGatesParams in conv_gates.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ConvGatesParams
{
    public ulong X;
    public ulong XBias;
    public ulong ConvWeight;
    public ulong ConvBias;
    public ulong InputWeight;
    public ulong InputBias;
    public ulong RecurrenceWeight;
    public ulong RecurrenceBias;
    public ulong Z;
    public ulong Gates;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long XStride;
    public long ZStride;
    public long GatesStride;
    public int Blocks;
    public int BlockWidth;
    public int Splits;
}
