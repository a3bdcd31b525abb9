using Griffin.Kernels.Diagnostics;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using NUnit.Framework;

namespace Griffin.Kernels.Tests.Diagnostics;

/// <summary>The doctor's self-test covers every op, passes here, and would see a wrong result.</summary>
public sealed class KernelSelfTestTests
{
    // Set to a file to write the records anew, after a change of an op's self-test.
    private const string RecordVariable = "GRIFFIN_RECORD_SELFTEST";

    [Test]
    public void EveryOpHasASelfTest()
    {
        IEnumerable<string> ops = KernelCatalogue.All(SelfTestBench.Dimensions, ElementType.BFloat16).Select(entry => entry.Op).Distinct();
        Assert.That(KernelSelfTest.Ops, Is.EquivalentTo(ops));
    }

    [Test]
    public void EveryVariantPasses()
    {
        if (Environment.GetEnvironmentVariable(RecordVariable) is { Length: > 0 } path) File.WriteAllText(path, KernelSelfTest.Record(TestDevices.Checked));
        IReadOnlyList<SelfTestResult> results = KernelSelfTest.Run(TestDevices.Checked);
        Assert.Multiple(() =>
        {
            Assert.That(results.Where(result => !result.Passed), Is.Empty);
            Assert.That(results.Select(result => result.Op).Distinct(), Is.EquivalentTo(KernelSelfTest.Ops));
            Assert.That(results, Has.Count.GreaterThan(2 * KernelSelfTest.Ops.Count));
        });
    }

    /// <summary>The kernels of compute capability 9.0, too.</summary>
    [Test]
    public void EveryVariantOfHopperPasses()
    {
        IReadOnlyList<SelfTestResult> results = KernelSelfTest.Run(TestDevices.Hopper);
        Assert.That(results.Where(result => !result.Passed), Is.Empty);
        Assert.That(results.Select(result => result.Variant), Has.Member(WindowAttention.Warpgroup));
    }

    [TestCase(1f, 1.01f, 0.01 / 2.01)]
    [TestCase(float.NaN, 1f, double.PositiveInfinity)]
    [TestCase(1f, float.NaN, double.PositiveInfinity)]
    public void ErrorsAreSeen(float actual, float expected, double error) =>
        Assert.That(KernelSelfTest.LargestError([0, actual], [0, expected]), Is.EqualTo(error).Within(1e-6));

    [Test]
    public void MissingResultsAreSeen() => Assert.That(KernelSelfTest.LargestError([1], [1, 2]), Is.EqualTo(double.PositiveInfinity));
}
