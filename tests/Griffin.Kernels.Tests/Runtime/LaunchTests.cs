using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

public sealed class LaunchTests
{
    [Test]
    [AssertNoLeaks]
    public void ALaunchAllocatesNothingAfterTheFirst()
    {
        using GpuDevice device = TestDevices.OpenPlain();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(100);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        for (int i = 0; i < 3; i++) TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        Assert.That(allocated, Is.Zero);
        Assert.That(x.ToArray(), Has.All.EqualTo(103f));
    }

    [Test]
    public void ParametersAreCopiedBeforeTheCallReturns()
    {
        GpuDevice device = TestDevices.Checked;
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Upload<float>([1, 2, 3]);
        using DeviceBuffer<float> y = device.AllocateUninitialized<float>(3);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        AffineParams parameters = TestKernels.Params(x, y, scale: 2);
        stream.Launch(kernel, 1, 256, in parameters);
        parameters = default;
        stream.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo(new float[] { 2, 4, 6 }));
        Assert.That(parameters.X, Is.Zero);
    }

    [Test]
    public void ParametersOfAnotherSizeAreRefused()
    {
        GpuDevice device = TestDevices.Checked;
        TestDevices.RequireEmulator("drivers before CUDA 12.4 cannot tell a kernel's parameter sizes");
        using GpuStream stream = device.CreateStream();
        GpuKernel<ShortParams> kernel = device.Compiler.Get<ShortParams>(TestKernels.Affine);
        ArgumentException thrown = Assert.Throws<ArgumentException>(() => stream.Launch(kernel, 1, 1, default))!;
        Assert.That(thrown.Message, Does.Contain("affine").And.Contain("32 bytes").And.Contain("8").And.Contain(nameof(ShortParams)));
    }

    [TestCase(0, 1)]
    [TestCase(1, 0)]
    [TestCase(1, 2048)]
    public void WrongGeometryNamesKernelAndLaunch(int grid, int block)
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(1);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        GpuException thrown = Assert.Throws<GpuException>(() => stream.Launch(kernel, grid, block, TestKernels.Params(x, x)))!;
        Assert.That(thrown.Call, Is.EqualTo("cuLaunchKernel"));
        Assert.That(thrown.Message, Does.Contain("affine").And.Contain($"grid ({grid}, 1, 1), block ({block}, 1, 1)"));
    }

    [Test]
    public void MuchDynamicSharedMemoryNeedsToBeAllowed()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Upload<float>([1, 2, 3, 4]);
        using DeviceBuffer<float> y = device.AllocateUninitialized<float>(4);
        const int Bytes = 64 << 10;
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.ThroughShared);
        Assert.Throws<GpuException>(() => stream.Launch(kernel, 1, 4, TestKernels.Params(x, y), Bytes));
        kernel.SetMaxDynamicSharedBytes(Bytes);
        stream.Launch(kernel, 1, 4, TestKernels.Params(x, y), Bytes);
        stream.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo(new float[] { 4, 3, 2, 1 }));
        Assert.Throws<GpuException>(() => kernel.SetMaxDynamicSharedBytes(device.Limits.SharedBytesPerBlockOptIn + 1));
    }

    [Test]
    public void AttributesComeFromTheDriver()
    {
        GpuKernel<AffineParams> kernel = TestDevices.Checked.Compiler.Get<AffineParams>(TestKernels.Affine);
        Assert.That(kernel.Attributes.MaxThreadsPerBlock, Is.EqualTo(256));
        Assert.That(kernel.Attributes.StaticSharedBytes, Is.Zero);
        Assert.That(kernel.Spec, Is.SameAs(TestKernels.Affine));
    }

    [Test]
    public void AKernelOfAnotherDeviceIsRefused()
    {
        using GpuDevice one = TestDevices.OpenChecked(), other = TestDevices.OpenChecked();
        if (!TestDevices.IsEmulator) Assert.Ignore("one GPU has one primary context");
        using GpuStream stream = one.CreateStream();
        GpuKernel<AffineParams> kernel = other.Compiler.Get<AffineParams>(TestKernels.Affine);
        Assert.Throws<ArgumentException>(() => stream.Launch(kernel, 1, 1, default));
        Assert.Throws<ArgumentNullException>(() => stream.Launch<AffineParams>(null!, 1, 1, default));
    }

    [Test]
    public void AKernelThatDoesNotCompileSaysSoAtItsFirstLaunch()
    {
        GpuDevice device = TestDevices.Checked;
        using GpuStream stream = device.CreateStream();
        KernelSpec broken = new(KernelSource.FromText("broken.cu", "struct P { int x; };\n__global__ void broken(P p) { undeclared = p.x; }"), "broken");
        GpuKernel<ShortParams> kernel = device.Compiler.Get<ShortParams>(broken);
        for (int attempt = 0; attempt < 2; attempt++)
        {
            KernelCompilationException thrown = Assert.Throws<KernelCompilationException>(() => stream.Launch(kernel, 1, 1, default))!;
            Assert.That(thrown.Log, Does.Contain("undeclared").And.Contain("broken.cu"));
            Assert.That(thrown.Message, Does.Contain(thrown.Log));
        }
        Assert.ThrowsAsync<KernelCompilationException>(() => device.Compiler.Request(broken));
    }

    [Test]
    public async Task WaitingForAllReportsProgress()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        List<CompileProgress> seen = [];
        _ = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        _ = device.Compiler.Get<AffineParams>(TestKernels.ThroughShared);
        await device.Compiler.WaitAllAsync(new Sink(seen)).ConfigureAwait(false);
        Assert.That(seen, Is.EqualTo(new[] { new CompileProgress(1, 2), new CompileProgress(2, 2) }));
    }

    [Test]
    public void TheLaunchConfigurationIsLaidOutAsTheDriversOwn()
    {
        Assert.That(Marshal.SizeOf<LaunchConfig>(), Is.EqualTo(56));
        LaunchConfig config = new() { GridX = 1, GridY = 2, GridZ = 3, BlockX = 4, BlockY = 5, BlockZ = 6, DynamicSharedBytes = 7, Stream = 8, Attributes = 9, AttributeCount = 10 };
        ReadOnlySpan<uint> words = MemoryMarshal.Cast<LaunchConfig, uint>(new ReadOnlySpan<LaunchConfig>(in config));
        Assert.That(words[..7].ToArray(), Is.EqualTo(new uint[] { 1, 2, 3, 4, 5, 6, 7 }));
        Assert.That((words[8], words[10], words[12]), Is.EqualTo((8u, 9u, 10u)));
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct ShortParams
    {
        public ulong X;
    }

    private sealed class Sink(List<CompileProgress> seen) : IProgress<CompileProgress>
    {
        public void Report(CompileProgress value) => seen.Add(value);
    }
}
