using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// What every op shares: a device, the type of its stored elements, and the way from a variant table to kernels that can be launched. Making an
/// op starts the compilation of its kernels in the background; the first launch waits for it. Running one queues work and allocates nothing.
/// An op holds no memory of its own and may be used by several streams.
/// </summary>
public abstract class KernelOp
{
    private readonly List<Task> _compilations = [];

    /// <summary>Binds the op to a device.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="type">Type of stored elements: <see cref="ElementType.BFloat16"/> or <see cref="ElementType.Float32"/>.</param>
    /// <exception cref="ArgumentException">The kernels do not store that type.</exception>
    protected KernelOp(GpuDevice device, ElementType type)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (type is not (ElementType.BFloat16 or ElementType.Float32))
            throw new ArgumentException($"Kernels store bfloat16 or float32, not {type}.", nameof(type));
        Device = device;
        Type = type;
    }

    /// <summary>Where the op runs.</summary>
    public GpuDevice Device { get; }

    /// <summary>Type of stored elements.</summary>
    public ElementType Type { get; }

    /// <summary>Completes when the op's kernels are compiled, and fails as they do.</summary>
    public Task WhenCompiled => Task.WhenAll(_compilations);

    /// <summary>Chooses a variant and requests its compilation.</summary>
    /// <typeparam name="TShape">The op's static shape.</typeparam>
    /// <typeparam name="TParams">The kernel's parameter struct.</typeparam>
    /// <param name="table">The variants.</param>
    /// <param name="shape">The static shape.</param>
    /// <param name="variant">A variant to force; null to choose.</param>
    protected PlannedKernel<TParams> Request<TShape, TParams>(VariantTable<TShape> table, TShape shape, string? variant = null) where TParams : unmanaged
    {
        ArgumentNullException.ThrowIfNull(table);
        (KernelVariant<TShape> chosen, KernelPlan plan) = table.Choose(Query(shape), variant);
        KernelSpec spec = table.Spec(plan);
        _compilations.Add(Device.Compiler.Request(spec));
        GpuKernel<TParams> kernel = Device.Compiler.Get<TParams>(spec);
        if (plan.SharedBytes > Device.Limits.SharedBytesPerBlock) kernel.SetMaxDynamicSharedBytes(plan.SharedBytes);
        return new(chosen.Name, plan, kernel);
    }

    /// <summary>Takes another op as a part of this one: its kernels count among this op's.</summary>
    protected TOp Use<TOp>(TOp part) where TOp : KernelOp
    {
        ArgumentNullException.ThrowIfNull(part);
        _compilations.AddRange(part._compilations);
        return part;
    }

    /// <summary>The question that this op asks its variant tables.</summary>
    protected VariantQuery<TShape> Query<TShape>(TShape shape) => new(shape, Type, Device.Limits, Device.Kind);
}

/// <summary>A chosen variant with its compiled kernel.</summary>
/// <typeparam name="TParams">The kernel's parameter struct.</typeparam>
public sealed class PlannedKernel<TParams> where TParams : unmanaged
{
    internal PlannedKernel(string variant, KernelPlan plan, GpuKernel<TParams> kernel) => (Variant, Plan, Kernel) = (variant, plan, kernel);

    /// <summary>Name of the variant.</summary>
    public string Variant { get; }

    /// <summary>Its launch numbers.</summary>
    public KernelPlan Plan { get; }

    /// <summary>The kernel.</summary>
    public GpuKernel<TParams> Kernel { get; }

    /// <summary>Queues a launch.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="blocks">Blocks of the one-dimensional grid.</param>
    /// <param name="parameters">The kernel's parameters.</param>
    /// <exception cref="ArgumentOutOfRangeException">More blocks than a grid holds.</exception>
    public void Launch(GpuStream stream, long blocks, in TParams parameters)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(blocks, int.MaxValue);
        LaunchGrid(stream, new Dim3((int)blocks), parameters);
    }

    /// <summary>Queues a launch over a grid of any form.</summary>
    public void LaunchGrid(GpuStream stream, Dim3 grid, in TParams parameters)
    {
        ArgumentNullException.ThrowIfNull(stream);
        stream.Launch(Kernel, grid, new Dim3(Plan.Threads), parameters, Plan.SharedBytes, Plan.Waits);
    }
}
