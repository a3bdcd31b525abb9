using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The ops of a fused decode step. Attention itself is the unfused path's.</summary>
internal sealed class FusedKernels
{
    /// <summary>Rows of a step up to which each weight is streamed once; larger steps go through the plain products.</summary>
    public const int MaxRows = 64;

    public FusedKernels(ModelKernels kernels, GpuDevice device, ElementType type)
    {
        GriffinConfig config = kernels.Config;
        Embedding = kernels.Add(new EmbeddingStep(device, type, config.Width));
        GateUp = kernels.Add(new GatedProduct(device, type, config.MlpWidth, config.Width));
        Down = kernels.Add(new ResidualProduct(device, type, config.Width, config.MlpWidth));
        SamplingHead = kernels.Add(new SamplingHead(device, type, config.Vocabulary, config.Width));
        Head = kernels.Add(new NormProduct(device, type, config.Vocabulary, config.Width));
        if (config.RecurrentLayers > 0)
        {
            RecurrentInput = kernels.Add(new RecurrentInput(device, type, config.RnnWidth, config.Width, config.ConvTaps));
            RecurrentStep = kernels.Add(new RecurrentStep(device, type, config.RnnWidth, config.GateBlocks));
            RecurrentOut = kernels.Add(new ResidualProduct(device, type, config.Width, config.RnnWidth));
        }

        if (config.AttentionLayers > 0)
        {
            Qkv = kernels.Add(new RotaryProduct(device, type, config.Heads, config.HeadDim, config.RotatedDim, config.Width));
            AttentionOut = kernels.Add(new ResidualProduct(device, type, config.Width, config.Heads * config.HeadDim));
        }
    }

    public EmbeddingStep Embedding { get; }

    public GatedProduct GateUp { get; }

    public ResidualProduct Down { get; }

    /// <summary>The head: its product is float32, and soft-capped.</summary>
    public NormProduct Head { get; }

    /// <summary>The head of steps in which no row's draw is restricted: no logits.</summary>
    public SamplingHead SamplingHead { get; }

    /// <summary>Null, as the next two, in a model without recurrent layers.</summary>
    public RecurrentInput? RecurrentInput { get; }

    public RecurrentStep? RecurrentStep { get; }

    public ResidualProduct? RecurrentOut { get; }

    /// <summary>Null, as the next, in a model without attention layers.</summary>
    public RotaryProduct? Qkv { get; }

    public ResidualProduct? AttentionOut { get; }

    /// <summary>Whether a model takes this path where nobody asks for it.</summary>
    public static bool Preferred(GpuDevice device, GriffinConfig config) =>
        device.Kind == GpuDeviceKind.Cuda && (config.AttentionLayers == 0 || config.HeadDim % 2 == 0);

    /// <summary>Bytes of the sums of squares of the residual stream that a step of up to so many rows hands from kernel to kernel.</summary>
    public long SquaresBytes(int rows) => Enumerable.Range(1, Math.Min(rows, MaxRows)).Max(count => (long)count * MostParts(count)) * sizeof(float);

    private int MostParts(int rows) => new[] { Down, RecurrentOut, AttentionOut }.Max(op => op?.PartsFor(rows) ?? 1);
}
