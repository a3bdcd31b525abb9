using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Models;

/// <summary>
/// Random weights that cost little to make: the first million elements of each tensor of <see cref="RandomCheckpoint"/>, over and over. Times of products
/// depend on how random bits are, not on whether a stretch of them comes back.
/// </summary>
internal sealed class RepeatedWeights(GriffinConfig config) : ICheckpointSource
{
    private const int Period = 1 << 20;

    private readonly RandomCheckpoint _source = new(config, seed: 1);
    private (WeightName Name, ElementType Type, byte[] Bytes)? _last;   // tensors are read in pieces

    public GriffinConfig Config => _source.Config;

    public void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
    {
        byte[] first = Beginning(name, type);
        int from = (int)(firstElement * type.SizeOf() % first.Length);
        for (int done = 0; done < destination.Length;)
        {
            int count = Math.Min(first.Length - from, destination.Length - done);
            first.AsSpan(from, count).CopyTo(destination[done..]);
            (done, from) = (done + count, 0);
        }
    }

    private byte[] Beginning(WeightName name, ElementType type)
    {
        if (_last is { } last && last.Name == name && last.Type == type) return last.Bytes;
        byte[] bytes = new byte[Math.Min(Period, WeightCatalogue.ElementsOf(Config, name.Kind)) * type.SizeOf()];
        _source.Read(name, type, 0, bytes);
        _last = (name, type, bytes);
        return bytes;
    }
}
