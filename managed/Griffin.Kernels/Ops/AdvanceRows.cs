using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Moves on what each row's slot has seen, after every layer of a call has used the old count; in steps also the positions.</summary>
public sealed class AdvanceRows : KernelOp, IKernelCatalogue, ISelfTested
{
    private const int Threads = 32;

    private static readonly VariantTable<bool> s_variants = new(
        KernelSource.BuiltIn("advance_rows.cu"),
        new KernelVariant<bool>("general", query => new KernelPlan($"advance_rows<{(query.Shape ? "true" : "false")}, {Threads}>", Threads) { TileRows = Threads, Waits = true }));

    private readonly PlannedKernel<AdvanceRowsParams> _kernel;

    /// <summary>Requests the kernel.</summary>
    /// <param name="device">Where it runs.</param>
    /// <param name="step">Whether positions move on too: calls of one token a row that are replayed without the host.</param>
    public AdvanceRows(GpuDevice device, bool step)
        : base(device, ElementType.Float32) =>
        _kernel = Request<bool, AdvanceRowsParams>(s_variants, step);

    /// <inheritdoc/>
    public static IEnumerable<CatalogueEntry> Catalogue(ModelDimensions model, ElementType type) =>
        [.. s_variants.Enumerate(nameof(AdvanceRows), false, type), .. s_variants.Enumerate(nameof(AdvanceRows), true, type)];

    static TensorView ISelfTested.SelfTest(SelfTestBench bench)
    {
        TensorView positions = bench.Integers(3, 0);
        TensorView seen = bench.Integers(0, 3);
        PackedRows rows = new(positions, bench.Integers(0, 1, 2), bench.Integers(1, 0), seen);
        new AdvanceRows(bench.Device, step: true).Run(bench.Stream, rows, seen, positions);
        return seen;
    }

    /// <summary>Queues the advance: seen[slot] becomes min(pos[t], seen + index of t in the row) + 1, t being the row's last real token.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="rows">The call's rows.</param>
    /// <param name="seen">Int32 [slots]: the array that <paramref name="rows"/> reads.</param>
    /// <param name="positions">Int32 [tokens]: the array that <paramref name="rows"/> reads.</param>
    public void Run(GpuStream stream, in PackedRows rows, TensorView seen, TensorView positions)
    {
        Check.VectorLength(seen, ElementType.Int32);
        Check.Vector(positions, ElementType.Int32, rows.Tokens);
        if (rows.Rows == 0) return;
        AdvanceRowsParams parameters = new() { Rows = rows.Params, Seen = seen.Address, Positions = positions.Address };
        _kernel.Launch(stream, _kernel.Plan.BlocksFor(rows.Rows, 1), parameters);
    }
}

/// <summary>Mirror of AdvanceRowsParams in advance_rows.cu.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct AdvanceRowsParams
{
    public PackedRowsParams Rows;
    public ulong Seen;
    public ulong Positions;
}
