namespace Griffin.Kernels.Tests;

/// <summary>Closes the shared devices when the run ends.</summary>
[SetUpFixture]
public sealed class RunSetUp
{
    [OneTimeTearDown]
    public void CloseSharedDevices() => Kit.TestDevices.CloseShared();
}
