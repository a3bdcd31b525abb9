using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Emulator;

/// <summary>Checked devices hold dependent kernels to what they may touch before they have waited for the kernels before them.</summary>
[TestFixture]
public sealed class DependentLaunchTests
{
    private const int Threads = 64;

    private const string Source = """
        #include "include/dependent_launch.cuh"
        struct StepParams { const f32* weight; const f32* x; f32* y; i64 waits; };
        __global__ void step(StepParams p) {
            launch_dependents();
            const f32 weight = p.weight[threadIdx.x];
            dependency_wait();
            p.y[threadIdx.x] = weight + p.x[threadIdx.x];
        }
        __global__ void reads_early(StepParams p) {
            const f32 x = p.x[threadIdx.x];
            dependency_wait();
            p.y[threadIdx.x] = p.weight[threadIdx.x] + x;
        }
        __global__ void writes_early(StepParams p) {
            p.y[threadIdx.x] = p.weight[threadIdx.x];
            dependency_wait();
        }
        __global__ void half_waits(StepParams p) {
            if (threadIdx.x < 32) dependency_wait();
            __syncthreads();
            p.y[threadIdx.x] = p.weight[threadIdx.x] + p.x[threadIdx.x];
        }
        __global__ void may_wait(StepParams p) {
            if (p.waits != 0) dependency_wait();
        }
        """;

    [StructLayout(LayoutKind.Sequential)]
    private struct StepParams
    {
        public ulong Weight, X, Y;
        public long Waits;
    }

