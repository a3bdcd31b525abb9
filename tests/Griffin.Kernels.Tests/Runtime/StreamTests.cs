using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Streams, events, copies and graphs on a checked device, which runs work as late and in as odd an order as the calls allow.</summary>
public sealed class StreamTests
{
    private const int Length = 1000;

    [Test]
    public void WorkOfOneStreamRunsInOrder([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using GpuDevice device = TestDevices.OpenChecked(seed);
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(Length);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, x, 1, 3);
        TestKernels.RunAffine(stream, kernel, x, x, 2, 0);
        TestKernels.RunAffine(stream, kernel, x, x, 1, -1);
        stream.Synchronize();
        Assert.That(x.ToArray(), Has.All.EqualTo(5f));
    }

    [Test]
    public void EventsOrderStreams([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using GpuDevice device = TestDevices.OpenChecked(seed);
        using GpuStream first = device.CreateStream(), second = device.CreateStream();
        using GpuEvent done = device.CreateEvent();
        using DeviceBuffer<float> x = device.Allocate<float>(Length), y = device.Allocate<float>(Length);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(first, kernel, x, x, 1, 7);
        first.Record(done);
        second.Wait(done);
        TestKernels.RunAffine(second, kernel, x, y, 2, 0);
        second.Synchronize();
        Assert.That(done.IsCompleted);
        Assert.That(y.ToArray(), Has.All.EqualTo(14f));
    }

    [Test]
    public void TimeBetweenEventsIsMeasured()
    {
        using GpuDevice device = TestDevices.OpenPlain();
        using GpuStream stream = device.CreateStream();
        using GpuEvent start = device.CreateEvent(timing: true), end = device.CreateEvent(timing: true);
        using DeviceBuffer<float> x = device.Allocate<float>(1 << 20);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        stream.Synchronize();
        stream.Record(start);
        for (int i = 0; i < 10; i++) TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        stream.Record(end);
        end.Synchronize();
        Assert.That(end.ElapsedSince(start), Is.GreaterThan(TimeSpan.Zero).And.LessThan(TimeSpan.FromMinutes(1)));
    }

    [Test]
    public void PinnedCopiesAreQueued([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using GpuDevice device = TestDevices.OpenChecked(seed);
        using GpuStream stream = device.CreateStream();
        using PinnedBuffer<float> host = device.AllocatePinned<float>(Length);
        using DeviceBuffer<float> x = device.AllocateUninitialized<float>(Length);
        Assert.That(host.Span.ToArray(), Has.All.Zero);
        host.Span.Fill(2);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        stream.CopyToDevice(host, 0, Length, x.Memory);
        TestKernels.RunAffine(stream, kernel, x, x, 3, 0);
        stream.CopyToHost(x.Memory, 0, host, 0, Length / 2);
        stream.Synchronize();
        Assert.That(host.Span[..(Length / 2)].ToArray(), Has.All.EqualTo(6f));
        Assert.That(host.Span[(Length / 2)..].ToArray(), Has.All.EqualTo(2f));
    }

    [Test]
    public void PageableCopiesAndFillsKeepTheStreamsOrder()
    {
        GpuDevice device = TestDevices.Checked;
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<uint> x = device.AllocateUninitialized<uint>(8), y = device.AllocateUninitialized<uint>(8);
        stream.Fill(x.Memory, 0, x.Memory.Bytes, 0xFF);
        stream.Fill32(x.Memory, 8, 2, 0x7FC00000);
        stream.CopyToDevice<uint>([1, 2], x.Memory, 24);
        stream.CopyDevice(x.Memory, 0, y.Memory, 0, x.Memory.Bytes);
        uint[] result = new uint[8];
        stream.CopyToHost(y.Memory, 0, result.AsSpan());
        Assert.That(result, Is.EqualTo(new uint[] { uint.MaxValue, uint.MaxValue, 0x7FC00000, 0x7FC00000, uint.MaxValue, uint.MaxValue, 1, 2 }));
        stream.CopyDevice(x.Span.Slice(6, 2), y.Span.Slice(0, 2));
        stream.Synchronize();
        Assert.That(y.ToArray()[..2], Is.EqualTo(new uint[] { 1, 2 }));
    }

    [Test]
    public async Task WaitingCanBeAwaitedAndCancelled()
    {
        GpuDevice device = TestDevices.Checked;
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(Length);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        await stream.SynchronizeAsync().ConfigureAwait(false);
        Assert.That(stream.IsCompleted);
        Assert.That(x.ToArray(), Has.All.EqualTo(1f));
        TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        using CancellationTokenSource cancelled = new();
        await cancelled.CancelAsync().ConfigureAwait(false);
        Task wait = stream.SynchronizeAsync(cancelled.Token);
        await Task.WhenAny(wait).ConfigureAwait(false);
        Assert.That(wait.IsCanceled || wait.IsCompletedSuccessfully, "cancelled, or done before that was seen");
        stream.Synchronize();
        Assert.That(x.ToArray(), Has.All.EqualTo(2f), "the work went on");
    }

    [Test]
    [AssertNoLeaks]
    public void AGraphReplaysWhatWasCapturedOnNewContents()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Upload<float>([1, 2, 3]), y = device.Allocate<float>(3);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, y, 1, 0);
        stream.Synchronize();
        stream.BeginCapture();
        Assert.That(stream.IsCapturing);
        TestKernels.RunAffine(stream, kernel, x, y, 10, 0);
        TestKernels.RunAffine(stream, kernel, y, y, 1, 1);
        stream.CopyDevice(y.Memory, 0, x.Memory, 0, y.Memory.Bytes);
        using GpuGraph graph = stream.EndCapture(x.Memory, y.Memory);
        Assert.That(stream.IsCapturing, Is.False);
        Assert.That(x.ToArray(), Is.EqualTo(new float[] { 1, 2, 3 }), "captured work does not run");
        stream.Launch(graph);
        stream.Launch(graph);
        stream.Synchronize();
        Assert.That(x.ToArray(), Is.EqualTo(new float[] { 111, 211, 311 }));
    }

