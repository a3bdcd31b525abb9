using System.Numerics;
using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Conversion between the storage types, through float32, rounding to nearest even.</summary>
internal static class ElementConverter
{
    private const int BlockElements = 1024;

    /// <summary>Converts <paramref name="source"/> to as many elements in <paramref name="destination"/>.</summary>
    internal static void Convert(ReadOnlySpan<byte> source, ElementType from, Span<byte> destination, ElementType to)
    {
        if (from == to)
        {
            source.CopyTo(destination);
            return;
        }
        Span<float> block = stackalloc float[BlockElements];
        int fromSize = from.SizeOf(), toSize = to.SizeOf();
        int elements = source.Length / fromSize;
        for (int first = 0; first < elements; first += BlockElements)
        {
            int count = Math.Min(BlockElements, elements - first);
            ToFloat(source.Slice(first * fromSize, count * fromSize), from, block[..count]);
            FromFloat(block[..count], destination.Slice(first * toSize, count * toSize), to);
        }
    }

    /// <summary>Widens elements of type <paramref name="from"/>; exact.</summary>
    internal static void ToFloat(ReadOnlySpan<byte> source, ElementType from, Span<float> destination)
    {
        switch (from)
        {
            case ElementType.Float32:
                MemoryMarshal.Cast<byte, float>(source).CopyTo(destination);
                break;
            case ElementType.BFloat16:
                WidenBFloat16(MemoryMarshal.Cast<byte, ushort>(source), destination);
                break;
            default:
                ReadOnlySpan<Half> halves = MemoryMarshal.Cast<byte, Half>(source);
                for (int i = 0; i < halves.Length; i++) destination[i] = (float)halves[i];
                break;
        }
    }

    /// <summary>Rounds floats to elements of type <paramref name="to"/>, nearest even.</summary>
    internal static void FromFloat(ReadOnlySpan<float> source, Span<byte> destination, ElementType to)
    {
        switch (to)
        {
            case ElementType.Float32:
                MemoryMarshal.AsBytes(source).CopyTo(destination);
                break;
            case ElementType.BFloat16:
                RoundBFloat16(source, MemoryMarshal.Cast<byte, ushort>(destination));
                break;
            default:
                Span<Half> halves = MemoryMarshal.Cast<byte, Half>(destination);
                for (int i = 0; i < source.Length; i++) halves[i] = (Half)source[i];
                break;
        }
    }

    private static void WidenBFloat16(ReadOnlySpan<ushort> source, Span<float> destination)
    {
        Span<uint> bits = MemoryMarshal.Cast<float, uint>(destination);
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector.Widen(new Vector<ushort>(source[i..]), out Vector<uint> low, out Vector<uint> high);
            (low << 16).CopyTo(bits[i..]);
            (high << 16).CopyTo(bits[(i + Vector<uint>.Count)..]);
        }
        for (; i < source.Length; i++) bits[i] = (uint)source[i] << 16;
    }

    private static void RoundBFloat16(ReadOnlySpan<float> source, Span<ushort> destination)
    {
        ReadOnlySpan<uint> bits = MemoryMarshal.Cast<float, uint>(source);
        int i = 0;
        for (; i <= source.Length - Vector<ushort>.Count; i += Vector<ushort>.Count)
        {
            Vector<uint> low = RoundBits(new Vector<uint>(bits[i..]));
            Vector<uint> high = RoundBits(new Vector<uint>(bits[(i + Vector<uint>.Count)..]));
            Vector.Narrow(low, high).CopyTo(destination[i..]);
        }
        Span<BFloat16> rest = MemoryMarshal.Cast<ushort, BFloat16>(destination);
        for (; i < source.Length; i++) rest[i] = (BFloat16)source[i];
    }

    /// <summary>Upper halves after rounding to nearest even; a NaN stays one (its quiet bit is set).</summary>
    private static Vector<uint> RoundBits(Vector<uint> bits)
    {
        Vector<uint> upper = bits >> 16;
        Vector<uint> rounded = (bits + new Vector<uint>(0x7FFF) + (upper & Vector<uint>.One)) >> 16;
        Vector<uint> isNaN = Vector.GreaterThan(bits & new Vector<uint>(0x7FFF_FFFF), new Vector<uint>(0x7F80_0000));
        return Vector.ConditionalSelect(isNaN, upper | new Vector<uint>(0x40), rounded);
    }
}