    [Test]
    public void A_chain_of_kernels_that_wait_runs()
    {
        using var chain = new Chain(TestDevices.OpenChecked());
        chain.Launch("step", 0, 1, waits: false);
        chain.Launch("step", 1, 2);
        chain.Launch("step", 2, 3);
        chain.Launch("step", 3, 1);
        Assert.That(chain.Read(1), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (5f * i) + 1)));
    }

    [Test]
    public void What_the_kernel_before_wrote_is_not_read_before_the_wait() => Assert.That(
        Fault(chain =>
        {
            chain.Launch("step", 0, 1, waits: false);
            chain.Launch("reads_early", 1, 2);
        }),
        Does.Match(@"kernel reads_early, block \(0, 0, 0\), thread \(\d+, 0, 0\), dependent\.cu:10: early read of 4 bytes at 0x[0-9a-f]+, byte \d+ of an allocation of 256 bytes"));

    /// <summary>The kernel before has not ended either, so the one before that may still run.</summary>
    [Test]
    public void What_an_earlier_kernel_of_the_chain_wrote_is_not_read_before_the_wait() => Assert.That(
        Fault(chain =>
        {
            chain.Launch("step", 0, 1, waits: false);
            chain.Launch("step", 0, 2);
            chain.Launch("step", 0, 3);
            chain.Launch("reads_early", 1, 2);
        }),
        Does.Contain("kernel reads_early").And.Contain("early read of 4 bytes"));

    [Test]
    public void What_was_written_before_the_chain_may_be_read_early()
    {
        using var chain = new Chain(TestDevices.OpenChecked());
        chain.Launch("step", 0, 1, waits: false);
        chain.Launch("step", 0, 2, waits: false); // begins when the first has ended
        chain.Launch("reads_early", 1, 3);
        Assert.That(chain.Read(3), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (3f * i) + 1)));

        chain.Launch("step", 0, 1, waits: false);
        chain.Copy(1, 2);
        chain.Launch("reads_early", 1, 3);
        Assert.That(chain.Read(3), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (3f * i) + 1)));
    }

    [Test]
    public void Nothing_is_written_before_the_wait() => Assert.That(
        Fault(chain => chain.Launch("writes_early", 0, 1)), Does.Contain("kernel writes_early").And.Contain("dependent.cu:15: early write of 4 bytes"));

    /// <summary>Every thread that touches more has to wait itself: a barrier behind another's wait says nothing of memory.</summary>
    [Test]
    public void Another_threads_wait_does_not_count() => Assert.That(
        Fault(chain =>
        {
            chain.Launch("step", 0, 1, waits: false);
            chain.Launch("half_waits", 1, 2);
        }),
        Does.Contain("kernel half_waits").And.Contain("early read of 4 bytes"));

    [Test]
    public void A_dependent_kernel_that_never_waits_is_a_fault()
    {
        Assert.That(Fault(chain => chain.Launch("may_wait", 0, 1, flag: 0)), Does.Contain("kernel may_wait").And.Contain("no thread of it waited"));
        using var chain = new Chain(TestDevices.OpenChecked());
        chain.Launch("may_wait", 0, 1, flag: 0, waits: false);
        chain.Launch("may_wait", 0, 1, flag: 1);
        chain.Read(0);
    }

    /// <summary>A captured graph keeps the attribute, and with it the order.</summary>
    [Test]
    public void A_graph_keeps_dependent_launches([Values("step", "reads_early")] string last)
    {
        using var chain = new Chain(TestDevices.OpenChecked());
        using var graph = chain.Capture(() =>
        {
            chain.Launch("step", 0, 1, waits: false);
            chain.Launch("step", 1, 2);
            chain.Launch(last, 2, 3);
        });
        chain.Launch(graph);
        if (last == "step")
            Assert.That(chain.Read(3), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (4f * i) + 1)));
        else
            Assert.That(Assert.Throws<DeviceLostException>(() => chain.Read(3))!.Message, Does.Contain("kernel reads_early").And.Contain("early read of 4 bytes"));
    }

    /// <summary>Graphs begin when everything before them has ended.</summary>
    [Test]
    public void The_first_kernel_of_a_graph_depends_on_nothing()
    {
        using var chain = new Chain(TestDevices.OpenChecked());
        using var graph = chain.Capture(() => chain.Launch("reads_early", 1, 2));
        chain.Launch("step", 0, 1, waits: false);
        chain.Launch(graph);
        chain.Launch(graph);
        Assert.That(chain.Read(2), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (3f * i) + 1)));
    }

    /// <summary>A stream that was not asked for dependent launches has none.</summary>
    [Test]
    public void Streams_are_plain_unless_asked()
    {
        using var chain = new Chain(TestDevices.OpenChecked(), dependent: false);
        chain.Launch("step", 0, 1);
        chain.Launch("reads_early", 1, 2);
        Assert.That(chain.Read(2), Is.EqualTo(Enumerable.Range(0, Threads).Select(i => (3f * i) + 1)));
    }

    private static string Fault(Action<Chain> run)
    {
        using var chain = new Chain(TestDevices.OpenChecked());
        run(chain);
        return Assert.Throws<DeviceLostException>(() => chain.Read(0))!.Message;
    }

    /// <summary>A stream, the weights 0, 1, 2, …, and four vectors, the first of them i + 1.</summary>
    private sealed class Chain : IDisposable
    {
        private readonly GpuDevice _device;
        private readonly GpuStream _stream;
        private readonly DeviceBuffer<float> _weight;
        private readonly DeviceBuffer<float>[] _vectors;

        public Chain(GpuDevice device, bool dependent = true)
        {
            _device = device;
            if (!TestDevices.IsEmulator)
            {
                _device.Dispose();
                TestDevices.RequireEmulator("plants faults");
            }

            _stream = device.CreateStream(dependent);
            _weight = device.Upload<float>([.. Enumerable.Range(0, Threads).Select(i => (float)i)]);
            _vectors = [.. Enumerable.Range(0, 4).Select(_ => device.Upload<float>([.. Enumerable.Range(0, Threads).Select(i => i + 1f)]))];
        }

        public void Launch(string kernel, int from, int to, bool waits = true, long flag = 1) => _stream.Launch(
            _device.Compiler.Get<StepParams>(new(KernelSource.FromText("dependent.cu", Source), kernel)), 1, Threads,
            new StepParams { Weight = _weight.Address, X = _vectors[from].Address, Y = _vectors[to].Address, Waits = flag }, waits: waits);

        public void Launch(GpuGraph graph) => _stream.Launch(graph);

        public void Copy(int from, int to) => _stream.CopyDevice(_vectors[from].Memory, 0, _vectors[to].Memory, 0, Threads * sizeof(float));

        public GpuGraph Capture(Action work)
        {
            // Kernels are compiled and loaded before: a capture forbids that.
            foreach (var kernel in new[] { "step", "reads_early" })
                _ = _device.Compiler.Get<StepParams>(new(KernelSource.FromText("dependent.cu", Source), kernel)).Attributes;
            _stream.BeginCapture();
            work();
            return _stream.EndCapture([_weight.Memory, .. _vectors.Select(vector => vector.Memory)]);
        }

        public float[] Read(int vector)
        {
            _stream.Synchronize();
            return _vectors[vector].ToArray();
        }

        public void Dispose()
        {
            foreach (var vector in _vectors)
                vector.Dispose();
            _weight.Dispose();
            _stream.Dispose();
            _device.Dispose();
        }
    }
}