    [Test]
    public void GraphLaunchesAllocateNothing()
    {
        using GpuDevice device = TestDevices.OpenPlain();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(3);
        GpuKernel<AffineParams> kernel = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(stream, kernel, x, x, 1, 0);
        stream.BeginCapture();
        TestKernels.RunAffine(stream, kernel, x, x, 1, 1);
        using GpuGraph graph = stream.EndCapture(x.Memory);
        stream.Launch(graph);
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 100; i++) stream.Launch(graph);
        Assert.That(GC.GetAllocatedBytesForCurrentThread() - before, Is.Zero);
        stream.Synchronize();
        Assert.That(x.ToArray(), Has.All.EqualTo(101f));
    }

    [Test]
    public void ACallThatCapturingForbidsInvalidatesTheCapture()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(3);
        stream.BeginCapture();
        Assert.Throws<GpuException>(stream.Synchronize);
        GpuException thrown = Assert.Throws<GpuException>(() => stream.EndCapture())!;
        Assert.That(thrown.Call, Is.EqualTo("cuStreamEndCapture"));
        stream.Synchronize();
        stream.BeginCapture();
        stream.AbandonCapture();
        stream.AbandonCapture();
        stream.Synchronize();
        Assert.That(stream.IsCapturing, Is.False);
    }

    /// <summary>Freeing waits for the context, which would invalidate the capture: it is made up for at the capture's end, on whichever thread it was asked for.</summary>
    [Test]
    public void MemoryLetGoDuringACaptureIsFreedAfterIt([Values] bool byAnotherThread, [Values] bool abandoned)
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream(), other = device.CreateStream();
        DeviceBuffer<float> x = device.Allocate<float>(3), kept = device.Allocate<float>(3);
        PinnedBuffer<float> pinned = device.AllocatePinned<float>(3);
        long before = LiveHandles.Count;
        stream.BeginCapture();
        void Free()
        {
            x.Dispose();
            pinned.Dispose();
        }

        if (byAnotherThread)
        {
            Thread thread = new(Free);
            thread.Start();
            thread.Join();
        }
        else
        {
            Free();
        }

        Assert.That(LiveHandles.Count, Is.EqualTo(before), "not yet");
        Assert.That(x.Memory.IsDisposed);
        stream.Fill(kept.Memory, 0, sizeof(float), 0);
        if (abandoned)
        {
            stream.AbandonCapture();
            Assert.That(LiveHandles.Count, Is.EqualTo(before - 2));
        }
        else
        {
            using GpuGraph graph = stream.EndCapture(kept.Memory);
            Assert.That(LiveHandles.Count, Is.EqualTo(before - 2 + 1), "both freed, the graph made");
            stream.Launch(graph);
            stream.Synchronize();
        }

        kept.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - 3), "and at once again");
    }

    /// <summary>A stream that is let go within its capture, or borrowed and given back, holds nothing back any longer.</summary>
    [Test]
    public void AStreamLetGoDuringItsCaptureEndsIt([Values] bool borrowed)
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream own = device.CreateStream();
        GpuStream stream = borrowed ? RawHandles.BorrowStream(device, RawHandles.StreamOf(own)) : device.CreateStream();
        DeviceBuffer<float> x = device.Allocate<float>(3);
        long before = LiveHandles.Count;
        stream.BeginCapture();
        x.Dispose();
        stream.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - (borrowed ? 1 : 2)));
        own.Synchronize();
    }

    /// <summary>In a capture of its home stream, freeing would become a node of the graph; in one of another stream it is no matter.</summary>
    [Test]
    public void MemoryOfACapturingStreamIsFreedAfterTheCapture()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        if (!device.Limits.StreamOrderedMemory) Assert.Ignore("no memory in the order of a stream");
        using GpuStream stream = device.CreateStream(), other = device.CreateStream();
        DeviceMemory home = stream.AllocateBytes(64), elsewhere = other.AllocateBytes(64);
        long before = LiveHandles.Count;
        stream.BeginCapture();
        home.Dispose();
        elsewhere.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - 1));
        stream.EndCapture().Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - 2));
        stream.Synchronize();
    }

    /// <summary>A context's captures are those of all devices that share it.</summary>
    [Test]
    public void WhatAnotherDeviceOfTheContextLetsGoWaitsToo()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuDevice sharing = RawHandles.BorrowContext(device.Provider, RawHandles.ContextOf(device));
        using GpuStream stream = sharing.CreateStream();
        DeviceBuffer<float> x = device.Allocate<float>(3);
        long before = LiveHandles.Count;
        stream.BeginCapture();
        x.Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before));
        stream.EndCapture().Dispose();
        Assert.That(LiveHandles.Count, Is.EqualTo(before - 1));
    }

    [Test]
    public void OnlyTheThreadThatBeganACaptureEndsIt()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        using GpuStream stream = device.CreateStream();
        stream.BeginCapture();
        GpuException? thrown = null;
        Thread thread = new(() => thrown = Assert.Throws<GpuException>(() => stream.EndCapture()));
        thread.Start();
        thread.Join();
        Assert.That(thrown!.Message, Does.Contain("908"));
        Assert.That(stream.IsCapturing);
        stream.EndCapture().Dispose();
        Assert.That(stream.IsCapturing, Is.False);
    }

    [Test]
    public void BlasMustBeMadeBeforeACapture()
    {
        using GpuDevice device = TestDevices.OpenChecked();
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        stream.BeginCapture();
        Assert.Throws<InvalidOperationException>(() => _ = stream.Blas);
        stream.AbandonCapture();
        GpuBlas? blas = stream.Blas;
        Assert.That(blas, Is.Not.Null);
        Assert.That(stream.Blas, Is.SameAs(blas));
    }

    [Test]
    public void RangesAreCheckedBeforeAnyCall()
    {
        GpuDevice device = TestDevices.Checked;
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(4);
        using PinnedBuffer<float> host = device.AllocatePinned<float>(4);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => stream.CopyToDevice<float>([1, 2, 3], x.Memory, 8));
            Assert.Throws<ArgumentOutOfRangeException>(() => stream.CopyToHost(x.Memory, -4, new float[1].AsSpan()));
            Assert.Throws<ArgumentOutOfRangeException>(() => stream.CopyToHost(x.Memory, 0, host, 2, 3));
            Assert.Throws<ArgumentOutOfRangeException>(() => stream.CopyDevice(x.Memory, 0, x.Memory, 12, 8));
            Assert.Throws<ArgumentOutOfRangeException>(() => stream.Fill(x.Memory, 0, 17, 0));
            Assert.Throws<ArgumentException>(() => stream.Fill32(x.Memory, 2, 1, 0));
            Assert.Throws<ArgumentOutOfRangeException>(() => device.AllocateBytes(0));
            Assert.Throws<ArgumentOutOfRangeException>(() => device.AllocateUninitialized<float>(-1));
            Assert.Throws<ArgumentException>(() => x.CopyFrom(new float[5]));
            Assert.Throws<ArgumentException>(() => x.CopyTo(new float[5]));
        });
    }
}
