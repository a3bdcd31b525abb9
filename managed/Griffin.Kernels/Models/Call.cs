using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>One pass of some packed rows through the layers.</summary>
/// <param name="Stream">Where the work is queued.</param>
/// <param name="Rows">The rows, in device memory.</param>
/// <param name="Tokens">Token ids, int32 [tokens].</param>
/// <param name="Positions">Positions, int32 [tokens].</param>
/// <param name="Step">Every row has one token, and the step kernels may be used.</param>
internal readonly record struct Call(GpuStream Stream, PackedRows Rows, TensorView Tokens, TensorView Positions, bool Step)
{
    /// <summary>Tokens of the call.</summary>
    public int Count => Rows.Tokens;
}
