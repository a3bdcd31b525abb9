using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>What a variant is chosen by: the op's static shape, the element type, and what the device says of itself.</summary>
/// <typeparam name="TShape">The op's static shape.</typeparam>
/// <param name="Shape">The op's static shape.</param>
/// <param name="Type">Type of the stored elements.</param>
/// <param name="Limits">The device's queried limits; never its architecture number.</param>
/// <param name="Kind">What is behind the device.</param>
public readonly record struct VariantQuery<TShape>(TShape Shape, ElementType Type, DeviceLimits Limits, GpuDeviceKind Kind)
{
    /// <summary>Elements in one access of 16 bytes.</summary>
    public int Vector => 16 / Type.SizeOf();

    /// <summary>The element type's name in kernel source.</summary>
    public string T => Type.CudaName();
}

/// <summary>One kernel for one shape: the template instance and the numbers of its launch.</summary>
/// <param name="NameExpression">The template instance, for instance "rms_norm&lt;bf16, 8, 160, 2, false&gt;".</param>
/// <param name="Threads">Threads of a block.</param>
public sealed record KernelPlan(string NameExpression, int Threads)
{
    /// <summary>Elements of one access: addresses, row strides and widths must be multiples of it.</summary>
    public int Vector { get; init; } = 1;

    /// <summary>Rows that one block covers.</summary>
    public int TileRows { get; init; } = 1;

    /// <summary>Columns that one block covers.</summary>
    public int TileColumns { get; init; } = 1;

    /// <summary>Dynamic shared memory of a block, in bytes.</summary>
    public int SharedBytes { get; init; }

    /// <summary>Compiler options beyond the library's own.</summary>
    public IReadOnlyList<string> Options { get; init; } = [];

    /// <summary>The kernel waits by itself for the kernels before it (dependent_launch.cuh): a stream may launch it before they have ended.</summary>
    public bool Waits { get; init; }

    /// <summary>The kernel file, where it is not the table's.</summary>
    public KernelSource? Source { get; init; }

    /// <summary>The architecture that the kernel needs in place of the device's own, for instance "sm_90a".</summary>
    public string? Architecture { get; init; }

    /// <summary>The plan of kernels that lay column blocks of <c>Threads · Vector</c> columns over rows, columns fastest in the grid.</summary>
    /// <param name="nameExpression">The template instance.</param>
    /// <param name="columns">Columns of the matrix.</param>
    /// <param name="vector">Columns of a thread.</param>
    /// <param name="maxThreads">Threads of a block at most, a multiple of the warp.</param>
    /// <param name="rows">Rows of a block.</param>
    internal static KernelPlan ByColumns(string nameExpression, int columns, int vector, int maxThreads, int rows = 1)
    {
        int threads = ThreadsFor(columns, vector, maxThreads);
        return new(nameExpression, threads) { Vector = vector, TileRows = rows, TileColumns = threads * vector };
    }

    /// <summary>Threads that cover a row: whole warps, no more than needed.</summary>
    internal static int ThreadsFor(int columns, int vector, int maxThreads) =>
        (int)Math.Min(maxThreads, (((long)columns + vector - 1) / vector + 31) / 32 * 32);

    /// <summary>Blocks that cover a matrix.</summary>
    public long BlocksFor(long rows, long columns) => ((rows + TileRows - 1) / TileRows) * ((columns + TileColumns - 1) / TileColumns);
}

/// <summary>One way to compute an op.</summary>
/// <typeparam name="TShape">The op's static shape.</typeparam>
/// <param name="Name">The name by which it can be forced.</param>
/// <param name="Plan">Its kernel for a shape that it fits.</param>
public sealed record KernelVariant<TShape>(string Name, Func<VariantQuery<TShape>, KernelPlan> Plan)
{
    /// <summary>Whether it computes the right thing for this shape. Shared memory and block size are compared with the limits beside this.</summary>
    public Func<VariantQuery<TShape>, bool> Fits { get; init; } = static _ => true;

    /// <summary>Whether it is worth choosing where nobody forces it.</summary>
    public Func<VariantQuery<TShape>, bool> Preferred { get; init; } = static _ => true;
}

