using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Adds the rows of a matrix to a float32 vector: sum[c] += Σ_r x[r, c]. It is the gradient of a bias.</summary>
public sealed class ColumnSum : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 128;
    private const int LeastRows = 32;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("column_sum.cu"),
        new KernelVariant<int>("vector", q => Plan(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<ColumnSumParams> _kernel;
    private readonly PartialSums _partialSums;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the matrix.</param>
    /// <param name="width">Columns.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public ColumnSum(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, ColumnSumParams>(variants, width, variant);
        _partialSums = Use(new PartialSums(device, width));
    }

    /// <summary>Columns.</summary>
    public int Width { get; }

    /// <summary>Bytes of workspace that a call of so many rows needs.</summary>
    public long WorkspaceBytes(int rows) => (long)RowParts.Count(rows, LeastRows) * Width * sizeof(float);

    /// <summary>Queues the sum. The order of addition depends on the number of rows alone.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">[N, width].</param>
    /// <param name="sum">Float32 [width], added to.</param>
    /// <param name="workspace">One row of at least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, the views overlap, or the workspace is too small.</exception>
    public void Run(GpuStream stream, in TensorView x, in TensorView sum, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(x, Type, Width);
        _partialSums.CheckSum(sum);
        Check.Aligned(x, _kernel.Plan.Vector);
        Check.Distinct(sum, x);
        if (rows == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(rows));
        ColumnSumParams parameters = new()
        {
            X = x.Address,
            Parts = workspace.Address,
            XStride = x.RowStride,
            Rows = rows,
            RowsPerPart = RowParts.RowsOf(rows, LeastRows),
            Width = Width,
        };
        TensorView parts = RowParts.View(workspace, rows, LeastRows, Width);
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(parts.Rows, Width), parameters);
        _partialSums.Run(stream, parts, sum);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return new[] { model.Width, model.RnnWidth, model.MlpWidth }.SelectMany(width => variants.Enumerate(nameof(ColumnSum), width, type));
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = 70, width = SelfTestBench.Width;
        ColumnSum op = new(bench.Device, bench.Type, width, bench.Variant);
        TensorView sum = bench.Float32Input(1, width, 1);
        op.Run(bench.Stream, bench.Input(rows, width), sum, bench.Workspace(op.WorkspaceBytes(rows)));
        return sum;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) => KernelPlan.ByColumns($"column_sum<{query.T}, {vector}>", query.Shape, vector, MaxThreads);
}

/// <summary>Mirror of ColumnSumParams in column_sum.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct ColumnSumParams
{
    public ulong X;
    public ulong Parts;
    public long XStride;
    public int Rows;
    public int RowsPerPart;
    public int Width;
}
