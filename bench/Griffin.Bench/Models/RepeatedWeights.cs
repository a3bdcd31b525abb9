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

    public GriffinConfig Config => _source.Config;

    public void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
    {
        int size = type.SizeOf();
        long elements = WeightCatalogue.ElementsOf(Config, name.Kind);
        byte[] first = new byte[Math.Min(Period, elements) * size];
        _source.Read(name, type, 0, first);
        int from = (int)(firstElement * size % first.Length);
        for (int done = 0; done < destination.Length;)
        {
            int count = Math.Min(first.Length - from, destination.Length - done);
            first.AsSpan(from, count).CopyTo(destination[done..]);
            (done, from) = (done + count, 0);
        }
    }
}
