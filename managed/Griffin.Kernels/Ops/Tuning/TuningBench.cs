using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>Gives a tuning run its operands: random numbers (zeros would run faster than real data), freed with the bench.</summary>
internal sealed class TuningBench(GpuStream stream) : IDisposable
{
    private const int PatternBytes = 1 << 20;
    private const int MostSets = 16;
    private const int CacheMultiple = 4;
    private const int MostCompared = 1 << 18;

    private readonly List<DeviceMemory> _memory = [];

    /// <summary>Where the runs are queued.</summary>
    public GpuStream Stream => stream;

    /// <summary>The device.</summary>
    public GpuDevice Device => stream.Device;

    /// <summary>Sets of operands of so many bytes to take in turn, so that none is still in the device's cache when its turn comes again.</summary>
    public int SetsFor(long bytes) => (int)Math.Clamp(CacheMultiple * (long)Device.Limits.L2CacheBytes / Math.Max(1, bytes), 1, MostSets);

    /// <summary>A matrix of numbers in ±1.</summary>
    public TensorView Operand(ElementType type, long rows, long columns)
    {
        DeviceMemory memory = Device.AllocateBytes(rows * columns * type.SizeOf());
        _memory.Add(memory);
        byte[] pattern = Pattern(type);
        for (long done = 0; done < memory.Bytes; done += pattern.Length)
            stream.CopyToDevice<byte>(pattern.AsSpan(0, (int)Math.Min(pattern.Length, memory.Bytes - done)), memory, done);
        return TensorView.Of(memory, 0, type, rows, columns);
    }

    /// <summary>Rows of as many tokens each, every one a document from its start.</summary>
    public PackedRows Rows(int rows, int length)
    {
        int[] steps = [.. Enumerable.Range(0, length)];
        return new(
            Integers([.. Enumerable.Repeat(steps, rows).SelectMany(row => row)]), Integers([.. Enumerable.Range(0, rows + 1).Select(row => row * length)]),
            Integers([.. Enumerable.Range(0, rows)]), Integers(new int[rows]));
    }

    /// <summary>Rows of one token each, at one position of documents whose states hold all that came before.</summary>
    public PackedRows Steps(int rows, int position)
    {
        int[] places = [.. Enumerable.Repeat(position, rows)];
        return new(Integers(places), Integers([.. Enumerable.Range(0, rows + 1)]), Integers([.. Enumerable.Range(0, rows)]), Integers(places));
    }

    /// <summary>Memory for an op to work in; nothing where none is needed.</summary>
    public TensorView Workspace(long bytes) => bytes == 0 ? TensorView.Empty : Output(ElementType.Float32, 1, (bytes + 3) / 4);

    /// <summary>Zeros for an op to count in; nothing where none are needed.</summary>
    public TensorView Zeros(long bytes)
    {
        if (bytes == 0) return TensorView.Empty;
        TensorView counters = Output(ElementType.UInt8, 1, bytes);
        stream.Fill(counters.Owner, 0, bytes, 0);
        return counters;
    }

    /// <summary>A matrix of NaN.</summary>
    public TensorView Output(ElementType type, long rows, long columns)
    {
        DeviceMemory memory = Device.AllocateBytes(rows * columns * type.SizeOf());
        _memory.Add(memory);
        stream.Fill(memory, 0, memory.Bytes, 0xff);
        return TensorView.Of(memory, 0, type, rows, columns);
    }

    /// <summary>The first and the last elements of a matrix, as float32.</summary>
    public float[] Ends(TensorView view)
    {
        int count = (int)Math.Min(view.Length, MostCompared);
        return [.. Read(view, 0, count), .. Read(view, view.Length - count, count)];
    }

    public void Dispose()
    {
        stream.Synchronize();
        foreach (DeviceMemory memory in _memory) memory.Dispose();
    }

    private TensorView Integers(int[] values)
    {
        DeviceMemory memory = Device.AllocateBytes(values.Length * sizeof(int));
        _memory.Add(memory);
        stream.CopyToDevice<int>(values, memory, 0);
        return TensorView.Of(memory, 0, ElementType.Int32, 1, values.Length);
    }

    private float[] Read(TensorView view, long first, int count)
    {
        long offset = first * view.Type.SizeOf();
        if (view.Type == ElementType.Float32)
        {
            float[] floats = new float[count];
            stream.CopyToHost<float>(view.Owner, offset, floats);
            return floats;
        }
        BFloat16[] halves = new BFloat16[count];
        stream.CopyToHost<BFloat16>(view.Owner, offset, halves);
        return [.. halves.Select(half => (float)half)];
    }

    private static byte[] Pattern(ElementType type)
    {
        byte[] bytes = new byte[PatternBytes];
        Random random = new(1);
        int elements = bytes.Length / type.SizeOf();
        for (int i = 0; i < elements; i++)
        {
            float value = 2 * random.NextSingle() - 1;
            if (type == ElementType.BFloat16) MemoryMarshal.Cast<byte, BFloat16>(bytes.AsSpan())[i] = (BFloat16)value;
            else MemoryMarshal.Cast<byte, float>(bytes.AsSpan())[i] = value;
        }
        return bytes;
    }
}
