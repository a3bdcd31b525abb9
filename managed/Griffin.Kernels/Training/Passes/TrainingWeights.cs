using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>
/// The arenas of a model in training, all of one layout: weights in the storage type, and in float32 the gradients, the master copy that the
/// optimiser updates (the weights themselves where they are float32) and its two moments.
/// </summary>
internal sealed class TrainingWeights : IDisposable
{
    private readonly OwnedResources _owned = new();
    private readonly DeviceBuffer<byte> _decayed;

    private TrainingWeights(GpuDevice device, ICheckpointSource source, ElementType type, IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        GriffinConfig config = source.Config;
        try
        {
            Weights = _owned.Add(WeightArena.Load(device, source, type, progress, cancellationToken));
            Master = type == ElementType.Float32 ? Weights : _owned.Add(WeightArena.Load(device, source, ElementType.Float32, progress, cancellationToken));
            Gradients = _owned.Add(WeightArena.Zeroed(device, config));
            FirstMoment = _owned.Add(WeightArena.Zeroed(device, config));
            SecondMoment = _owned.Add(WeightArena.Zeroed(device, config));
            _decayed = _owned.Add(device.Upload<byte>(DecayFlags(config, Weights.Layout)));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>What the forward and backward passes read.</summary>
    public WeightArena Weights { get; }

    /// <summary>What the optimiser updates.</summary>
    public WeightArena Master { get; }

    /// <summary>Sums over the tokens of a step.</summary>
    public WeightArena Gradients { get; }

    /// <summary>Running mean of the gradients.</summary>
    public WeightArena FirstMoment { get; }

    /// <summary>Running mean of their squares.</summary>
    public WeightArena SecondMoment { get; }

    /// <summary>One byte for every <see cref="AdamW.Group"/> elements: 1 where weight decay applies.</summary>
    public TensorView Decayed => _decayed.View();

    /// <summary>Every allocation, for graphs to hold on to.</summary>
    public IEnumerable<DeviceMemory> Memory =>
        new[] { Weights.Memory, Master.Memory, Gradients.Memory, FirstMoment.Memory, SecondMoment.Memory, _decayed.Memory }.Distinct();

    /// <summary>Loads weights to be trained; everything else starts at zero.</summary>
    /// <param name="device">Where to.</param>
    /// <param name="source">The weights.</param>
    /// <param name="type">Storage type of the passes.</param>
    /// <param name="progress">Told of weights streamed.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public static TrainingWeights Load(
        GpuDevice device, ICheckpointSource source, ElementType type, IProgress<ModelProgress>? progress = null, CancellationToken cancellationToken = default) =>
        new(device, source, type, progress, cancellationToken);

    /// <summary>Bytes of the weights, and of everything that training adds to them.</summary>
    public static (long Weights, long Gradients, long Optimizer) BytesFor(GriffinConfig config, ElementType type)
    {
        long elements = new WeightLayout(config, type).Elements;
        long master = type == ElementType.Float32 ? 0 : elements * sizeof(float);
        return (elements * type.SizeOf(), elements * sizeof(float), master + 2 * elements * sizeof(float) + elements / AdamW.Group);
    }

    public void Dispose() => _owned.Dispose();

    private static byte[] DecayFlags(GriffinConfig config, WeightLayout layout)
    {
        byte[] flags = new byte[layout.Elements / AdamW.Group];
        foreach (WeightName name in WeightCatalogue.Names(config))
        {
            if (!IsDecayed(name.Kind)) continue;
            long first = layout.StartOf(name) / AdamW.Group, end = (layout.StartOf(name) + layout.ElementsOf(name) + AdamW.Group - 1) / AdamW.Group;
            flags.AsSpan((int)first, (int)(end - first)).Fill(1);
        }

        return flags;
    }

    /// <summary>Whether weight decay applies: not to Λ, gates, biases, norm scales and the embedding.</summary>
    public static bool IsDecayed(WeightKind kind) => kind is
        WeightKind.LinearX or WeightKind.LinearY or WeightKind.LinearOut or WeightKind.Conv or
        WeightKind.Query or WeightKind.Key or WeightKind.Value or WeightKind.AttentionOut or
        WeightKind.MlpGate or WeightKind.MlpUp or WeightKind.MlpDown;
}
