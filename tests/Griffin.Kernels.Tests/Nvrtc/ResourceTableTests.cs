namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>What counts as agreement with a recorded cell.</summary>
public sealed class ResourceTableTests
{
    [TestCase("96/0", "96/0", true)]
    [TestCase("144/0", "96/0", true)]
    [TestCase("64/0", "96/0", true)]
    [TestCase("145/0", "96/0", false)]
    [TestCase("96/16", "96/0", false)]
    [TestCase("96/0/stack 8", "96/0", false)]
    [TestCase("-", "-", true)]
    [TestCase("-", "96/0", false)]
    public void Registers_may_vary_by_half_and_memory_not_at_all(string cell, string recorded, bool agrees) =>
        Assert.That(ResourceTable.Agrees(cell, recorded), Is.EqualTo(agrees));
}
