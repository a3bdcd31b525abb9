using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The middle of a recurrent block in a decode step: both gates, the RG-LRU step and the GELU branch in one kernel, h updated in place. It is
/// <see cref="BlockDiagonalGates"/> and <see cref="RgLruStep"/> with their roundings.
/// </summary>
public sealed class RecurrentStep : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int GateColumns = 16;      // of each gate in a block of recurrent_step_mma
    private const int StageTerms = 256;
    private static readonly int[] rowClasses = [8, 16, 32, int.MaxValue];

    private static readonly VariantTable<Shape> variants = new(KernelSource.BuiltIn("recurrent_step.cu"),
        Mma(1),
        Mma(2),
        Mma(4),
        Mma(8),
        new KernelVariant<Shape>("general", q => new($"recurrent_step_general<{q.T}>", 64) { TileRows = 4, TileColumns = 64, Waits = true }));

    private readonly int _blockWidth;
    private readonly PlannedKernel<RecurrentStepParams>[] _kernels;   // by row class; one where a variant is forced

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand; h is float32.</param>
    /// <param name="width">Channels, a multiple of <paramref name="blocks"/>.</param>
    /// <param name="blocks">Blocks of the gates' diagonal.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public RecurrentStep(GpuDevice device, ElementType type, int width, int blocks, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        if (width % blocks != 0) throw new ArgumentException($"A width of {width} does not divide into {blocks} blocks.", nameof(blocks));
        Width = width;
        Blocks = blocks;
        _blockWidth = width / blocks;
        Shape shape = new(_blockWidth, int.MaxValue);
        _kernels = variant is not null
            ? [Request<Shape, RecurrentStepParams>(variants, shape, variant)]
            : [.. rowClasses.Select(rows => Request<Shape, RecurrentStepParams>(variants, shape with { Rows = rows }))];
    }

    /// <summary>Channels.</summary>
    public int Width { get; }

    /// <summary>Blocks of the gates' diagonal.</summary>
    public int Blocks { get; }

    /// <summary>Queues one step.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">B rows of one token each.</param>
    /// <param name="operands">What is read.</param>
    /// <param name="output">[B, width]; may be exactly the operands' y.</param>
    /// <param name="state">The layer's h, float32 [width] per slot; updated.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, a row has not one token, or views overlap in part.</exception>
    public void Run(GpuStream stream, in PackedRows rows, in RecurrentStepOperands operands, in TensorView output, in LayerState state)
    {
        ArgumentNullException.ThrowIfNull(stream);
        Check.OneTokenPerRow(rows);
        (TensorView z, TensorView y) = (operands.Z, operands.Y);
        Check.Matrix(z, Type, rows.Rows, Width);
        Check.Matrix(y, Type, rows.Rows, Width);
        Check.AdjacentRows(operands.InputWeight, Type, Width, _blockWidth);
        Check.AdjacentRows(operands.RecurrenceWeight, Type, Width, _blockWidth);
        Check.Vector(operands.InputBias, Type, Width);
        Check.Vector(operands.RecurrenceBias, Type, Width);
        Check.OptionalVector(operands.YBias, Type, Width);
        Check.Vector(operands.Lambda, Type, Width);
        Check.Matrix(output, Type, rows.Rows, Width);
        Check.SameOrDistinct(output, y);
        Check.Distinct(output, z);
        Check.State(state, (long)Width * sizeof(float));
        PlannedKernel<RecurrentStepParams> kernel = _kernels[_kernels.Length == 1 ? 0 : Tiling.ClassOf(rowClasses, rows.Rows)];
        KernelPlan plan = kernel.Plan;
        Check.Aligned(z, plan.Vector);
        Check.Aligned(operands.InputWeight, plan.Vector);
        Check.Aligned(operands.RecurrenceWeight, plan.Vector);
        if (rows.Rows == 0) return;
        RecurrentStepParams parameters = new()
        {
            Z = z.Address,
            InputWeight = operands.InputWeight.Address,
            InputBias = operands.InputBias.Address,
            RecurrenceWeight = operands.RecurrenceWeight.Address,
            RecurrenceBias = operands.RecurrenceBias.Address,
            Y = y.Address,
            YBias = operands.YBias.Address,
            Lambda = operands.Lambda.Address,
            Output = output.Address,
            Rows = rows.Params,
            State = state.Params,
            ZStride = z.RowStride,
            YStride = y.RowStride,
            OutputStride = output.RowStride,
            Blocks = Blocks,
            BlockWidth = _blockWidth,
        };
        int columns = plan.TileColumns == GateColumns ? Blocks * Tiling.Count(_blockWidth, GateColumns) : Tiling.Count(Width, plan.TileColumns);
        kernel.LaunchGrid(stream, new Dim3(Tiling.Count(rows.Rows, plan.TileRows), columns), parameters);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RecurrentStep), new(model.RnnWidth / model.GateBlocks, int.MaxValue), type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = SelfTestBench.Slots, width = SelfTestBench.Width, blockWidth = width / SelfTestBench.GateBlocks;
        TensorView output = bench.Output(rows, width);
        new RecurrentStep(bench.Device, bench.Type, width, SelfTestBench.GateBlocks, bench.Variant).Run(
            bench.Stream, bench.Steps(),
            new(bench.Input(rows, width), bench.Input(width, blockWidth, 0.5f), bench.Input(1, width), bench.Input(width, blockWidth, 0.5f), bench.Input(1, width),
                bench.Input(rows, width), bench.Input(1, width), bench.Input(1, width, 2, -4)),
            output, SelfTestBench.State(bench.Float32Input(rows, width, 1)));
        return output;
    }

    private static KernelVariant<Shape> Mma(int batchTiles)
    {
        int batch = 8 * batchTiles;
        int tiles = ((StageTerms * 40) + (batch * 264)) * sizeof(ushort);   // the weights, then z, in rows without bank conflicts
        int sums = 8 * batch * ((2 * GateColumns) + 4) * sizeof(float);     // in the same place afterwards
        return new($"mma-{batch}", q => new($"recurrent_step_mma<{batchTiles}>", 256)
        {
            Waits = true,
            Vector = q.Vector,
            TileRows = batch,
            TileColumns = GateColumns,
            SharedBytes = Math.Max(tiles, sums),
        })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape.BlockWidth % q.Vector == 0,
            Preferred = q => q.Shape.Rows <= batch || batchTiles == 8,
        };
    }

    /// <param name="BlockWidth">b.</param>
    /// <param name="Rows">The most rows of a call.</param>
    private readonly record struct Shape(int BlockWidth, int Rows);
}

