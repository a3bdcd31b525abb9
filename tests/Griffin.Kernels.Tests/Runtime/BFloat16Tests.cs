namespace Griffin.Kernels.Tests.Runtime;

public sealed class BFloat16Tests
{
    [Test]
    public void EveryPatternSurvivesTheWayThroughFloat32()
    {
        for (int bits = 0; bits <= ushort.MaxValue; bits++)
        {
            BFloat16 value = BFloat16.FromBits((ushort)bits);
            if (float.IsNaN((float)value)) Assert.That(float.IsNaN((float)(BFloat16)(float)value), $"{bits:X4}");
            else Assert.That(((BFloat16)(float)value).Bits, Is.EqualTo((ushort)bits), $"{bits:X4}");
        }
    }

    [TestCase(0x3F808000u, 0x3F80, TestName = "a tie goes to even, down")]
    [TestCase(0x3F818000u, 0x3F82, TestName = "a tie goes to even, up")]
    [TestCase(0x3F808001u, 0x3F81, TestName = "above a tie goes up")]
    [TestCase(0x3F807FFFu, 0x3F80, TestName = "below a tie goes down")]
    [TestCase(0xBF818000u, 0xBF82, TestName = "negative tie to even")]
    [TestCase(0x7F7FFFFFu, 0x7F80, TestName = "overflow to infinity")]
    [TestCase(0xFF7FFFFFu, 0xFF80, TestName = "overflow to minus infinity")]
    [TestCase(0x00008001u, 0x0001, TestName = "subnormal rounds up")]
    [TestCase(0x00008000u, 0x0000, TestName = "subnormal tie to even")]
    public void RoundsToNearestEven(uint from, int expected) =>
        Assert.That(((BFloat16)BitConverter.UInt32BitsToSingle(from)).Bits, Is.EqualTo((ushort)expected));

    [TestCase(0x7F800001u)]
    [TestCase(0x7FFFFFFFu)]
    [TestCase(0xFF80FFFFu)]
    public void ANanStaysOne(uint from) => Assert.That(float.IsNaN((float)(BFloat16)BitConverter.UInt32BitsToSingle(from)));

    [Test]
    public void ComparesAsNumbers()
    {
        Assert.That(BFloat16.FromBits(0x8000), Is.EqualTo(BFloat16.FromBits(0)));
        Assert.That(BFloat16.FromBits(0x7FC0) == BFloat16.FromBits(0x7FC0), Is.False);
        Assert.That(BFloat16.FromSingle(1.5f).ToString(), Is.EqualTo("1.5"));
    }
}
