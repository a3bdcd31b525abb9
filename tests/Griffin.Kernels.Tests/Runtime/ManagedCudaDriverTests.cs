using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;
using Griffin.Kernels.ManagedCuda;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>What the runtime does not ask of its provider yet: a launch with attributes. Built with -p:WithManagedCuda=true only.</summary>
[NonParallelizable]
public sealed unsafe class ManagedCudaDriverTests
{
    private const int Cooperative = 2;
    private const CudaResult CooperativeLaunchTooLarge = (CudaResult)720;

    private GpuDevice _device = null!;

    [OneTimeSetUp]
    public void Open()
    {
        try
        {
            _device = GpuDevice.Open("auto", new() { Provider = ManagedCudaProvider.Open() });
        }
        catch (DeviceUnavailableException missing)
        {
            Assert.Ignore(missing.Message);
        }
    }

    [OneTimeTearDown]
    public void Close() => _device?.Dispose();

    // More blocks than any device holds at once: a cooperative launch is refused, a plain one is not. So the attribute is seen to arrive.
    [TestCase(0u, CudaResult.Success)]
    [TestCase(1u, CooperativeLaunchTooLarge)]
    public void ALaunchTakesAttributes(uint attributes, CudaResult expected)
    {
        using GpuStream stream = _device.CreateStream();
        using DeviceBuffer<float> x = _device.Upload<float>([1, 2, 3]), y = _device.Allocate<float>(3);
        nint function = RawHandles.FunctionOf(_device.Compiler.Get<AffineParams>(TestKernels.Affine));
        AffineParams values = TestKernels.Params(x, y, 2, 1);
        void* parameters = &values;
        LaunchAttribute attribute = new() { Id = Cooperative, Value = 1 };
        LaunchConfig config = new()
        {
            GridX = 100_000,
            GridY = 1,
            GridZ = 1,
            BlockX = 64,
            BlockY = 1,
            BlockZ = 1,
            Stream = RawHandles.StreamOf(stream),
            Attributes = (nint)(&attribute),
            AttributeCount = attributes,
        };
        Assert.That(_device.Provider.Driver.LaunchKernel(in config, function, &parameters), Is.EqualTo(expected));
        stream.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo(expected == CudaResult.Success ? (float[])[3, 5, 7] : [0, 0, 0]));
    }

    /// <summary>Mirror of <c>CUlaunchAttribute</c>, whose value fills 64 bytes.</summary>
    [StructLayout(LayoutKind.Sequential, Size = 72)]
    private struct LaunchAttribute
    {
        public int Id;
        public int Padding;
        public int Value;
    }
}
