using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The second pass of a reduction over rows: sum[c] += Σ_p parts[p, c], in a fixed order, float32. The ops whose gradients sum over tokens write one row of
/// parts per block of tokens and end with it: no atomics, equal bits always.
/// </summary>
public sealed class PartialSums : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int MaxThreads = 64;
    private const int Vector = 4;
    private const int Slices = 8;

    private static readonly VariantTable<int> variants = new(KernelSource.BuiltIn("partial_sums.cu"),
        new KernelVariant<int>("sliced", q => new($"partial_sums<{Vector}, {Slices}>", 32 * Slices) { Vector = Vector, TileColumns = 32 * Vector })
        {
            Fits = q => q.Shape % Vector == 0,
            Preferred = q => q.Kind == GpuDeviceKind.Cuda,
        },
        new KernelVariant<int>("vector", q => Plan(q, Vector)) { Fits = q => q.Shape % Vector == 0 },
        new KernelVariant<int>("general", q => Plan(q, 1)));

    private readonly PlannedKernel<PartialSumsParams> _kernel;

    /// <summary>Chooses and requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="width">Columns.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    public PartialSums(GpuDevice device, int width, string? variant = null) : base(device, ElementType.Float32)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(width);
        Width = width;
        _kernel = Request<int, PartialSumsParams>(variants, width, variant);
    }

    /// <summary>Columns.</summary>
    public int Width { get; }

    /// <summary>Queues sum += the sum of the parts. No parts change nothing.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="parts">Float32 [P, width].</param>
    /// <param name="sum">Float32 [width], added to.</param>
    /// <exception cref="ArgumentException">A type, shape or alignment is wrong, or the views overlap.</exception>
    public void Run(GpuStream stream, in TensorView parts, in TensorView sum)
    {
        ArgumentNullException.ThrowIfNull(stream);
        int count = Check.Matrix(parts, Type, Width);
        CheckSum(sum);
        Check.Aligned(parts, _kernel.Plan.Vector);
        Check.Distinct(sum, parts);
        if (count == 0) return;
        PartialSumsParams parameters = new() { Parts = parts.Address, Sum = sum.Address, PartsStride = parts.RowStride, Count = count, Width = Width };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(1, Width), parameters);
    }

    /// <summary>What <see cref="Run"/> asks of the sum, for ops that end with it.</summary>
    internal void CheckSum(in TensorView sum, [CallerArgumentExpression(nameof(sum))] string name = "")
    {
        Check.Vector(sum, Type, Width, name);
        Check.Aligned(sum, _kernel.Plan.Vector, name);
    }

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(model);
        return variants.Enumerate(nameof(PartialSums), model.Width, ElementType.Float32);
    }

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        const int width = SelfTestBench.Width;
        TensorView sum = bench.Float32Input(1, width, 1);
        new PartialSums(bench.Device, width, bench.Variant).Run(bench.Stream, bench.Float32Input(9, width, 1), sum);
        return sum;
    }

    private static KernelPlan Plan(in VariantQuery<int> query, int vector) => KernelPlan.ByColumns($"partial_sums<{vector}, 1>", query.Shape, vector, MaxThreads);
}

/// <summary>How the rows of a reduction fall into parts: few enough to add up in one pass, by the number of rows alone.</summary>
internal static class RowParts
{
    private const int MaxParts = 512;

    /// <summary>Rows of a part, never fewer than <paramref name="least"/>.</summary>
    public static int RowsOf(int rows, int least) => Math.Max(least, (int)((rows + (MaxParts - 1L)) / MaxParts));

    /// <summary>Parts of so many rows.</summary>
    public static int Count(int rows, int least) => rows == 0 ? 0 : Tiling.Count(rows, RowsOf(rows, least));

    /// <summary>The parts in a workspace, <paramref name="width"/> sums each, behind the first <paramref name="after"/> of its elements.</summary>
    public static TensorView View(in TensorView workspace, int rows, int least, long width, long after = 0) =>
        TensorView.Of(workspace.Owner, (long)(workspace.Address - workspace.Owner.Address) + (after * sizeof(float)), ElementType.Float32, Count(rows, least), width);
}

/// <summary>Mirror of PartialSumsParams in partial_sums.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PartialSumsParams
{
    public ulong Parts;
    public ulong Sum;
    public long PartsStride;
    public int Count;
    public int Width;
}
