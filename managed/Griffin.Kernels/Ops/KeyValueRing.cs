using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>The keys and values of an attention layer in a state slot: keys [ringSlots, headDim], then values; position p lies in ring slot p mod ringSlots.</summary>
public static class KeyValueRing
{
    /// <summary>Bytes of one layer's ring in a slot.</summary>
    /// <param name="ringSlots">Positions that the ring holds: one more than the window, or the capacity of global attention.</param>
    /// <param name="headDim">Width of a head.</param>
    /// <param name="type">Type of keys and values.</param>
    public static long Bytes(int ringSlots, int headDim, ElementType type) => 2L * ringSlots * headDim * type.SizeOf();

    internal static void Check(in LayerState ring, int ringSlots, int headDim, ElementType type)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(ringSlots);
        Ops.Check.State(ring, Bytes(ringSlots, headDim, type));
    }

    // A layer without a ring shows the call's own keys only: as many as anyone likes.
    internal static void CheckOptional(in LayerState ring, int ringSlots, int keysVisible, int headDim, ElementType type)
    {
        if (ring == default)
        {
            ArgumentOutOfRangeException.ThrowIfNotEqual(ringSlots, 0);
            ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keysVisible);
            return;
        }
        Check(ring, ringSlots, headDim, type);
        CheckVisible(keysVisible, ringSlots);
    }

    internal static void CheckVisible(int keysVisible, int ringSlots)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(keysVisible);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(keysVisible, ringSlots);
    }

    internal static void CheckStep(in PackedRows rows)
    {
        if (rows.Tokens != rows.Rows) throw new ArgumentException($"A step takes one token per row, not {rows.Tokens} tokens in {rows.Rows} rows.", nameof(rows));
    }

    // Scores are taken to base 2: q·k / sqrt(headDim) · log2(e).
    internal static float Scale(int headDim) => (float)(Math.Log2(Math.E) / Math.Sqrt(headDim));
}
