using System.Globalization;
using Griffin.Bench.Inputs;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class GeneratorTests
{
    /// <summary>The list that the Python side writes and checks as well.</summary>
    [Test]
    public void MatchesTheGoldenList()
    {
        var lines = File.ReadAllLines(Path.Combine(AppContext.BaseDirectory, "inputs.golden.tsv"));
        Assert.That(lines, Has.Length.GreaterThan(20));
        foreach (var line in lines.Skip(1))
        {
            var fields = line.Split('\t');
            var (seed, index) = (uint.Parse(fields[0], CultureInfo.InvariantCulture), long.Parse(fields[1], CultureInfo.InvariantCulture));
            string[] ours =
            [
                fields[0], fields[1], Hex(Generator.Bits(seed, index, 0)), Hex(Generator.Bits(seed, index, 1)), Hex(Generator.Uniform(seed, index)), Hex(Generator.Normal(seed, index)),
                Hex(new InputRule(false, 1f / 16, 0).At(seed, index)),
            ];
            Assert.That(ours, Is.EqualTo(fields), line);
        }
    }

    [Test]
    public void TheDeviceDrawsTheSameBits([Values(ElementType.BFloat16, ElementType.Float32)] ElementType type, [Values(0, (1L << 32) - 700)] long first)
    {
        const int count = 1500;
        using var test = new OpTest(TestDevices.Checked);
        var draw = new DeviceDraw(test.Device);
        foreach (var (seed, rule) in new[] { InputRules.Activation, InputRules.Lambda, InputRules.Weight(2560) }.Select((rule, i) => ((uint)i + 1, rule)))
        {
            var view = test.Output(1, count, type);
            draw.Fill(test.Stream, view, seed, rule, first);
            float[] expected = [.. Enumerable.Range(0, count).Select(i => rule.At(seed, first + i)).Select(value => type == ElementType.BFloat16 ? Bf16.Round(value) : value)];
            Close.Exact(test.Read(view), expected, $"{rule}, {type}");
        }
    }

    [Test]
    public void WholeNumbersAreDrawnBelowTheirBound()
    {
        using var test = new OpTest(TestDevices.Checked);
        var buffer = test.Integers(new int[300]);
        new DeviceDraw(test.Device).FillBelow(test.Stream, buffer, 3, 77);
        test.Stream.Synchronize();
        var drawn = new int[300];
        test.Stream.CopyToHost<int>(buffer.Owner, 0, drawn);
        Assert.That(drawn, Is.EqualTo(Enumerable.Range(0, 300).Select(i => Generator.Below(3, i, 77))));
        Assert.That(drawn, Has.All.InRange(0, 76));
    }

    [Test]
    public void NormalsHaveMeanZeroAndVarianceOne()
    {
        double[] values = [.. Enumerable.Range(0, 100_000).Select(i => (double)Generator.Normal(5, i))];
        Assert.That(values.Average(), Is.EqualTo(0).Within(0.02));
        Assert.That(values.Average(value => value * value), Is.EqualTo(1).Within(0.02));
    }

    [Test]
    public void LambdaKeepsTheDecayWhereTheSpecificationWantsIt()
    {
        foreach (var i in Enumerable.Range(0, 1000))
        {
            var decay = Math.Exp(-8 * References.ReferenceMath.Softplus(InputRules.Lambda.At(4, i)));
            Assert.That(decay, Is.InRange(0.8999, 0.9991));
        }
    }

    private static string Hex(uint bits) => bits.ToString("x8", CultureInfo.InvariantCulture);

    private static string Hex(float value) => Hex(BitConverter.SingleToUInt32Bits(value));
}
