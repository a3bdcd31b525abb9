using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The backward pass of <see cref="RmsNorm"/>: with s = 1 / sqrt(mean(x²) + eps), g = 1 + scale and q = Σ g·dy·x over a row,
/// dx = s·g·dy - x·s³·q / width and dscale += Σ dy·x·s over the rows.
/// </summary>
public sealed class RmsNormBackward : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int LeastRows = 16;
    private const int MaxThreads = 512;
    private const int WideThreads = 256;
    private const int VectorItems = 2;    // vectors, and single values, of a row that one thread keeps
    private const int GeneralItems = 8;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("rms_norm_backward.cu"),
        // One thread a block: no barriers, which the emulator runs as a plain loop.
        new KernelVariant<int>("serial", q => Wide(q, q.Vector, 1)) { Fits = q => q.Shape % q.Vector == 0, Preferred = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<int>("vector", q => InRegisters(q, q.Vector)) { Fits = q => q.Shape % q.Vector == 0 && q.Shape / q.Vector <= MaxThreads * VectorItems },
        new KernelVariant<int>("general", q => InRegisters(q, 1)) { Fits = q => q.Shape <= MaxThreads * GeneralItems },
        new KernelVariant<int>("wide", q => Wide(q, 1, WideThreads)));

    private readonly PlannedKernel<RmsNormBackwardParams> _kernel;
    private readonly PartialSums _partialSums;

    /// <summary>Chooses and requests the kernels.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of the activations, their gradients, and the scale.</param>
    /// <param name="width">Columns of a row.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public RmsNormBackward(GpuDevice device, ElementType type, int width, string? variant = null) : base(device, type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, RmsNormBackwardParams>(variants, width, variant);
        _partialSums = Use(new PartialSums(device, width));
    }

    /// <summary>Columns of a row.</summary>
    public int Width { get; }

    /// <summary>Bytes of workspace that a call of so many rows needs.</summary>
    public long WorkspaceBytes(int rows) => (long)RowParts.Count(rows, LeastRows) * Width * sizeof(float);

    /// <summary>Queues both gradients.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="x">[N, width], what was normed.</param>
    /// <param name="scale">[width], around 0.</param>
    /// <param name="dy">[N, width], the gradient of the result.</param>
    /// <param name="dx">[N, width], written, or added to; may be exactly dy.</param>
    /// <param name="accumulate">Whether dx is added to, with one rounding of the sum.</param>
    /// <param name="dscale">Float32 [width], added to.</param>
    /// <param name="eps">Added to the mean of squares.</param>
    /// <param name="workspace">One row of at least <see cref="WorkspaceBytes"/>, aligned to 16 bytes.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, views overlap, or the workspace is too small.</exception>
    public void Run(
        GpuStream stream, in TensorView x, in TensorView scale, in TensorView dy, in TensorView dx, bool accumulate, in TensorView dscale, float eps, in TensorView workspace)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int rows = Check.Matrix(x, Type, Width);
        Check.Vector(scale, Type, Width);
        Check.Matrix(dy, Type, rows, Width);
        Check.Matrix(dx, Type, rows, Width);
        _partialSums.CheckSum(dscale);
        Check.Aligned(x, _kernel.Plan.Vector);
        Check.Aligned(scale, _kernel.Plan.Vector);
        Check.Aligned(dy, _kernel.Plan.Vector);
        Check.Aligned(dx, _kernel.Plan.Vector);
        Check.Distinct(dx, x);
        Check.SameOrDistinct(dx, dy);
        if (rows == 0) return;
        Check.Workspace(workspace, WorkspaceBytes(rows));
        RmsNormBackwardParams parameters = new()
        {
            X = x.Address,
            Scale = scale.Address,
            Dy = dy.Address,
            Dx = dx.Address,
            Parts = workspace.Address,
            XStride = x.RowStride,
            DyStride = dy.RowStride,
            DxStride = dx.RowStride,
            Rows = rows,
            RowsPerPart = RowParts.RowsOf(rows, LeastRows),
            Width = Width,
            Accumulate = accumulate ? 1 : 0,
            Eps = eps,
        };
        TensorView parts = RowParts.View(workspace, rows, LeastRows, Width);
        _kernel.Launch(stream, parts.Rows, parameters);
        _partialSums.Run(stream, parts, dscale);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(RmsNormBackward), model.Width, type);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int rows = 19, width = SelfTestBench.Width;
        RmsNormBackward op = new(bench.Device, bench.Type, width, bench.Variant);
        TensorView dx = bench.Input(rows, width);
        op.Run(bench.Stream, bench.Input(rows, width, 3), bench.Input(1, width, 0.5f), bench.Input(rows, width), dx, accumulate: true,
            bench.Float32Input(1, width, 1), 1e-6f, bench.Workspace(op.WorkspaceBytes(rows)));
        return dx;
    }

    private static KernelPlan InRegisters(in VariantQuery<int> query, int vector)
    {
        int vectors = (query.Shape + vector - 1) / vector;
        int items = Tiling.Count(vectors, MaxThreads);
        int threads = KernelPlan.ThreadsFor((vectors + items - 1) / items, 1, MaxThreads);
        return new($"rms_norm_backward<{query.T}, {vector}, {threads}, {items}>", threads) { Vector = vector };
    }

    private static KernelPlan Wide(in VariantQuery<int> query, int vector, int threads) =>
        new($"rms_norm_backward_wide<{query.T}, {vector}, {threads}>", threads) { Vector = vector };
}

/// <summary>Mirror of RmsNormBackwardParams in rms_norm_backward.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct RmsNormBackwardParams
{
    public ulong X;
    public ulong Scale;
    public ulong Dy;
    public ulong Dx;
    public ulong Parts;
    public long XStride;
    public long DyStride;
    public long DxStride;
    public int Rows;
    public int RowsPerPart;
    public int Width;
    public int Accumulate;
    public float Eps;
}