/// <summary>
/// The variants of one kernel, in order of preference: the only place that knows tiles and constraints. Choice, catalogue and tests read it.
/// Every table has a variant that fits any shape in 99 KB of shared memory.
/// </summary>
/// <typeparam name="TShape">The op's static shape.</typeparam>
/// <param name="source">The kernel file; a plan may name another.</param>
/// <param name="variants">The variants; the first that fits and is preferred wins, else the first that fits.</param>
public sealed class VariantTable<TShape>(KernelSource source, params IReadOnlyList<KernelVariant<TShape>> variants)
{
    /// <summary>The kernel file.</summary>
    public KernelSource Source { get; } = source;

    /// <summary>The variants, in order of preference.</summary>
    public IReadOnlyList<KernelVariant<TShape>> Variants { get; } = variants;

    /// <summary>The variant for a query.</summary>
    /// <param name="query">Shape, type and device.</param>
    /// <param name="forced">The name of a variant to take whether preferred or not; null to choose.</param>
    /// <exception cref="ArgumentException">There is no variant of that name, or it does not fit.</exception>
    /// <exception cref="NotSupportedException">No variant fits.</exception>
    public (KernelVariant<TShape> Variant, KernelPlan Plan) Choose(in VariantQuery<TShape> query, string? forced = null)
    {
        if (forced is not null) return Forced(query, forced);
        (KernelVariant<TShape>, KernelPlan)? second = null;
        foreach (KernelVariant<TShape> variant in Variants)
        {
            if (PlanIfFit(variant, query) is not { } plan) continue;
            if (variant.Preferred(query)) return (variant, plan);
            second ??= (variant, plan);
        }
        return second ?? throw new NotSupportedException($"No variant of {Source.Name} fits {query.Shape} in {query.Type}.");
    }

    /// <summary>Names of the variants that fit a query.</summary>
    public IReadOnlyList<string> Fitting(VariantQuery<TShape> query) =>
        [.. Variants.Where(variant => PlanIfFit(variant, query) is not null).Select(variant => variant.Name)];

    /// <summary>The kernel that a plan asks the compiler for.</summary>
    public KernelSpec Spec(KernelPlan plan)
    {
        ArgumentNullException.ThrowIfNull(plan);
        return new(plan.Source ?? Source, plan.NameExpression, plan.Options) { Architecture = plan.Architecture };
    }

    /// <summary>Every variant that a GPU of any size could be given for a shape.</summary>
    /// <param name="op">Name of the op.</param>
    /// <param name="shape">The static shape.</param>
    /// <param name="type">Type of the stored elements.</param>
    public IEnumerable<CatalogueEntry> Enumerate(string op, TShape shape, ElementType type)
    {
        VariantQuery<TShape> query = new(shape, type, KernelCatalogue.AmpleLimits, GpuDeviceKind.Cuda);
        foreach (KernelVariant<TShape> variant in Variants)
        {
            if (PlanIfFit(variant, query) is { } plan) yield return new(op, variant.Name, Spec(plan), plan.Threads, plan.SharedBytes) { Waits = plan.Waits };
        }
    }

    private static KernelPlan? PlanIfFit(KernelVariant<TShape> variant, in VariantQuery<TShape> query)
    {
        if (!variant.Fits(query)) return null;
        KernelPlan plan = variant.Plan(query);
        return plan.Threads <= query.Limits.MaxThreadsPerBlock && plan.SharedBytes <= query.Limits.SharedBytesPerBlockOptIn ? plan : null;
    }

    private (KernelVariant<TShape>, KernelPlan) Forced(in VariantQuery<TShape> query, string name)
    {
        foreach (KernelVariant<TShape> variant in Variants)
        {
            if (variant.Name != name) continue;
            return PlanIfFit(variant, query) is { } plan
                ? (variant, plan)
                : throw new ArgumentException($"Variant '{name}' of {Source.Name} does not fit {query.Shape} in {query.Type} on this device.", nameof(name));
        }
        string known = string.Join(", ", Variants.Select(variant => variant.Name));
        throw new ArgumentException($"{Source.Name} has no variant '{name}'; it has {known}.", nameof(name));
    }
}
