namespace Griffin.Kernels;

/// <summary>The draws of one key one after another; the same key gives the same draws.</summary>
/// <param name="key">The key.</param>
internal sealed class CounterStream(ulong key)
{
    private long _counter;

    /// <summary>A whole number from 0 to <paramref name="bound"/> − 1.</summary>
    internal int Below(int bound) => (int)CounterHash.Below(CounterHash.At(key, ++_counter), bound);
}
