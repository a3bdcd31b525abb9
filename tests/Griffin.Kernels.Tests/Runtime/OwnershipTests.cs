using Griffin.Bench;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Native objects go once, in whatever order their owners are disposed.</summary>
[AssertNoLeaks]
public sealed class OwnershipTests
{
    [Test]
    public void ChildrenMayOutliveTheDevice()
    {
        GpuDevice device = TestDevices.OpenChecked();
        GpuStream stream = device.CreateStream();
        DeviceMemory memory = device.AllocateBytes(100), ofStream = stream.AllocateBytes(100);
        PinnedBuffer<int> pinned = device.AllocatePinned<int>(3);
        GpuEvent @event = device.CreateEvent();
        long all = LiveHandles.Count;
        device.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(all), "the context lives while its children do");
        stream.Dispose();
        ofStream.Dispose();
        @event.Dispose();
        pinned.Dispose();
        memory.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(all - 6));
    }

    [Test]
    public void DisposingTwiceDoesNothing()
    {
        GpuDevice device = TestDevices.OpenChecked();
        DeviceMemory memory = device.AllocateBytes(100);
        GpuStream stream = device.CreateStream();
        stream.BeginCapture();
        GpuGraph graph = stream.EndCapture(memory);
        foreach (IDisposable disposable in (IDisposable[])[graph, stream, memory, device, device, memory, stream, graph]) disposable.Dispose();
        Assert.That(memory.IsDisposed);
    }

    [Test]
    public void UseAfterDisposalIsRefused()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        GpuStream stream = device.CreateStream();
        GpuEvent @event = device.CreateEvent();
        DeviceBuffer<float> buffer = device.Allocate<float>(4);
        PinnedBuffer<float> pinned = device.AllocatePinned<float>(4);
        @event.Dispose();
        buffer.Dispose();
        pinned.Dispose();
        Assert.Multiple(() =>
        {
            Assert.Throws<ObjectDisposedException>(() => stream.Record(@event));
            Assert.Throws<ObjectDisposedException>(() => stream.Fill(buffer.Memory, 0, 4, 0));
            Assert.Throws<ObjectDisposedException>(() => buffer.View());
            Assert.Throws<ObjectDisposedException>(() => _ = pinned.Span.Length);
        });
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stream.Launch(kernel, 1, 1, default));
        Assert.Throws<ObjectDisposedException>(stream.Synchronize);
        device.Dispose();
        Assert.Throws<ObjectDisposedException>(() => device.CreateStream());
        Assert.Throws<ObjectDisposedException>(() => device.AllocateBytes(1));
        Assert.Throws<ObjectDisposedException>(device.Synchronize);
    }

    [Test]
    public void StreamsOfAClosedDeviceCanOnlyBeDisposed()
    {
        GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(4);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, x, 1, 0);
        stream.Synchronize();
        device.Dispose();
        Assert.Throws<ObjectDisposedException>(() => stream.Launch(kernel, 1, 1, default));
        Assert.Throws<ObjectDisposedException>(stream.Synchronize);
        Assert.Throws<ObjectDisposedException>(() => x.ToArray());
    }

    [Test]
    public void TwoProvidersTakeTurnsOnOneThread()
    {
        using GpuDevice real = TestDevices.OpenChecked();
        using GpuDevice stub = GpuDevice.Open("cuda", new() { Provider = StubCuda.CreateProvider(), UseDiskCache = false });
        using GpuStream a = real.CreateStream(), b = stub.CreateStream();
        using DeviceBuffer<float> x = real.Upload<float>([1]);
        GpuKernel<AffineParams> onReal = real.Compiler.Get<AffineParams>(TestKernels.Affine), onStub = stub.Compiler.Get<AffineParams>(TestKernels.Affine);
        for (int i = 0; i < 3; i++)
        {
            b.Launch(onStub, 1, 1, default);
            TestKernels.RunAffine(a, onReal, x, x, 2, 0);
        }
        Assert.That(x.ToArray()[0], Is.EqualTo(8f));
    }

    [Test]
    public void AGraphKeepsItsMemoryUntilItIsDisposed()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        using DeviceBuffer<float> y = device.Allocate<float>(3);
        DeviceBuffer<float> x = device.Upload<float>([1, 2, 3]);
        TestKernels.RunAffine(stream, kernel, x, y, 1, 0);
        stream.Synchronize();
        stream.BeginCapture();
        TestKernels.RunAffine(stream, kernel, x, y, 2, 0);
        GpuGraph graph = stream.EndCapture(x.Memory, y.Memory);
        long before = LiveHandles.Count;
        x.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before), "held by the graph");
        stream.Launch(graph);
        stream.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo(new float[] { 2, 4, 6 }));
        graph.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - 2));
    }

    [Test]
    public void AGraphOverDisposedMemoryIsRefusedAndNothingIsLeft()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        DeviceMemory kept = device.AllocateBytes(4), gone = device.AllocateBytes(4);
        gone.Dispose();
        stream.BeginCapture();
        Assert.Throws<ObjectDisposedException>(() => stream.EndCapture(kept, gone));
        kept.Dispose();
    }

    [Test]
    public void WorkInFlightIsFinishedBeforeMemoryGoes([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using GpuDevice device = TestDevices.OpenChecked(seed);
        using GpuStream stream = device.CreateStream();
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        using DeviceBuffer<float> y = device.Allocate<float>(100);
        using (DeviceBuffer<float> x = device.Allocate<float>(100)) TestKernels.RunAffine(stream, kernel, x, y, 1, 4);
        stream.Synchronize();
        Assert.That(y.ToArray(), Has.All.EqualTo(4f));
    }

    [Test]
    public void MemoryOfAStreamGoesInTheStreamsOrder([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using GpuDevice device = TestDevices.OpenChecked(seed);
        using GpuStream stream = device.CreateStream();
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        using DeviceBuffer<float> y = device.Allocate<float>(10);
        using (DeviceMemory scratch = stream.AllocateBytes(40))
        {
            stream.Fill(scratch, 0, 40, 0);
            stream.Launch(kernel, 1, 256, new AffineParams { X = scratch.Address, Y = y.Address, Shift = 9, Length = 10 });
        }
        stream.Synchronize();
        Assert.That(y.ToArray(), Has.All.EqualTo(9f));
    }

    [Test]
    public void WhatIsNotDisposedIsCollected()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        device.Synchronize();
        long before = LiveHandles.Count;
        LoseSome(device);
        Assert.That(LiveHandles.Count, Is.GreaterThan(before));
        for (int i = 0; i < 50 && LiveHandles.Count > before; i++)
        {
            GC.Collect();
            GC.WaitForPendingFinalizers();
        }
        Assert.That(LiveHandles.Count, Is.EqualTo(before));
        device.Synchronize();
    }

    [Test]
    public void BorrowedHandlesAreLeftAlone()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Upload<float>([1, 2, 3]);
        long before = LiveHandles.Count;
        using (GpuDevice borrowed = RawHandles.BorrowContext(device.Provider, RawHandles.ContextOf(device)))
        {
            using GpuStream sameStream = RawHandles.BorrowStream(borrowed, RawHandles.StreamOf(stream));
            using DeviceMemory sameMemory = RawHandles.BorrowMemory(borrowed, x.Address, x.Memory.Bytes);
            Assert.That(LiveHandles.Count, Is.EqualTo(before));
            float[] read = new float[3];
            sameStream.CopyToHost(sameMemory, 0, read.AsSpan());
            Assert.That(read, Is.EqualTo(new float[] { 1, 2, 3 }));
            Assert.That(borrowed.ComputeCapability, Is.EqualTo(device.ComputeCapability));
        }
        stream.Synchronize();
        Assert.That(x.ToArray(), Is.EqualTo(new float[] { 1, 2, 3 }));
        Assert.That(LiveHandles.Count, Is.EqualTo(before));
    }

    [Test]
    public void TwoDevicesTakeTurnsOnOneThread()
    {
        using GpuDevice one = TestDevices.OpenChecked(), other = TestDevices.OpenChecked(2);
        using GpuStream a = one.CreateStream(), b = other.CreateStream();
        using DeviceBuffer<float> x = one.Upload<float>([1]), y = other.Upload<float>([10]);
        GpuKernel<AffineParams> onOne = one.Compiler.Get<AffineParams>(TestKernels.Affine), onOther = other.Compiler.Get<AffineParams>(TestKernels.Affine);
        for (int i = 0; i < 5; i++)
        {
            TestKernels.RunAffine(a, onOne, x, x, 1, 1);
            TestKernels.RunAffine(b, onOther, y, y, 1, 10);
        }
        Assert.That((x.ToArray()[0], y.ToArray()[0]), Is.EqualTo((6f, 60f)));
    }

    [Test]
    public void EveryThreadGetsTheContext()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        float[] results = new float[8];
        Parallel.For(0, results.Length, i =>
        {
            using GpuStream stream = device.CreateStream();
            using DeviceBuffer<float> x = device.Upload<float>([i]);
            TestKernels.RunAffine(stream, device.Compiler.Get<AffineParams>(TestKernels.Affine), x, x, 2, 1);
            stream.Synchronize();
            stream.CopyToHost(x.Memory, 0, results.AsSpan(i, 1));
        });
        Assert.That(results, Is.EqualTo(Enumerable.Range(0, 8).Select(i => 2f * i + 1)));
    }

    private static void LoseSome(GpuDevice device)
    {
        _ = device.AllocateBytes(16);
        _ = device.CreateStream();
        _ = device.CreateEvent();
        _ = device.AllocatePinned<int>(2);
    }
}
