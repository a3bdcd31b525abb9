using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="BlockDiagonalGates"/>: adds the gates' path to the gradient of z, and adds to the float32 gradients of both weights. Those of
/// the biases are column sums of the logits' gradients.
/// </summary>
/// <remarks>
/// The weights' gradients go to cuBLAS where the provider has it, in float32 that of z too; in bfloat16 the latter is our own kernel's, which rounds once.
/// </remarks>
public sealed class BlockDiagonalGatesBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Stages = 3;
    private const int StepTerms = 32;
    private const int LeastSliceRows = 256;
    private const int GeneralTile = 64;
    private const int GeneralThreads = 256;

    private static readonly KernelSource source = KernelSource.BuiltIn("block_diagonal_gates_backward.cu");
    private static readonly VariantTable<int> inputVariants = Table("gates_input_gradient", tile => 2 * tile * GradientShapes.SharedStride(StepTerms));
    private static readonly VariantTable<int> weightVariants = Table("gates_weight_gradient", tile => 2 * StepTerms * GradientShapes.SharedStride(tile));

    private readonly int _blockWidth;
    private readonly PlannedKernel<BlockDiagonalGatesBackwardParams>? _input;    // null where cuBLAS works
    private readonly PlannedKernel<BlockDiagonalGatesBackwardParams>? _weight;   // as well
    private readonly PartialSums? _sums;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of every operand but the weights' gradients, which are float32.</param>
    /// <param name="width">Width of z, a multiple of <paramref name="blocks"/>.</param>
    /// <param name="blocks">Blocks of the diagonal.</param>
    /// <param name="useBlas">Whether products may go to cuBLAS.</param>
    /// <param name="variant">A variant of our own to force; null to choose.</param>
    /// <exception cref="ArgumentException">A type or size is wrong, or the variant does not fit.</exception>
    public BlockDiagonalGatesBackward(GpuDevice device, ElementType type, int width, int blocks, bool useBlas = true, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(blocks);
        if (width % blocks != 0) throw new ArgumentException($"A width of {width} does not divide into {blocks} blocks.", nameof(blocks));
        Width = width;
        Blocks = blocks;
        _blockWidth = width / blocks;
        bool blas = variant is null && useBlas && device.HasBlas;
        if (!blas || type != ElementType.Float32) _input = Request<int, BlockDiagonalGatesBackwardParams>(inputVariants, _blockWidth, variant);
        if (blas) return;
        _weight = Request<int, BlockDiagonalGatesBackwardParams>(weightVariants, _blockWidth, variant);
        _sums = Use(new PartialSums(device, width * _blockWidth));
    }

    /// <summary>Columns of z.</summary>
    public int Width { get; }

    /// <summary>Blocks of the diagonal.</summary>
    public int Blocks { get; }

    /// <summary>Bytes of workspace that a call of so many rows needs.</summary>
    public long WorkspaceBytes(int rows) => _weight is null || rows == 0 ? 0 : 2L * Slices(rows).Count * WeightLength * sizeof(float);

    /// <summary>Queues the gradients. With cuBLAS, <see cref="GpuStream.Blas"/> must have been touched once before a capture.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="z">[N, width], as in the forward pass.</param>
    /// <param name="inputWeight">[blocks · b, b], contiguous, as in the forward pass.</param>
    /// <param name="recurrenceWeight">As <paramref name="inputWeight"/>.</param>
    /// <param name="dgates">[N, 2 · width], the gradients of the logits.</param>
    /// <param name="dz">[N, width], added to with one rounding: the gradient of z.</param>
    /// <param name="dInputWeight">Float32 [blocks · b, b], contiguous, aligned to 16 bytes; added to.</param>
    /// <param name="dRecurrenceWeight">As <paramref name="dInputWeight"/>.</param>
    /// <param name="workspace">At least <see cref="WorkspaceBytes"/>, aligned to 16 bytes; may be empty when that is 0.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in TensorView z, in TensorView inputWeight, in TensorView recurrenceWeight, in TensorView dgates, in TensorView dz,
        in TensorView dInputWeight, in TensorView dRecurrenceWeight, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(z, Type, Width);
        Check.AdjacentRows(inputWeight, Type, Width, _blockWidth);
        Check.AdjacentRows(recurrenceWeight, Type, Width, _blockWidth);
        Check.Matrix(dgates, Type, rows, 2L * Width);
        Check.Matrix(dz, Type, rows, Width);
        Check.AdjacentRows(dInputWeight, ElementType.Float32, Width, _blockWidth);
        Check.AdjacentRows(dRecurrenceWeight, ElementType.Float32, Width, _blockWidth);
        Check.Distinct(dz, z);
        Check.Distinct(dz, dgates);
        Check.Distinct(dInputWeight, dRecurrenceWeight);
        if (rows == 0) return;
        BlockDiagonalGatesBackwardParams parameters = new()
        {
            Z = z.Address,
            InputWeight = inputWeight.Address,
            RecurrenceWeight = recurrenceWeight.Address,
            Dgates = dgates.Address,
            Dz = dz.Address,
            Parts = workspace.Address,
            ZStride = z.RowStride,
            DgatesStride = dgates.RowStride,
            DzStride = dz.RowStride,
            Rows = rows,
            Blocks = Blocks,
            BlockWidth = _blockWidth,
        };
        TensorView toInput = dgates.ColumnRange(0, _blockWidth), toRecurrence = dgates.ColumnRange(Width, _blockWidth);
        if (_weight is null)
        {
            AddWeightGradient(stream.Blas!, z, toInput, dInputWeight);
            AddWeightGradient(stream.Blas!, z, toRecurrence, dRecurrenceWeight);
        }
        else
        {
            RunWeights(stream, z, dgates, dInputWeight, dRecurrenceWeight, workspace, parameters);
        }
        if (_input is null)
        {
            AddInputGradient(stream.Blas!, toInput, inputWeight, dz);
            AddInputGradient(stream.Blas!, toRecurrence, recurrenceWeight, dz);
            return;
        }
        int vector = _input.Plan.Vector;
        Check.Aligned(dgates, vector);
        Check.Aligned(inputWeight, vector);
        Check.Aligned(recurrenceWeight, vector);
        Check.Aligned(dz, vector);
        _input.LaunchGrid(stream, new Dim3(Tiling.Count(rows, _input.Plan.TileRows), Blocks * Tiling.Count(_blockWidth, _input.Plan.TileColumns)), parameters);
    }

    /// <summary>Names of our variants that fit a block width on a device.</summary>
    internal static IReadOnlyList<string> Variants(GpuDevice device, ElementType type, int blockWidth) =>
        inputVariants.Fitting(new(blockWidth, type, device.Limits, device.Kind));

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        int blockWidth = model.RnnWidth / model.GateBlocks;
        return inputVariants.Enumerate(nameof(BlockDiagonalGatesBackward), blockWidth, type)
            .Concat(weightVariants.Enumerate(nameof(BlockDiagonalGatesBackward), blockWidth, type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int tokens = SelfTestBench.Tokens, width = SelfTestBench.Width, blockWidth = width / SelfTestBench.GateBlocks;
        BlockDiagonalGatesBackward op = new(bench.Device, bench.Type, width, SelfTestBench.GateBlocks, variant: bench.Variant);
        _ = bench.Stream.Blas;
        TensorView gradients = bench.Float32Input(2 * width, blockWidth, 1);
        op.Run(bench.Stream, bench.Input(tokens, width), bench.Input(width, blockWidth, 0.5f), bench.Input(width, blockWidth, 0.5f), bench.Input(tokens, 2 * width),
            bench.Input(tokens, width), gradients.RowRange(0, width), gradients.RowRange(width, width), bench.Workspace(op.WorkspaceBytes(tokens)));
        return gradients;
    }

    private long WeightLength => (long)Width * _blockWidth;

    private void RunWeights(GpuStream stream, in TensorView z, in TensorView dgates, in TensorView dInputWeight, in TensorView dRecurrenceWeight, in TensorView workspace,
        BlockDiagonalGatesBackwardParams parameters)
    {
        int vector = _weight!.Plan.Vector, tiles = Tiling.Count(_blockWidth, _weight.Plan.TileRows);
        (parameters.SliceRows, int slices) = Slices(parameters.Rows);
        Check.Aligned(z, vector);
        Check.Aligned(dgates, vector);
        Check.Workspace(workspace, WorkspaceBytes(parameters.Rows));
        TensorView inputSum = Flat(dInputWeight), recurrenceSum = Flat(dRecurrenceWeight);
        _sums!.CheckSum(inputSum);
        _sums.CheckSum(recurrenceSum);
        _weight.LaunchGrid(stream, new Dim3(tiles * tiles, 2 * Blocks, slices), parameters);
        TensorView parts = TensorView.Of(workspace.Owner, (long)(workspace.Address - workspace.Owner.Address), ElementType.Float32, slices, 2 * WeightLength);
        _sums.Run(stream, parts.ColumnRange(0, WeightLength), inputSum);
        _sums.Run(stream, parts.ColumnRange(WeightLength, WeightLength), recurrenceSum);
    }

    private TensorView Flat(in TensorView weight) =>
        TensorView.Of(weight.Owner, (long)(weight.Address - weight.Owner.Address), weight.Type, 1, WeightLength);

    private void AddWeightGradient(GpuBlas blas, in TensorView z, in TensorView dlogits, in TensorView gradient) =>
        blas.MultiplyBatched(z.ColumnRange(0, _blockWidth), true, _blockWidth, dlogits, false, _blockWidth, gradient.RowRange(0, _blockWidth),
            (long)_blockWidth * _blockWidth, Blocks, accumulate: true);

    private void AddInputGradient(GpuBlas blas, in TensorView dlogits, in TensorView weight, in TensorView dz) =>
        blas.MultiplyBatched(dlogits, false, _blockWidth, weight.RowRange(0, _blockWidth), true, (long)_blockWidth * _blockWidth, dz.ColumnRange(0, _blockWidth),
            _blockWidth, Blocks, accumulate: true);

    // Enough slices to keep every multiprocessor busy, none of them short.
    private (int Rows, int Count) Slices(int rows)
    {
        long tiles = 2L * Blocks * _weight!.Plan.BlocksFor(_blockWidth, _blockWidth);
        long wanted = Math.Clamp(2L * Device.Limits.MultiprocessorCount / tiles, 1, Tiling.Count(rows, LeastSliceRows));
        int sliceRows = Tiling.Count(Tiling.Count(rows, (int)wanted), StepTerms) * StepTerms;
        return (sliceRows, Tiling.Count(rows, sliceRows));
    }

    /// <param name="kernel">The kernels' name but for its end.</param>
    /// <param name="stage">Elements of shared memory that a step of so wide a tile takes.</param>
    private static VariantTable<int> Table(string kernel, Func<int, int> stage) => new(source,
        Tiled("mma-128x128", kernel, 128, 64, stage, least: 128),
        Tiled("mma-64x64", kernel, 64, 32, stage, least: 0),
        new KernelVariant<int>("general", q => new($"{kernel}_general<{q.T}>", GeneralThreads) { TileRows = GeneralTile, TileColumns = GeneralTile }));

    private static KernelVariant<int> Tiled(string name, string kernel, int tile, int warpRows, Func<int, int> stage, int least)
    {
        const int warpColumns = 32;
        return new(name, q => new($"{kernel}_mma<{tile}, {warpRows}, {warpColumns}>", 32 * (tile / warpRows) * (tile / warpColumns))
        {
            Vector = q.Vector,
            TileRows = tile,
            TileColumns = tile,
            SharedBytes = Stages * stage(tile) * sizeof(ushort),
        })
        {
            Fits = q => q.Type == ElementType.BFloat16 && q.Shape % q.Vector == 0,
            Preferred = q => q.Shape >= least,
        };
    }
}

/// <summary>Mirror of BlockDiagonalGatesBackwardParams in block_diagonal_gates_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct BlockDiagonalGatesBackwardParams
{
    public ulong Z;
    public ulong InputWeight;
    public ulong RecurrenceWeight;
    public ulong Dgates;
    public ulong Dz;
    public ulong Parts;
    public long ZStride;
    public long DgatesStride;
    public long DzStride;
    public int Rows;
    public int Blocks;
    public int BlockWidth;
    public int SliceRows;
}
