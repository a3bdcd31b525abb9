using Griffin.Kernels.Runtime;
using NUnit.Framework.Interfaces;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// Fails a test after which the library owns more native objects than before. The shared devices are closed around it, since the kernels
/// they keep would count.
/// </summary>
[AttributeUsage(AttributeTargets.Method | AttributeTargets.Class)]
public sealed class AssertNoLeaksAttribute : Attribute, ITestAction
{
    private long _before;

    /// <inheritdoc/>
    public ActionTargets Targets => ActionTargets.Test;

    /// <inheritdoc/>
    public void BeforeTest(ITest test)
    {
        TestDevices.CloseShared();
        // What earlier tests left to the finaliser must not go away during this one.
        GC.Collect();
        GC.WaitForPendingFinalizers();
        _before = LiveHandles.Count;
    }

    /// <inheritdoc/>
    public void AfterTest(ITest test)
    {
        TestDevices.CloseShared();
        Assert.That(LiveHandles.Count, Is.EqualTo(_before), "native objects alive after the test");
    }
}
