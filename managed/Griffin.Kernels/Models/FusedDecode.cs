namespace Griffin.Kernels.Models;

/// <summary>Whether steps of one token per row go through the fused kernels: five a layer, each weight streamed once.</summary>
public enum FusedDecode
{
    /// <summary>On a GPU, unless <see cref="GriffinModelOptions.BatchInvariant"/> is on. The emulator is faster without.</summary>
    Auto,

    /// <summary>Everywhere. Not together with <see cref="GriffinModelOptions.BatchInvariant"/>.</summary>
    On,

    /// <summary>Nowhere.</summary>
    Off,
}