/// <summary>What <see cref="RecurrentStep"/> reads.</summary>
/// <param name="Z">[B, width], the convolution's result.</param>
/// <param name="InputWeight">[blocks · b, b], contiguous: row h · b + i holds w[h, i, ·].</param>
/// <param name="InputBias">[width].</param>
/// <param name="RecurrenceWeight">As <paramref name="InputWeight"/>.</param>
/// <param name="RecurrenceBias">[width].</param>
/// <param name="Y">[B, width], the product that makes the GELU branch, without its bias.</param>
/// <param name="YBias">[width], or empty.</param>
/// <param name="Lambda">[width].</param>
public readonly record struct RecurrentStepOperands(
    TensorView Z, TensorView InputWeight, TensorView InputBias, TensorView RecurrenceWeight, TensorView RecurrenceBias, TensorView Y, TensorView YBias, TensorView Lambda);

/// <summary>Mirror of RecurrentStepParams in recurrent_step.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RecurrentStepParams
{
    public ulong Z;
    public ulong InputWeight;
    public ulong InputBias;
    public ulong RecurrenceWeight;
    public ulong RecurrenceBias;
    public ulong Y;
    public ulong YBias;
    public ulong Lambda;
    public ulong Output;
    public PackedRowsParams Rows;
    public SlotMemoryParams State;
    public long ZStride;
    public long YStride;
    public long OutputStride;
    public int Blocks;
    public int BlockWidth;
}
