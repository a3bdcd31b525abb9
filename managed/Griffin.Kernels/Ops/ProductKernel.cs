using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>A chosen kernel of a product: over tiles, or by warpgroups with tensor maps, whose parameters are others.</summary>
/// <typeparam name="TParams">Parameters of the kernels over tiles.</typeparam>
/// <typeparam name="TTensorParams">Parameters of the kernel by warpgroups.</typeparam>
internal sealed record ProductKernel<TParams, TTensorParams>(PlannedKernel<TParams>? Tiled, PlannedKernel<TTensorParams>? Warpgroup)
    where TParams : unmanaged
    where TTensorParams : unmanaged
{
    /// <summary>Name of the variant.</summary>
    public string Variant => Tiled?.Variant ?? Warpgroup!.Variant;

    /// <summary>Its launch numbers.</summary>
    public KernelPlan Plan => Tiled?.Plan ?? Warpgroup!.Plan;

    /// <summary>The kernel of a call among one for each class of row counts; a forced one is there alone.</summary>
    /// <param name="kernels">By class.</param>
    /// <param name="rowClasses">The most rows of each class.</param>
    /// <param name="rows">Rows of the call.</param>
    /// <param name="columns">Columns of its result.</param>
    /// <param name="device">Where it runs.</param>
    public static ProductKernel<TParams, TTensorParams> ForRows(
        IReadOnlyList<ProductKernel<TParams, TTensorParams>> kernels, int[] rowClasses, int rows, int columns, GpuDevice device)
    {
        if (kernels.Count == 1) return kernels[0];
        int chosen = Tiling.ClassOf(rowClasses, rows);
        // A few large tiles would leave most of a GPU idle; the smaller ones give the same bits.
        if (chosen > 0 && kernels[chosen].Plan.BlocksFor(rows, columns) < device.Limits.MultiprocessorCount) chosen--;
        return kernels[chosen];
    }
}
