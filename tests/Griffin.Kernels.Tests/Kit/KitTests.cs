namespace Griffin.Kernels.Tests.Kit;

/// <summary>The comparers and generators that every other test trusts.</summary>
[TestFixture]
public sealed class KitTests
{
    [TestCase(float.NaN)]
    [TestCase(float.PositiveInfinity)]
    [TestCase(1.1f)]
    public void Comparers_fail_on_what_they_must(float actual)
    {
        Assert.Multiple(() =>
        {
            AssertFails(() => Close.Absolute([0, actual], [0, 1], 0.05));
            AssertFails(() => Close.Float32([0, actual], [0, 1], 0.05));
            AssertFails(() => Close.BFloat16([0, actual], [0, 1], 0.05));
            AssertFails(() => Close.Exact([0, actual], [0, 1]));
        });
    }

    [Test]
    public void Comparers_fail_on_the_poison_even_against_a_wide_bound()
    {
        AssertFails(() => Close.Absolute(Poison.Floats(1), [0], double.MaxValue));
        AssertFails(() => Close.Finite(Poison.Floats(1)));
        AssertFails(() => Close.Absolute([1], [double.NaN], 1));
    }

    [Test]
    public void Comparers_fail_on_missing_elements() => AssertFails(() => Close.Absolute([1], [1, 1], 1));

    [Test]
    public void Comparers_pass_within_the_bound()
    {
        Close.Absolute([1.04f, float.NegativeInfinity], [1, double.NegativeInfinity], 0.05);
        Close.BFloat16([1.0078125f], [1.001], 1e-4);
        Close.Exact([0.5f, Poison.Float], [0.5f, Poison.Float]);
    }

    [TestCase(1.0f, 0x3F80)]
    [TestCase(1.00390625f, 0x3F80)] // half way, to even
    [TestCase(1.01171875f, 0x3F82)] // half way, to even
    [TestCase(3.4e38f, 0x7F80)]
    [TestCase(-1e-40f, 0x8001)]
    [TestCase(float.NaN, 0x7FC0)]
    public void Bf16_rounds_to_nearest_even(float value, int bits)
    {
        Assert.That(Bf16.Bits(value), Is.EqualTo(bits));
        Assert.That(Bf16.Round((double)value), Is.EqualTo((double)Bf16.Round(value)));
    }

    [Test]
    public void Poison_is_not_a_number_in_every_floating_type()
    {
        Assert.That(Poison.Float, Is.NaN);
        Assert.That(BitConverter.UInt32BitsToSingle(Poison.Bits << 16), Is.NaN);
        Assert.That(BitConverter.ToSingle(Poison.Bytes(8), 4), Is.NaN);
    }

    [Test]
    public void Counter_random_is_repeatable_and_spread()
    {
        var first = new CounterRandom(7).Normals(5);
        Assert.That(new CounterRandom(7).Normals(5), Is.EqualTo(first));
        Assert.That(new CounterRandom(8).Normals(5), Is.Not.EqualTo(first));
        var values = new CounterRandom(1).Normals(20000);
        Assert.That(values.Average(), Is.Zero.Within(0.03));
        Assert.That(values.Average(x => x * x), Is.EqualTo(1).Within(0.05));
        Assert.That(new CounterRandom(2).Integers(1000, -2, 3).Distinct().Order(), Is.EqualTo(new[] { -2, -1, 0, 1, 2 }));
    }

    private static void AssertFails(Action comparison)
    {
        using (new NUnit.Framework.Internal.TestExecutionContext.IsolatedContext())
            Assert.That(comparison, Throws.InstanceOf<AssertionException>());
    }
}
