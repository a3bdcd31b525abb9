using System.Runtime.InteropServices;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Checkpoints;

internal sealed class ElementConverterTests
{
    // Around each rounding boundary of bfloat16, of either sign, with infinities, NaNs and denormals among them.
    private static float[] Edges() =>
    [
        .. from upper in Enumerable.Range(0, 65536)
           from lower in (uint[])[0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
           select BitConverter.UInt32BitsToSingle((uint)upper << 16 | lower),
    ];

    [Test]
    public void Rounding_to_bfloat16_agrees_with_the_scalar_type_everywhere()
    {
        float[] values = Edges();
        byte[] bytes = Poison.Bytes(2 * values.Length);
        ElementConverter.Convert(MemoryMarshal.AsBytes<float>(values), ElementType.Float32, bytes, ElementType.BFloat16);
        ushort[] expected = [.. values.Select(value => ((BFloat16)value).Bits)];
        Assert.That(MemoryMarshal.Cast<byte, ushort>(bytes).SequenceEqual(expected), Is.True);
    }

    [Test]
    public void Widening_bfloat16_is_exact()
    {
        ushort[] values = [.. Enumerable.Range(0, 65536).Select(i => (ushort)i)];
        byte[] bytes = Poison.Bytes(4 * values.Length);
        ElementConverter.Convert(MemoryMarshal.AsBytes<ushort>(values), ElementType.BFloat16, bytes, ElementType.Float32);
        uint[] expected = [.. values.Select(value => (uint)value << 16)];
        Assert.That(MemoryMarshal.Cast<byte, uint>(bytes).SequenceEqual(expected), Is.True);
    }

    [Test]
    public void Half_goes_through_float()
    {
        Half[] values = [.. Enumerable.Range(0, 65536).Select(i => BitConverter.UInt16BitsToHalf((ushort)i))];
        byte[] floats = Poison.Bytes(4 * values.Length), halves = Poison.Bytes(2 * values.Length), brains = Poison.Bytes(2 * values.Length);
        ElementConverter.Convert(MemoryMarshal.AsBytes<Half>(values), ElementType.Float16, floats, ElementType.Float32);
        ElementConverter.Convert(floats, ElementType.Float32, halves, ElementType.Float16);
        ElementConverter.Convert(halves, ElementType.Float16, brains, ElementType.BFloat16);
        for (int i = 0; i < values.Length; i++)
        {
            Assert.That(BitConverter.ToSingle(floats, 4 * i), Is.EqualTo((float)values[i]));
            Assert.That(BitConverter.ToUInt16(brains, 2 * i), Is.EqualTo(((BFloat16)(float)values[i]).Bits));
            if (!Half.IsNaN(values[i])) Assert.That(BitConverter.ToUInt16(halves, 2 * i), Is.EqualTo(i));
        }
    }

    [TestCase(0)]
    [TestCase(1)]
    [TestCase(15)]
    [TestCase(17)]
    [TestCase(1023)]
    [TestCase(1025)]
    public void Any_length_is_converted_and_not_one_element_more(int count)
    {
        float[] values = new CounterRandom(7).Normals(count);
        byte[] bytes = Poison.Bytes(2 * count + 2);
        byte[] guard = bytes[^2..];
        ElementConverter.Convert(MemoryMarshal.AsBytes<float>(values), ElementType.Float32, bytes.AsSpan(0, 2 * count), ElementType.BFloat16);
        Assert.That(bytes[^2..], Is.EqualTo(guard));
        for (int i = 0; i < count; i++) Assert.That(BitConverter.ToUInt16(bytes, 2 * i), Is.EqualTo(((BFloat16)values[i]).Bits));
    }
}
