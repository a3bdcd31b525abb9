using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>All weights of a model in one read-only device allocation.</summary>
internal sealed class WeightArena : ICheckpointSource, IDisposable
{
    private const int StagingBytes = 8 << 20;

    private readonly DeviceMemory _memory;

    private WeightArena(GpuDevice device, GriffinConfig config, ElementType type)
    {
        Config = config;
        Layout = new WeightLayout(config, type);
        _memory = device.AllocateBytes(Layout.Bytes);
    }

    public GriffinConfig Config { get; }

    public WeightLayout Layout { get; }

    public long Bytes => _memory.Bytes;

    /// <summary>A float32 arena of zeros, for gradients and moments.</summary>
    public static WeightArena Zeroed(GpuDevice device, GriffinConfig config)
    {
        WeightArena arena = new(device, config, ElementType.Float32);
        try
        {
            using GpuStream stream = device.CreateStream();
            arena.Clear(stream);
            stream.Synchronize();
            return arena;
        }
        catch
        {
            arena.Dispose();
            throw;
        }
    }

    /// <summary>Streams a checkpoint to the device through two pinned buffers: one is filled while the other is on its way.</summary>
    public static WeightArena Load(GpuDevice device, ICheckpointSource source, ElementType type, IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        WeightArena arena = new(device, source.Config, type);
        try
        {
            arena.Fill(device, source, progress, cancellationToken);
            return arena;
        }
        catch
        {
            arena.Dispose();
            throw;
        }
    }

    /// <summary>Replaces every weight by those of a checkpoint folder of the same shape.</summary>
    public void Load(string checkpoint)
    {
        using CheckpointReader reader = CheckpointReader.Open(checkpoint);
        if (reader.Config != Config) throw new CheckpointException(checkpoint, "is of a model of another shape");
        Fill(_memory.Device, reader, null, default);
    }

    /// <summary>A weight, or the first of a group of adjacent ones, as a matrix.</summary>
    /// <param name="name">The weight.</param>
    /// <param name="rows">Rows of the weight, or of the whole group.</param>
    /// <param name="columns">Columns.</param>
    public TensorView View(WeightName name, long rows, long columns) => TensorView.Of(_memory, Layout.OffsetOf(name), Layout.Type, rows, columns);

    /// <summary>Every element, gaps included, as one row.</summary>
    public TensorView Flat => TensorView.Of(_memory, 0, Layout.Type, 1, Layout.Elements);

    /// <summary>Queues setting every element to zero.</summary>
    public void Clear(GpuStream stream) => stream.Fill(_memory, 0, _memory.Bytes, 0);

    public void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
    {
        if (type != Layout.Type) throw new ArgumentException($"This model holds {Layout.Type}; it cannot be read as {type}.", nameof(type));
        long offset = Layout.OffsetOf(name) + firstElement * type.SizeOf();
        using GpuStream stream = _memory.Device.CreateStream();
        stream.CopyToHost(_memory, offset, destination);
    }

    public DeviceMemory Memory => _memory;

    public void Dispose() => _memory.Dispose();

    private void Fill(GpuDevice device, ICheckpointSource source, IProgress<ModelProgress>? progress, CancellationToken cancellationToken)
    {
        using GpuStream stream = device.CreateStream();
        using StagingBuffer first = new(device, StagingBytes);
        using StagingBuffer second = new(device, StagingBytes);
        int size = Layout.Type.SizeOf();
        long done = 0;
        StagingBuffer current = first;
        try
        {
            foreach (WeightName name in Layout.Names)
            {
                long bytes = Layout.BytesOf(name);
                for (long start = 0; start < bytes; start += StagingBytes)
                {
                    cancellationToken.ThrowIfCancellationRequested();
                    int count = (int)Math.Min(StagingBytes, bytes - start);
                    source.Read(name, Layout.Type, start / size, current.Take(count));
                    current.Send(stream, _memory, Layout.OffsetOf(name) + start, count);
                    current = current == first ? second : first;
                    done += count;
                    progress?.Report(new ModelProgress("weights", done, Layout.Bytes));
                }
            }
        }
        finally
        {
            stream.Synchronize();
        }

        progress?.Report(new ModelProgress("weights", Layout.Bytes, Layout.Bytes));
    }
}
