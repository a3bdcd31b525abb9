namespace Griffin.Kernels.Models;

/// <summary>
/// Whether the residual adds and norms between products go into the products' epilogues: the product before a norm adds to the residual stream and scales it,
/// the one behind it multiplies each row by 1 / rms. Agrees with the separate kernels up to one rounding of the normed rows.
/// </summary>
public enum FusedPrefill
{
    /// <summary>
    /// In calls of more than 64 rows, where <c>griffin tune</c> measured it to be faster, or unmeasured on a GPU without cuBLAS. Nowhere under
    /// <see cref="GriffinModelOptions.BatchInvariant"/>.
    /// </summary>
    Auto,

    /// <summary>In every call but the steps of <see cref="GriffinModelOptions.FusedDecode"/>.</summary>
    On,

    /// <summary>Nowhere.</summary>
    Off,
}
