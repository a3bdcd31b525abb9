using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training;

/// <summary>Arithmetic that training needs, and what devices can do of it at most.</summary>
public static class ModelFlops
{
    // Dense bfloat16 tensor throughput with float32 accumulation, from the data sheets, by a part of the name that the driver reports. Cards of one
    // chip differ in clocks, so a name says which card: the SXM H100 alone is an "80GB HBM3".
    private static readonly (string Name, double Flops)[] peaks = [("H100 80GB HBM3", 989e12), ("A100", 312e12)];

    /// <summary>Floating-point operations of forward and backward pass for one token: 6 for each weight of a product, and three times attention's own forward.</summary>
    /// <param name="config">The model.</param>
    /// <param name="length">Tokens of a row: a query sees half as many keys on average, or its window.</param>
    /// <remarks>A key costs 4 · heads · head_dim operations per query forward. Recomputed work does not count.</remarks>
    public static double PerToken(GriffinConfig config, int length)
    {
        ArgumentNullException.ThrowIfNull(config);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(length);
        double attended = (double)config.Heads * config.HeadDim, d = config.Width, l = config.RnnWidth;
        double recurrent = 3 * d * l + 2 * l * config.GateBlockWidth;
        double attention = 2 * d * attended + 2 * d * config.HeadDim;
        double weights = config.RecurrentLayers * recurrent + config.AttentionLayers * attention + config.Layers * 3 * d * config.MlpWidth + config.EmbeddingParameters;
        return 6 * weights + config.AttentionLayers * 3 * 4 * attended * MeanKeys(length, config.KeysVisible);
    }

    /// <summary>Operations a second that a device's tensor cores reach at most on bfloat16; null where we do not know.</summary>
    public static double? PeakOf(GpuDevice device)
    {
        ArgumentNullException.ThrowIfNull(device);
        if (device.Kind != GpuDeviceKind.Cuda) return null;
        foreach ((string name, double flops) in peaks)
        {
            if (device.Name.Contains(name, StringComparison.OrdinalIgnoreCase)) return flops;
        }

        return null;
    }

    // Mean over t = 1 … length of min(t, visible).
    private static double MeanKeys(int length, int visible)
    {
        double full = Math.Min(length, visible);
        return (full * (full + 1) / 2 + (length - full) * full) / length;
    }
}
