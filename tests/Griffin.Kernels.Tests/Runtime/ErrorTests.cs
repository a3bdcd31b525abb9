using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

public sealed class ErrorTests
{
    [Test]
    [AssertNoLeaks]
    public void AFaultNamesItselfAndTheDeviceIsLost()
    {
        TestDevices.RequireEmulator("a fault on a GPU would lose it for every later test");
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(10);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.PastTheEnd);
        DeviceLostException thrown = Assert.Throws<DeviceLostException>(() =>
        {
            stream.Launch(kernel, 1, 32, TestKernels.Params(x, x));
            stream.Synchronize();
        })!;
        Assert.That(thrown.Message, Does.Contain("past_the_end").And.Contain("cuStreamSynchronize").And.Not.Contain("\n"));
        DeviceLostException later = Assert.Throws<DeviceLostException>(() => device.AllocateBytes(16))!;
        Assert.That(later.Message, Is.EqualTo(thrown.Message), "later calls tell of the first fault");
        Assert.Throws<DeviceLostException>(() => stream.Launch(kernel, 1, 32, TestKernels.Params(x, x)));
        using GpuDevice another = TestDevices.OpenChecked();
        another.Synchronize();
    }

    [Test]
    public void AFailedCallIsNamedWithItsReason()
    {
        GpuDevice device = TestDevices.Checked;
        GpuException thrown = Assert.Throws<GpuException>(() => device.AllocateBytes(1L << 60))!;
        Assert.That(thrown.Result, Is.EqualTo(CudaResult.OutOfMemory));
        Assert.That(thrown.Call, Is.EqualTo("cuMemAlloc"));
        Assert.That(thrown.Message, Does.StartWith("cuMemAlloc failed: CUDA_ERROR_OUT_OF_MEMORY (2)").And.Contain($"{1L << 60} bytes"));
        device.Synchronize();
    }

    [Test]
    public void AContextChangedByOthersIsNoticedWhenTold()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        device.Synchronize();
        Assert.That(device.Provider.Driver.CtxSetCurrent(0), Is.EqualTo(CudaResult.Success));
        Assert.Throws<GpuException>(device.Synchronize);
        RawHandles.CurrentContextChanged();
        device.Synchronize();
    }

    [Test]
    public void CountersAreForCountingDevicesOnly() =>
        Assert.Throws<InvalidOperationException>(() => TestDevices.Plain.TakeCounters());

    [Test]
    public void LaunchesAreCounted()
    {
        TestDevices.RequireEmulator();
        using GpuDevice device = TestDevices.OpenEmulator(new EmulatorOptions { CountAccesses = true });
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(1024), y = device.Allocate<float>(1024), z = device.Allocate<float>(8);
        TestKernels.RunAffine(stream, device.Compiler.Get<AffineParams>(TestKernels.Affine), x, y, 1, 0);
        LaunchCounters counters = device.TakeCounters().Single();
        Assert.Multiple(() =>
        {
            Assert.That(counters.Kernel, Does.Contain("affine"));
            Assert.That((counters.Grid, counters.Block), Is.EqualTo((new Dim3(4), new Dim3(256))));
            Assert.That(counters[x.Memory].BytesRead, Is.EqualTo(4096));
            Assert.That(counters[x.Memory].BytesWritten, Is.Zero);
            Assert.That(counters[y.Memory].BytesWritten, Is.EqualTo(4096));
            Assert.That(counters[y.Memory].SectorsWritten, Is.EqualTo(128));
            Assert.That(counters[x.Memory].RequestSectorsRead, Is.EqualTo(128));
            Assert.That(counters[z.Memory].BytesRead, Is.Zero);
        });
        Assert.That(device.TakeCounters(), Is.Empty, "taken once");
    }
}
