using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

public sealed class KernelResourcesTests
{
    private const string Log = """
        ptxas info    : 0 bytes gmem
        ptxas info    : Compiling entry function '_Z5firstILi4EEv6Params' for 'sm_80'
        ptxas info    : Function properties for _Z5firstILi4EEv6Params
            16 bytes stack frame, 8 bytes spill stores, 4 bytes spill loads
        ptxas info    : Used 42 registers, 20480 bytes smem, 400 bytes cmem[0]
        ptxas info    : Compiling entry function '_Z6second6Params' for 'sm_80'
        ptxas info    : Function properties for _Z6second6Params
            0 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads
        ptxas info    : Used 10 registers, 400 bytes cmem[0]
        """;

    [Test]
    public void EachFunctionGetsItsOwnNumbers()
    {
        Assert.That(KernelResources.Parse(Log, "_Z5firstILi4EEv6Params"), Is.EqualTo(new KernelResources(42, 8, 4, 16, 20480)));
        Assert.That(KernelResources.Parse(Log, "_Z6second6Params"), Is.EqualTo(new KernelResources(10, 0, 0, 0, 0)));
    }

    [TestCase("_Z5third")]
    [TestCase("_Z5first")]
    public void AnUnknownFunctionHasNone(string name) => Assert.That(KernelResources.Parse(Log, name), Is.Null);

    [Test]
    public void ALogWithoutTheReportHasNone() => Assert.That(KernelResources.Parse("k.cu(3): warning: unused", "_Z6second6Params"), Is.Null);
}
