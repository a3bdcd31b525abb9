using System.Numerics;

namespace Griffin.Kernels.Training.Data;

/// <summary>A shuffled order of 0 … n − 1 of which any element can be computed alone: no table, whatever n is.</summary>
/// <remarks>A Feistel network over the smallest even number of bits that holds n, walked on until the result is below n.</remarks>
internal readonly struct Permutation
{
    private const int Rounds = 6;

    private readonly long _count;
    private readonly ulong _key;
    private readonly int _halfBits;

    /// <param name="count">n, at least 1.</param>
    /// <param name="key">Decides the order.</param>
    internal Permutation(long count, ulong key)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(count);
        (_count, _key) = (count, key);
        _halfBits = Math.Max(1, (BitOperations.Log2((ulong)count) + 2) / 2);
    }

    /// <summary>The element at a rank.</summary>
    internal long At(long rank)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(rank);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(rank, _count);
        ulong value = (ulong)rank;
        do value = Encipher(value);
        while (value >= (ulong)_count);
        return (long)value;
    }

    private ulong Encipher(ulong value)
    {
        ulong mask = (1UL << _halfBits) - 1, left = value >> _halfBits, right = value & mask;
        for (int round = 0; round < Rounds; round++)
            (left, right) = (right, left ^ (CounterHash.At(_key + (ulong)round, (long)right) & mask));
        return left << _halfBits | right;
    }
}
