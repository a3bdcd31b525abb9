using System.Runtime.InteropServices;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The two gate projections of the RG-LRU, block-diagonal: logits u[h, j] = Σ_i z[h, i] · w[h, i, j] + bias[h, j] of the input gate and of the
/// recurrence gate, side by side.
/// </summary>
public sealed class BlockDiagonalGates : KernelOp, IKernelCatalogue, ISelfTested, ITuned
{
    private const int ManyRows = 1024;   // stands for the last class where it is measured
    private const int MostTiles = 16;    // tiles over the rows, beyond which a variant is not worth measuring
    private const int FewRows = 64;      // the most that one small tile of a product covers
    private const int StepRows = 8;      // the most that a step kernel takes at once
    private const string ProductTiles = "mma-";
    private const int TileColumns = 64;
    private const int Stages = 3;
    private const int StageElements = 40;           // of z in shared memory, for each row of a tile
    private const int StageWeights = 32 * 136;      // elements of both weights in shared memory
    private static readonly int[] rowClasses = [1, 2, 4, StepRows, FewRows, int.MaxValue];
    private static readonly int[] invariantClasses = [FewRows, int.MaxValue];   // product tiles of every size give equal bits

    // The emulator likes the steps without a barrier, and few of them since it compiles each; a GPU the ones that share a sum among many threads.
    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("block_diagonal_gates.cu"),
        Step(1, GpuDeviceKind.Cuda),
        Step(2, GpuDeviceKind.Cuda),
        Step(4, GpuDeviceKind.Cuda),
        Step(StepRows, GpuDeviceKind.Cuda),
        Step(1, GpuDeviceKind.Emulator),
        Step(StepRows, GpuDeviceKind.Emulator),
        Tiled(128, leastRows: FewRows + 1),
        Tiled(FewRows, leastRows: 0),
        new KernelVariant<Shape>("general", q => new($"gates_general<{q.T}>", 64) { TileRows = 4, TileColumns = 64 }));

    private readonly int _blockWidth;
    private readonly int[] _classes;                                        // the most rows of each class of calls
    private readonly PlannedKernel<BlockDiagonalGatesParams>[] _kernels;    // of each

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand.</param>
    /// <param name="width">Width of z, a multiple of <paramref name="blocks"/>.</param>
    /// <param name="blocks">Blocks of the diagonal.</param>
    /// <param name="batchInvariant">Whether a row's bits must not depend on the number of rows.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public BlockDiagonalGates(GpuDevice device, ElementType type, int width, int blocks, bool batchInvariant = false, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        if (width % blocks != 0) throw new ArgumentException($"A width of {width} does not divide into {blocks} blocks.", nameof(blocks));
        Width = width;
        Blocks = blocks;
        _blockWidth = width / blocks;
        bool measured = variant is null && !batchInvariant;
        _classes = measured ? rowClasses : variant is null ? invariantClasses : [int.MaxValue];
        _kernels = [.. _classes.Select(rows => new Shape(_blockWidth, rows)).Select(shape => measured ? ForClass(shape) : Request<Shape, BlockDiagonalGatesParams>(variants, shape, variant))];
    }

    /// <summary>Columns of z.</summary>
    public int Width { get; }

    /// <summary>Blocks of the diagonal.</summary>
    public int Blocks { get; }

    /// <summary>Queues the projections.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="z">[N, width].</param>
    /// <param name="inputWeight">[blocks · b, b], contiguous: row h · b + i holds w[h, i, ·].</param>
    /// <param name="inputBias">[width].</param>
    /// <param name="recurrenceWeight">As <paramref name="inputWeight"/>.</param>
    /// <param name="recurrenceBias">[width].</param>
    /// <param name="gates">[N, 2 · width]: input gate logits, then recurrence gate logits; shares nothing with the rest.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or views overlap.</exception>
    public void Run(GpuStream stream, in TensorView z, in TensorView inputWeight, in TensorView inputBias, in TensorView recurrenceWeight, in TensorView recurrenceBias, in TensorView gates)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(z, Type, Width);
        PlannedKernel<BlockDiagonalGatesParams> kernel = KernelFor(Math.Max(1, rows));
        KernelPlan plan = kernel.Plan;
        CheckAll(z, inputWeight, inputBias, recurrenceWeight, recurrenceBias, gates, plan.Vector);
        if (rows == 0) return;
        BlockDiagonalGatesParams parameters = new()
        {
            Z = z.Address,
            InputWeight = inputWeight.Address,
            InputBias = inputBias.Address,
            RecurrenceWeight = recurrenceWeight.Address,
            RecurrenceBias = recurrenceBias.Address,
            Gates = gates.Address,
            ZStride = z.RowStride,
            GatesStride = gates.RowStride,
            Rows = rows,
            Blocks = Blocks,
            BlockWidth = _blockWidth,
        };
        int sides = kernel.Variant.StartsWith(ProductTiles, StringComparison.Ordinal) ? 1 : 2;   // a product's tile holds both gates
        kernel.LaunchGrid(stream, new Dim3(Tiling.Count(rows, plan.TileRows), sides * Blocks * Tiling.Count(_blockWidth, plan.TileColumns)), parameters);
    }

    /// <summary>Name of the variant that a call of so many rows takes.</summary>
    public string VariantFor(int rows) => KernelFor(rows).Variant;

    /// <summary>Names of the variants that fit a block width on a device.</summary>
    internal static IReadOnlyList<string> Variants(GpuDevice device, ElementType type, int blockWidth) =>
        variants.Fitting(new(new(blockWidth, int.MaxValue), type, device.Limits, device.Kind));

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(BlockDiagonalGates), new(model.RnnWidth / model.GateBlocks, int.MaxValue), type);
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type)
    {
        if (!model.HasRecurrentLayers) yield break;
        foreach (int rows in rowClasses)
        {
            VariantQuery<Shape> query = new(new(model.RnnWidth / model.GateBlocks, rows), type, device.Limits, device.Kind);
            IReadOnlyList<string> worth = [.. variants.Fitting(query).Where(name => MostTiles * variants.Choose(query, name).Plan.TileRows >= Math.Min(rows, ManyRows))];
            yield return new TuningQuestion(KeyOf(model.RnnWidth, query.Shape, type), worth, (bench, candidate) => Prepare(bench, candidate, model.RnnWidth, query.Shape, type));
        }
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width, blockWidth = width / SelfTestBench.GateBlocks;
        TensorView gates = bench.Output(SelfTestBench.Tokens, 2 * width);
        new BlockDiagonalGates(bench.Device, bench.Type, width, SelfTestBench.GateBlocks, variant: bench.Variant).Run(
            bench.Stream, bench.Input(SelfTestBench.Tokens, width), bench.Input(width, blockWidth, 0.5f), bench.Input(1, width),
            bench.Input(width, blockWidth, 0.5f), bench.Input(1, width), gates);
        return gates;
    }

    /// <summary>What <see cref="Run"/> asks of its operands, for a kernel that moves so many elements at a time.</summary>
    internal void CheckAll(
        in TensorView z, in TensorView inputWeight, in TensorView inputBias, in TensorView recurrenceWeight, in TensorView recurrenceBias, in TensorView gates, int vector)
    {
        int rows = Check.Matrix(z, Type, Width);
        CheckWeights(inputWeight, inputBias, recurrenceWeight, recurrenceBias, vector);
        Check.Matrix(gates, Type, rows, 2L * Width);
        Check.Distinct(gates, z);
        Check.Aligned(z, vector);
        Check.Aligned(gates, vector);
    }

    internal void CheckWeights(in TensorView inputWeight, in TensorView inputBias, in TensorView recurrenceWeight, in TensorView recurrenceBias, int vector)
    {
        CheckWeight(inputWeight, nameof(inputWeight));
        CheckWeight(recurrenceWeight, nameof(recurrenceWeight));
        Check.Vector(inputBias, Type, Width);
        Check.Vector(recurrenceBias, Type, Width);
        Check.Aligned(inputWeight, vector);
        Check.Aligned(inputBias, vector);
        Check.Aligned(recurrenceWeight, vector);
        Check.Aligned(recurrenceBias, vector);
    }

    private static string KeyOf(int width, Shape shape, ElementType type) => TuningQuestion.KeyOf(variants.Source, type,
        $"{width} in blocks of {shape.BlockWidth}, {(shape.Rows == int.MaxValue ? "more" : shape.Rows)} rows");

    private static TuningRun Prepare(TuningBench bench, string candidate, int width, Shape shape, ElementType type)
    {
        int rows = Math.Min(shape.Rows, ManyRows), sets = bench.SetsFor(2L * width * shape.BlockWidth * type.SizeOf());
        BlockDiagonalGates op = new(bench.Device, type, width, width / shape.BlockWidth, variant: candidate);
        TensorView z = bench.Operand(type, rows, width), bias = bench.Operand(type, 1, width), gates = bench.Output(type, rows, 2L * width);
        TensorView[] weights = [.. Enumerable.Range(0, 2 * sets).Select(_ => bench.Operand(type, width, shape.BlockWidth))];
        return new(run => op.Run(bench.Stream, z, weights[2 * (run % sets)], bias, weights[2 * (run % sets) + 1], bias, gates), gates);
    }

    /// <summary>The kernel of a class of row counts: what was measured, else what is usual.</summary>
    private PlannedKernel<BlockDiagonalGatesParams> ForClass(Shape shape) =>
        Request<Shape, BlockDiagonalGatesParams>(variants, shape, Device.Tuning.Find(KeyOf(Width, shape, Type))?.Fastest(variants.Fitting(Query(shape)).Contains));

    private PlannedKernel<BlockDiagonalGatesParams> KernelFor(int rows) => _kernels[Tiling.ClassOf(_classes, rows)];

    private void CheckWeight(in TensorView weight, string name)
    {
        Check.Matrix(weight, Type, Width, _blockWidth, name);
        if (weight.RowStride != _blockWidth) throw new ArgumentException($"{name} must be contiguous.", name);
    }

    private static KernelVariant<Shape> Step(int batch, GpuDeviceKind kind)
    {
        bool shared = kind == GpuDeviceKind.Cuda;
        return new($"step-{batch}{(shared ? "-shared" : "")}",
            q => new($"gates_step<{q.T}, {batch}, {(shared ? 32 : 1)}>", shared ? 256 : 32) { Vector = q.Vector, TileRows = batch, TileColumns = (shared ? 8 : 32) * q.Vector })
        {
            Fits = q => q.Shape.BlockWidth % q.Vector == 0,
            Preferred = q => q.Kind == kind && q.Shape.Rows <= batch,
        };
    }

    private static KernelVariant<Shape> Tiled(int rows, int leastRows) =>
        new($"{ProductTiles}{rows}x{TileColumns}", q => new($"gates_mma<{rows}, {Stages}>", 256)
        {
            Vector = q.Vector,
            TileRows = rows,
            TileColumns = TileColumns,
            SharedBytes = Stages * ((rows * StageElements) + StageWeights) * sizeof(ushort),
        })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.BlockWidth % 16 == 0,
            Preferred = q => q.Shape.Rows >= leastRows,
        };

    /// <param name="BlockWidth">b.</param>
    /// <param name="Rows">The most rows of a call.</param>
    private readonly record struct Shape(int BlockWidth, int Rows);
}

/// <summary>Mirror of BlockDiagonalGatesParams in block_diagonal_gates.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BlockDiagonalGatesParams
{
    public ulong Z;
    public ulong InputWeight;
    public ulong InputBias;
    public ulong RecurrenceWeight;
    public ulong RecurrenceBias;
    public ulong Gates;
    public long ZStride;
    public long GatesStride;
    public int Rows;
    public int Blocks;
    public int BlockWidth;
}
