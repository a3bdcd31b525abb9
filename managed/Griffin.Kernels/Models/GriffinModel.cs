using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// A model of the family on a device: its weights, read-only, and its kernels. Running it takes a <see cref="GriffinSession"/>; any number
/// of sessions share one model.
/// </summary>
public sealed class GriffinModel : IDisposable
{
    private readonly WeightArena _weights;

    private GriffinModel(GpuDevice device, WeightArena weights, ModelKernels kernels, GriffinModelOptions options)
    {
        Device = device;
        _weights = weights;
        Kernels = kernels;
        Options = options;
    }

    /// <summary>The shape of the model.</summary>
    public GriffinConfig Config => _weights.Config;

    /// <summary>Where it runs.</summary>
    public GpuDevice Device { get; }

    /// <summary>How it is held and computed.</summary>
    public GriffinModelOptions Options { get; }

    /// <summary>Storage type of weights and activations.</summary>
    public ElementType Precision => Options.Precision;

    /// <summary>Device bytes of the weights.</summary>
    public long WeightBytes => _weights.Bytes;

    internal ModelKernels Kernels { get; }

    internal WeightArena Weights => _weights;

    /// <summary>Loads a checkpoint folder or file.</summary>
    /// <param name="device">Where to.</param>
    /// <param name="path">A folder with config.json, or what <see cref="CheckpointReader.Open"/> takes.</param>
    /// <param name="options">Precision and laws; null for the defaults.</param>
    /// <param name="progress">Told of weights streamed and kernels compiled.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    /// <exception cref="CheckpointException">A file is missing, damaged, or disagrees with the configuration.</exception>
    /// <exception cref="GpuException">The device refused something: most often, memory for the weights.</exception>
    public static GriffinModel Load(
        GpuDevice device, string path, GriffinModelOptions? options = null, IProgress<ModelProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        using CheckpointReader reader = CheckpointReader.Open(path);
        return Load(device, reader, options, progress, cancellationToken);
    }

    /// <summary>Loads weights from any source.</summary>
    /// <param name="device">Where to.</param>
    /// <param name="source">The weights; not needed any more afterwards.</param>
    /// <param name="options">Precision and laws; null for the defaults.</param>
    /// <param name="progress">Told of weights streamed and kernels compiled.</param>
    /// <param name="cancellationToken">Stops the loading.</param>
    public static GriffinModel Load(
        GpuDevice device, ICheckpointSource source, GriffinModelOptions? options = null, IProgress<ModelProgress>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(source);
        options ??= new GriffinModelOptions();

        // Kernels first: they compile in the background while the weights are on their way.
        ModelKernels kernels = new(device, source.Config, options);
        WeightArena? weights = null;
        try
        {
            weights = WeightArena.Load(device, source, options.Precision, progress, cancellationToken);
            GriffinModel model = new(device, weights, kernels, options);
            kernels.WaitAsync(progress, cancellationToken).GetAwaiter().GetResult();
            return model;
        }
        catch
        {
            weights?.Dispose();
            kernels.Dispose();
            throw;
        }
    }

    /// <summary>Plans what a number of sequences needs to run: stream, workspace, states.</summary>
    /// <exception cref="GpuException">The device has not enough memory.</exception>
    public GriffinSession CreateSession(SessionOptions? options = null) => new(this, options ?? new SessionOptions());

    /// <summary>Writes the weights in Hugging Face's layout.</summary>
    /// <param name="folder">The folder; made when it does not exist.</param>
    /// <param name="options">Shard size, overwriting; the storage type is the model's own.</param>
    /// <param name="progress">Told (bytes written, bytes in all).</param>
    /// <param name="cancellationToken">Stops between pieces and leaves no part of a file.</param>
    /// <exception cref="CheckpointException">The folder holds a checkpoint that is not to be replaced.</exception>
    public void Save(string folder, CheckpointWriteOptions? options = null, IProgress<(long Done, long Total)>? progress = null, CancellationToken cancellationToken = default) =>
        CheckpointWriter.Save(_weights, folder, (options ?? new CheckpointWriteOptions()) with { Storage = Precision }, progress, cancellationToken);

    /// <summary>Refuses ids outside the vocabulary.</summary>
    /// <exception cref="ArgumentException">Names the first such id and its index.</exception>
    public void CheckTokens(ReadOnlySpan<int> tokens)
    {
        int outside = tokens.IndexOfAnyExceptInRange(0, Config.Vocabulary - 1);
        if (outside >= 0)
            throw new ArgumentException($"Token {tokens[outside]} at index {outside} is outside the vocabulary of {Config.Vocabulary}: ids are 0 to {Config.Vocabulary - 1}.", nameof(tokens));
    }

    /// <summary>Frees the weights; sessions must be disposed before.</summary>
    public void Dispose()
    {
        _weights.Dispose();
        Kernels.Dispose();
    }
}
