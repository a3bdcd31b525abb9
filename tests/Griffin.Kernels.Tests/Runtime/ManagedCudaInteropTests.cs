using Griffin.Kernels.ManagedCuda;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using ManagedCuda;
using ManagedCuda.BasicTypes;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Our objects and ManagedCuda's over the same context, queue and memory, both ways. Built with -p:WithManagedCuda=true only.</summary>
[NonParallelizable]
public sealed class ManagedCudaInteropTests
{
    private const int Rows = 3, Width = 40;

    private readonly float[] _x = [.. Enumerable.Range(0, Rows * Width).Select(i => MathF.Sin(i))];
    private readonly float[] _scale = [.. Enumerable.Range(0, Width).Select(i => 0.01f * i)];

    [OneTimeSetUp]
    public void RequireLibraries()
    {
        try
        {
            ManagedCudaProvider.Open();
        }
        catch (DeviceUnavailableException missing)
        {
            Assert.Ignore(missing.Message);
        }
    }

    // The library remembers what it made current on a thread; ManagedCuda changed that here, behind its back.
    [TearDown]
    public void ForgetTheCurrentContext() => RawHandles.CurrentContextChanged();

    [TestCase(false)]
    [TestCase(true)]
    public void AnOpRunsOnAnEnginesContextStreamAndVariables(bool primary)
    {
        using CudaContext context = primary ? new PrimaryContext(0) : new CudaContext(0);
        context.SetCurrent();
        using CudaStream engineStream = new(CUStreamFlags.NonBlocking);
        using CudaDeviceVariable<float> x = new(Rows * Width), scale = new(Width), y = new(Rows * Width);
        x.CopyToDevice(_x);
        scale.CopyToDevice(_scale);
        y.CopyToDevice([.. Enumerable.Repeat(float.NaN, Rows * Width)]);
        using (GpuDevice device = context.AsGpuDevice())
        {
            using GpuStream stream = engineStream.AsGpuStream(device);
            TensorView xView = x.AsTensorView(device, Rows, Width), yView = y.AsTensorView(device, Rows, Width);
            Assert.That((RawHandles.ContextOf(device), RawHandles.StreamOf(stream)), Is.EqualTo((context.Context.Pointer, engineStream.Stream.Pointer)));
            Assert.That((xView.Address, yView.Address), Is.EqualTo(((ulong)x.DevicePointer.Pointer, (ulong)y.DevicePointer.Pointer)), "no copy");
            new RmsNorm(device, ElementType.Float32, Width).Run(stream, xView, scale.AsTensorView(device, 1, Width), yView, 1e-6f);
            engineStream.Synchronize();
        }
        AssertNormed(y);
    }

    [Test]
    public void AnEngineReadsAndWritesOurBuffers()
    {
        using GpuDevice device = TestDevices.IsEmulator
            ? GpuDevice.Open("emulator", new() { Provider = ManagedCudaProvider.Open() })
            : GpuDevice.Open("cuda", new() { Provider = ManagedCudaProvider.Open() });
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> buffer = device.Upload<float>(_x);
        using (CudaContext context = device.AsCudaContext())
        {
            Assert.That((context.Context.Pointer, context.IsContextOwner), Is.EqualTo((RawHandles.ContextOf(device), false)));
            using CudaDeviceVariable<float> variable = buffer.AsCudaDeviceVariable();
            using CudaStream engineStream = stream.AsCudaStream();
            Assert.That(((ulong)variable.DevicePointer.Pointer, (long)variable.Size), Is.EqualTo((buffer.Address, buffer.Length)), "no copy");
            Assert.That((float[])variable, Is.EqualTo(_x));
            variable.MemsetAsync(BitConverter.SingleToUInt32Bits(2.5f), engineStream.Stream);
            engineStream.Synchronize();
        }
        // What ManagedCuda wrapped is still ours.
        Assert.That(buffer.ToArray(), Has.All.EqualTo(2.5f));
        using DeviceBuffer<float> after = device.Upload<float>(_x);
        Assert.That(after.ToArray(), Is.EqualTo(_x));
    }

    [Test]
    public void EventsOrderTheTwoSides()
    {
        using GpuDevice device = GpuDevice.Open("auto", new() { Provider = ManagedCudaProvider.Open() });
        using CudaContext context = device.AsCudaContext();
        using GpuStream ours = device.CreateStream();
        using CudaStream theirs = new(CUStreamFlags.NonBlocking);
        using GpuEvent ourEvent = device.CreateEvent();
        using CudaEvent theirEvent = new(CUEventFlags.DisableTiming);
        using DeviceBuffer<float> x = device.Upload<float>(_x), y = device.Allocate<float>(_x.Length);
        GpuKernel<AffineParams> affine = device.Compiler.Get<AffineParams>(TestKernels.Affine);
        TestKernels.RunAffine(ours, affine, x, y, 2, 0);
        ours.Record(ourEvent);
        theirs.WaitEvent(ourEvent.AsCUevent());
        using CudaDeviceVariable<float> result = y.AsCudaDeviceVariable(), again = x.AsCudaDeviceVariable();
        again.AsyncCopyToDevice(result.DevicePointer, theirs.Stream);
        theirEvent.Record(theirs.Stream);
        ours.AsCudaStream().WaitEvent(theirEvent.Event);
        TestKernels.RunAffine(ours, affine, x, y, 2, 0);
        ours.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo(_x.Select(value => 4 * value)));
    }

    [Test]
    public void ElementsOfAnotherSizeAreRefused()
    {
        using CudaContext context = new PrimaryContext(0);
        context.SetCurrent();
        using CudaDeviceVariable<ushort> variable = new(10);
        using GpuDevice device = context.AsGpuDevice();
        Assert.That(variable.AsTensorView(device, ElementType.BFloat16, 2, 5).Type, Is.EqualTo(ElementType.BFloat16));
        Assert.Throws<ArgumentException>(() => variable.AsTensorView(device, ElementType.Float32, 1, 5));
        Assert.Throws<NotSupportedException>(() => variable.AsTensorView(device, 1, 5));
        Assert.Throws<ArgumentOutOfRangeException>(() => variable.AsTensorView(device, ElementType.BFloat16, 3, 5));
    }

    [Test]
    public void ADeviceOfAnotherProviderHasNoManagedCudaContext()
    {
        using GpuDevice stub = GpuDevice.Open("cuda", new() { Provider = Griffin.Bench.StubCuda.CreateProvider(), UseDiskCache = false });
        Assert.That(Assert.Throws<ArgumentException>(() => stub.AsCudaContext())!.Message, Does.Contain("provider stub"));
    }

    private void AssertNormed(CudaDeviceVariable<float> y)
    {
        float[] result = y;
        for (int row = 0; row < Rows; row++)
        {
            double mean = _x.Skip(row * Width).Take(Width).Average(value => (double)value * value);
            for (int i = 0; i < Width; i++)
                Assert.That(result[row * Width + i], Is.EqualTo(_x[row * Width + i] / Math.Sqrt(mean + 1e-6) * (1 + _scale[i])).Within(1e-5), $"[{row}, {i}]");
        }
    }
}
