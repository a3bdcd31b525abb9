using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Emulator;

/// <summary>The emulator's signal handler and .NET's share a process.</summary>
public sealed class SignalTests
{
    private static readonly KernelSpec wild = new(KernelSource.FromText("signal_tests.cu", """
        struct WildParams { int* x; long long offset; };
        __global__ void wild(WildParams p) {
            p.x[p.offset] = 1;
        }
        """), "wild", []);

    [Test]
    public void AKernelsFaultEndsTheLaunchAndManagedFaultsAreStillExceptions()
    {
        TestDevices.RequireEmulator("an unmapped address of the process");
        for (int round = 0; round < 3; round++)
        {
            Assert.Throws<NullReferenceException>(() => LengthOf(null));
            using (GpuDevice device = TestDevices.OpenEmulator(new EmulatorOptions()))
            {
                using GpuStream stream = device.CreateStream();
                using DeviceBuffer<int> x = device.Allocate<int>(1);
                GpuKernel<WildParams> kernel = device.Compiler.Get<WildParams>(wild);
                GpuException fault = Assert.Catch<GpuException>(() =>
                {
                    stream.Launch(kernel, 1, 1, new WildParams { X = x.Memory.Address, Offset = -(1L << 42) });
                    stream.Synchronize();
                })!;
                Assert.That(fault.Message, Does.Contain("signal_tests.cu:3").And.Contain("illegal access"));
            }
            Assert.Throws<NullReferenceException>(() => LengthOf(null));
            Assert.Throws<DivideByZeroException>(() => Divide(round, 0));
        }
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int LengthOf(string? text) => text!.Length;

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static int Divide(int value, int by) => value / by;

    [StructLayout(LayoutKind.Sequential)]
    private struct WildParams
    {
        public ulong X;
        public long Offset;
    }
}
