using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// What lies between the products of a recurrent block: <see cref="ConvGates"/>, then <see cref="RgLru"/>, in one kernel where that fits and pays. It has their
/// roundings and, but for the order in which the scan sums, their bits; neither the convolution's result nor the gate logits reach memory.
/// </summary>
public sealed class RecurrentMixer : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    /// <summary>Forces the two ops, one after the other.</summary>
    public const string Separate = "separate";

    private const int UsualBlockWidth = 256;
    private const int Taps = 4;
    private const int Threads = 256;
    private const int TileTokens = 64;
    private const int PassColumns = 128;
    private const int WarpChannels = 16;
    private const int StepTerms = 32;
    private const int Stages = 2;
    private const int MapFloats = 288;
    private const int FixedSharedBytes = 544;   // positions twice and the block's unit, beside the dynamic memory
    private const int Alignment = 256;
    private const int MeasuredTokens = 2048;

    // A row much shorter than a tile wastes most of its products.
    private const int LeastTokensOfRow = TileTokens / 2;

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("recurrent_mixer.cu"),
        new KernelVariant<Shape>("fused-256", q => Plan(q, UsualBlockWidth)) { Fits = q => Fits(q) && q.Shape.BlockWidth == UsualBlockWidth, Preferred = q => q.Kind == GpuDeviceKind.Cuda },
        // One block fills a multiprocessor, and waits alone.
        new KernelVariant<Shape>("fused", q => Plan(q, 0)) { Fits = Fits, Preferred = static _ => false });

    private readonly ConvGates _convGates;
    private readonly RgLru _scan;
    private readonly PlannedKernel<RecurrentMixerParams>? _fused;
    private readonly int _width;
    private readonly int _blocks;
    private readonly int _blockWidth;
    private readonly bool _forced;

    /// <summary>Takes the two ops, and requests the kernel that stands for both where the device has use for it.</summary>
    /// <param name="convGates">Convolution and gates.</param>
    /// <param name="scan">The scan, as wide.</param>
    /// <param name="variant">A variant of the one kernel, or <see cref="Separate"/>, to force a way; null to choose, call by call.</param>
    /// <exception cref="ArgumentException">The ops do not belong together, or the variant does not fit.</exception>
    public RecurrentMixer(ConvGates convGates, RgLru scan, string? variant = null) : base(Checked(convGates, scan).Device, scan.Type)
    {
        _convGates = Use(convGates);
        _scan = Use(scan);
        _width = scan.Width;
        _blocks = convGates.Gates.Blocks;
        _blockWidth = _width / _blocks;
        _forced = variant is not null;
        Shape shape = new(_blockWidth, convGates.Convolution.Taps);
        VariantQuery<Shape> query = Query(shape);
        IReadOnlyList<string> fitting = variants.Fitting(query);
        // On the emulator's few cores the plain kernels cost less apart: its blocks pay for every barrier.
        string? name = variant ?? Device.Tuning.Find(KeyOf(_width, shape, Type))?.Fastest(candidate => candidate == Separate || fitting.Contains(candidate))
            ?? variants.Variants.FirstOrDefault(candidate => candidate.Preferred(query) && fitting.Contains(candidate.Name))?.Name;
        if (name is not null && name != Separate) _fused = Request<Shape, RecurrentMixerParams>(variants, shape, name);
    }

    /// <summary>Bytes of workspace that a call of so many tokens and rows may use.</summary>
    public long WorkspaceBytes(int tokens, int rows) => Math.Max(_scan.WorkspaceBytes(tokens, rows), _fused is null ? 0 : ProgressBytes(tokens, rows) + PairBytes(tokens, rows));

    /// <summary>Queues the mixer. The convolution's state is left for <see cref="Conv1D.UpdateState"/>.</summary>
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
    /// <param name="y">[N, width], the product that makes the GELU branch, without its bias.</param>
    /// <param name="yBias">[width], or empty.</param>
    /// <param name="lambda">[width].</param>
    /// <param name="output">[N, width], round(h · GELU(y + yBias)); may be exactly y.</param>
    /// <param name="tail">The convolution's states, read; <see cref="LayerState.None"/> where every slot of the call is fresh.</param>
    /// <param name="hidden">The layer's h, as <see cref="RgLru"/> takes it; updated.</param>
    /// <param name="z">[N, width], scratch: holds the convolution's result where the two ops run.</param>
    /// <param name="gates">[N, 2 · width], scratch: holds the gate logits where the two ops run.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes; may be empty when that is 0.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in TensorView x, in TensorView xBias, in TensorView convWeight, in TensorView convBias, in TensorView inputWeight,
        in TensorView inputBias, in TensorView recurrenceWeight, in TensorView recurrenceBias, in TensorView y, in TensorView yBias, in TensorView lambda, in TensorView output,
        in LayerState tail, in LayerState hidden, in TensorView z, in TensorView gates, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        if (!TakesFused(rows.Tokens, rows.Rows))
        {
            _convGates.Run(stream, rows, x, xBias, convWeight, convBias, inputWeight, inputBias, recurrenceWeight, recurrenceBias, z, gates, tail);
            _scan.Run(stream, rows, z, gates, y, yBias, lambda, output, hidden, workspace);
            return;
        }
        int vector = _fused!.Plan.Vector;
        _convGates.Convolution.CheckOperands(rows, x, xBias, convWeight, convBias, tail, vector);
        _convGates.Gates.CheckWeights(inputWeight, inputBias, recurrenceWeight, recurrenceBias, vector);
        CheckScan(rows.Tokens, x, y, yBias, lambda, output, hidden, vector);
        if (rows.Tokens == 0) return;
        long progress = ProgressBytes(rows.Tokens, rows.Rows), blocks = ScanTiles.Places(rows.Tokens, rows.Rows, TileTokens) * _blocks;
        Check.Workspace(workspace, progress + PairBytes(rows.Tokens, rows.Rows));
        int splits = Splits(blocks);
        RecurrentMixerParams parameters = new()
        {
            X = x.Address,
            XBias = xBias.Address,
            ConvWeight = convWeight.Address,
            ConvBias = convBias.Address,
            InputWeight = inputWeight.Address,
            InputBias = inputBias.Address,
            RecurrenceWeight = recurrenceWeight.Address,
            RecurrenceBias = recurrenceBias.Address,
            Y = y.Address,
            YBias = yBias.Address,
            Lambda = lambda.Address,
            Output = output.Address,
            Workspace = workspace.Address + (ulong)progress,
            Progress = workspace.Address,
            Rows = rows.Params,
            Tail = tail.Params,
            Hidden = hidden.Params,
            XStride = x.RowStride,
            YStride = y.RowStride,
            OutputStride = output.RowStride,
            Blocks = _blocks,
            BlockWidth = _blockWidth,
            Splits = splits,
        };
        stream.Fill(workspace.Owner, (long)(workspace.Address - workspace.Owner.Address), progress, 0);
        _fused.Launch(stream, blocks * splits, parameters);
    }

    /// <summary>Name of the variant that a call of so many tokens and rows takes.</summary>
    public string VariantFor(int tokens, int rows) => TakesFused(tokens, rows) ? _fused!.Variant : Separate;

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        CatalogueEntry[] fused = [.. variants.Enumerate(nameof(RecurrentMixer), new(model.RnnWidth / model.GateBlocks, model.ConvTaps), type)];
        return fused.Length > 0 ? fused : ConvGates.Catalogue(model, type).Concat(RgLru.Catalogue(model, type)).Select(entry => entry with { Op = nameof(RecurrentMixer) });
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, taps = SelfTestBench.Taps, blocks = SelfTestBench.GateBlocks, slots = SelfTestBench.Slots;
        ConvGates convGates = new(new Conv1D(bench.Device, bench.Type, width, taps), new BlockDiagonalGates(bench.Device, bench.Type, width, blocks));
        bool fused = bench.Variant is not null && variants.Variants.Any(variant => variant.Name == bench.Variant);
        RecurrentMixer op = new(convGates, new RgLru(bench.Device, bench.Type, width), fused ? bench.Variant : null);
        TensorView output = bench.Output(tokens, width);
        op.Run(bench.Stream, bench.Rows(), bench.Input(tokens, width), bench.Input(1, width), bench.Input(width, taps, 0.25f), bench.Input(1, width),
            bench.Input(width, width / blocks, 0.1f), bench.Input(1, width), bench.Input(width, width / blocks, 0.1f), bench.Input(1, width), bench.Input(tokens, width),
            bench.Input(1, width), bench.Input(1, width, 2, -4), output, SelfTestBench.State(bench.Input(slots, (taps - 1) * width)),
            SelfTestBench.State(bench.Float32Input(slots, width, 1)), bench.Output(tokens, width), bench.Output(tokens, 2 * width), bench.Workspace(op.WorkspaceBytes(tokens, slots)));
        return output;
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasRecurrentLayers) return [];
        VariantQuery<Shape> query = new(new(model.RnnWidth / model.GateBlocks, model.ConvTaps), type, device.Limits, device.Kind);
        return [new TuningQuestion(KeyOf(model.RnnWidth, query.Shape, type), [Separate, .. variants.Fitting(query)], (bench, candidate) => Prepare(bench, candidate, model, type)) { Stage = 1 }];
    }

    private bool TakesFused(int tokens, int rows) => _fused is not null && (_forced || (tokens >= TileTokens && tokens >= (long)LeastTokensOfRow * rows));

    private void CheckScan(int tokens, in TensorView x, in TensorView y, in TensorView yBias, in TensorView lambda, in TensorView output, in LayerState hidden, int vector)
    {
        Check.Matrix(y, Type, tokens, _width);
        Check.OptionalVector(yBias, Type, _width);
        Check.Vector(lambda, Type, _width);
        Check.Matrix(output, Type, tokens, _width);
        if (hidden != LayerState.None) Check.State(hidden, _scan.StateBytes);
        Check.Aligned(y, vector);
        Check.Aligned(yBias, vector);
        Check.Aligned(lambda, vector);
        Check.Aligned(output, vector);
        Check.SameOrDistinct(output, y);
        Check.Distinct(output, x);
    }

    // Enough blocks to give every multiprocessor two, as far as passes over the columns can be shared out.
    private int Splits(long blocks)
    {
        int most = Tiling.Count(_blockWidth, PassColumns), splits = 1;
        while (splits < most && blocks * splits < 2L * Device.Limits.MultiprocessorCount) ++splits;
        return splits;
    }

    // The ticket, and a flag for every tile and warp of channels.
    private long ProgressBytes(int tokens, int rows) =>
        ((1 + ScanTiles.Places(tokens, rows, TileTokens) * (_width / WarpChannels)) * sizeof(uint) + Alignment - 1) / Alignment * Alignment;

    private long PairBytes(int tokens, int rows) => ScanTiles.Places(tokens, rows, TileTokens) * 2 * _width * sizeof(float);

    private static bool Fits(VariantQuery<Shape> query) => query.Type == ElementType.BFloat16 && query.Shape.Taps == Taps && query.Shape.BlockWidth % WarpChannels == 0
        && SharedBytes(query.Shape.BlockWidth) + FixedSharedBytes <= query.Limits.SharedBytesPerBlockOptIn;

    private static KernelPlan Plan(in VariantQuery<Shape> query, int knownWidth) =>
        new($"recurrent_mixer<{knownWidth}, {Stages}>", Threads) { Vector = query.Vector, TileRows = TileTokens, TileColumns = PassColumns, SharedBytes = SharedBytes(query.Shape.BlockWidth) };

    // 64 rows of z and three before them, stages of weights, y; the warps' maps and the decays.
    private static int SharedBytes(int blockWidth)
    {
        int columns = Tiling.Count(blockWidth, StepTerms) * StepTerms;
        int halves = (TileTokens + Taps - 1) * GradientShapes.SharedStride(columns) + Stages * StepTerms * GradientShapes.SharedStride(2 * PassColumns) + TileTokens * PassColumns;
        return halves * sizeof(ushort) + (Threads / 32 * MapFloats + blockWidth) * sizeof(float);
    }

    private static RgLru Checked(ConvGates convGates, RgLru scan)
    {
        ArgumentNullException.ThrowIfNull(convGates);
        ArgumentNullException.ThrowIfNull(scan);
        return convGates.Gates.Width == scan.Width && convGates.Type == scan.Type && convGates.Device == scan.Device
            ? scan
            : throw new ArgumentException("The gates and the scan have different widths, types or devices.", nameof(scan));
    }

    private static string KeyOf(int width, Shape shape, ElementType type) =>
        TuningQuestion.KeyOf(variants.Source, type, $"{width} in blocks of {shape.BlockWidth}, {shape.Taps} taps");

    private static TuningRun Prepare(TuningBench bench, string candidate, ModelDimensions model, ElementType type)
    {
        int width = model.RnnWidth, blockWidth = width / model.GateBlocks;
        ConvGates convGates = new(new Conv1D(bench.Device, type, width, model.ConvTaps), new BlockDiagonalGates(bench.Device, type, width, model.GateBlocks));
        RecurrentMixer op = new(convGates, new RgLru(bench.Device, type, width), candidate);
        PackedRows rows = bench.Rows(1, MeasuredTokens);
        TensorView Operand(long height, long columns) => bench.Operand(type, height, columns);
        (TensorView X, TensorView Y)[] inputs =
        [
            .. Enumerable.Range(0, bench.SetsFor(3L * MeasuredTokens * width * type.SizeOf())).Select(_ => (Operand(MeasuredTokens, width), Operand(MeasuredTokens, width))),
        ];
        TensorView convWeight = Operand(width, model.ConvTaps), inputWeight = Operand(width, blockWidth), recurrenceWeight = Operand(width, blockWidth), vector = Operand(1, width);
        TensorView output = bench.Output(type, MeasuredTokens, width), z = bench.Output(type, MeasuredTokens, width), gates = bench.Output(type, MeasuredTokens, 2L * width);
        TensorView workspace = bench.Workspace(op.WorkspaceBytes(MeasuredTokens, 1));
        return new(Queue, output);

        void Queue(int run)
        {
            (TensorView x, TensorView y) = inputs[run % inputs.Length];
            op.Run(bench.Stream, rows, x, TensorView.Empty, convWeight, vector, inputWeight, vector, recurrenceWeight, vector, y, TensorView.Empty, vector, output,
                LayerState.None, LayerState.None, z, gates, workspace);
        }
    }

    private readonly record struct Shape(int BlockWidth, int Taps);
}

/// <summary>Mirror of RecurrentMixerParams in recurrent_mixer.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RecurrentMixerParams
{
    public ulong X;
    public ulong XBias;
    public ulong ConvWeight;
    public ulong ConvBias;
    public ulong InputWeight;
    public ulong InputBias;
    public ulong RecurrenceWeight;
    public ulong RecurrenceBias;
    public ulong Y;
    public ulong YBias;
    public ulong Lambda;
    public ulong Output;
    public ulong Workspace;
    public ulong Progress;
    public PackedRowsParams Rows;
    public SlotMemoryParams Tail;
    public SlotMemoryParams Hidden;
    public long XStride;
    public long YStride;
    public long OutputStride;
    public int Blocks;
    public int BlockWidth;
    public int Splits;
}
