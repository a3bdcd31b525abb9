namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>What counts as agreement with a recorded cell, and how a cell is widened.</summary>
public sealed class ResourceTableTests
{
    [TestCase("96/0", "96/0", true)]
    [TestCase("97/0", "96/0", false)]
    [TestCase("95/0", "96/0", false)]
    [TestCase("96/16", "96/0", false)]
    [TestCase("96/0/stack 8", "96/0", false)]
    [TestCase("96/0", "96-104/0", true)]
    [TestCase("104/0", "96-104/0", true)]
    [TestCase("95/0", "96-104/0", false)]
    [TestCase("105/0", "96-104/0", false)]
    [TestCase("100/16", "96-104/0", false)]
    [TestCase("-", "-", true)]
    [TestCase("-", "96/0", false)]
    [TestCase("96/0", "-", false)]
    public void Cells_agree_exactly_or_within_a_recorded_range(string cell, string recorded, bool agrees) =>
        Assert.That(ResourceTable.Agrees(cell, recorded), Is.EqualTo(agrees));

    [TestCase("96/0", "96/0", "96/0")]
    [TestCase("104/0", "96/0", "96-104/0")]
    [TestCase("80/0", "96-104/0", "80-104/0")]
    [TestCase("100/0", "96-104/0", "96-104/0")]
    [TestCase("104/16", "96/0", "104/16")]
    [TestCase("-", "-", "-")]
    [TestCase("96/0", "-", "96/0")]
    public void A_cell_is_widened_in_its_registers_only(string cell, string recorded, string widened) =>
        Assert.That(ResourceTable.Widen(cell, recorded), Is.EqualTo(widened));
}
