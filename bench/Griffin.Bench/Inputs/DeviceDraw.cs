using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Inputs;

/// <summary>Fills device memory with what <see cref="InputRule.At"/> and <see cref="Generator.Below"/> give, and runs the ceilings of memory.</summary>
public sealed class DeviceDraw
{
    private const int Threads = 256, CopyPieces = 4, ReadPieces = 8, PieceBytes = 16;

    private static readonly KernelSource source = KernelSource.FromText("generate.cu", ReadSource());

    private readonly GpuDevice _device;
    private readonly Dictionary<(ElementType, bool), GpuKernel<DrawParams>> _floats = [];

    /// <summary>Binds a device; kernels are compiled when they are first used.</summary>
    public DeviceDraw(GpuDevice device) => _device = device;

    /// <summary>Blocks of the sum, each of which leaves one float32.</summary>
    public int ReadBlocks => 8 * _device.Limits.MultiprocessorCount;

    /// <summary>Queues drawing a tensor of adjacent rows; element indices go on from <paramref name="first"/>.</summary>
    public void Fill(GpuStream stream, in TensorView view, uint seed, InputRule rule, long first = 0)
    {
        if (!_floats.TryGetValue((view.Type, rule.IsUniform), out GpuKernel<DrawParams>? kernel))
            _floats[(view.Type, rule.IsUniform)] = kernel = Kernel<DrawParams>($"draw_floats<{view.Type.CudaName()}, {(rule.IsUniform ? "true" : "false")}>");
        Launch(stream, kernel, view, new() { Seed = seed, Factor = rule.Factor, Shift = rule.Shift, First = first });
    }

    /// <summary>Queues drawing int32 numbers below <paramref name="bound"/>.</summary>
    public void FillBelow(GpuStream stream, in TensorView view, uint seed, int bound) =>
        Launch(stream, Kernel<DrawParams>("draw_integers<0>"), view, new() { Seed = seed, Bound = (uint)bound });

    /// <summary>Queues y = x, in 16-byte pieces.</summary>
    public void Copy(GpuStream stream, in TensorView x, in TensorView y)
    {
        long pieces = x.Length * x.Type.SizeOf() / PieceBytes;
        StreamParams parameters = new() { X = x.Address, Y = y.Address, Pieces = pieces };
        stream.Launch(Kernel<StreamParams>($"copy<{CopyPieces}>"), checked((int)((pieces - 1) / (Threads * CopyPieces) + 1)), Threads, parameters);
    }

    /// <summary>Queues the sums of <see cref="ReadBlocks"/> parts of x.</summary>
    public void Read(GpuStream stream, in TensorView x, in TensorView sums)
    {
        StreamParams parameters = new() { X = x.Address, Y = sums.Address, Pieces = x.Length * x.Type.SizeOf() / PieceBytes };
        stream.Launch(Kernel<StreamParams>($"read<{ReadPieces}>"), ReadBlocks, Threads, parameters);
    }

    private void Launch(GpuStream stream, GpuKernel<DrawParams> kernel, in TensorView view, DrawParams parameters)
    {
        if (view.Rows > 1 && view.RowStride != view.Columns) throw new ArgumentException("Only adjacent rows are drawn.", nameof(view));
        parameters.X = view.Address;
        parameters.Count = view.Length;
        long blocks = Math.Min((view.Length - 1) / Threads + 1, 32L * _device.Limits.MultiprocessorCount);
        stream.Launch(kernel, (int)blocks, Threads, parameters);
    }

    private GpuKernel<TParams> Kernel<TParams>(string name) where TParams : unmanaged => _device.Compiler.Get<TParams>(new(source, name));

    private static string ReadSource()
    {
        using StreamReader reader = new(typeof(DeviceDraw).Assembly.GetManifestResourceStream("generate.cu")!);
        return reader.ReadToEnd();
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct DrawParams
    {
        public ulong X;
        public long Count;
        public long First;
        public uint Seed;
        public float Factor;
        public float Shift;
        public uint Bound;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct StreamParams
    {
        public ulong X;
        public ulong Y;
        public long Pieces;
    }
}
