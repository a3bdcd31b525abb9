using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// Gives a self-test its operands: the same numbers on every device, exact in bfloat16, so that both storage types have one expected
/// result; outputs start as NaN. The sizes suit the fast variants and leave ragged tails.
/// </summary>
internal sealed class SelfTestBench : IDisposable
{
    public const int Width = 64;
    public const int Heads = 4;
    public const int HeadDim = 64;
    public const int Rotated = 8;
    public const int GateBlocks = 4;
    public const int Taps = 4;
    public const int MlpWidth = 96;
    public const int Vocabulary = 48;
    public const int RingSlots = 9;
    public const int Slots = 2;

    /// <summary>Tokens of <see cref="Rows"/>.</summary>
    public const int Tokens = 13;

    // Row 0 goes on at position 3 of slot 1; row 1 holds a document and the start of the next, on a fresh slot 0.
    private static readonly int[] positions = [3, 4, 5, 6, 7, 8, 0, 1, 2, 3, 0, 1, 2];
    private static readonly int[] rowStart = [0, 6, Tokens];
    private static readonly int[] slots = [1, 0];
    private static readonly int[] seen = [0, 3];

    private readonly List<DeviceMemory> _memory = [];
    private uint _random = 12345;

    public SelfTestBench(GpuStream stream, ElementType type, string? variant) => (Stream, Type, Variant) = (stream, type, variant);

    /// <summary>The sizes, to list variants by.</summary>
    public static ModelDimensions Dimensions { get; } = new()
    {
        Width = Width,
        RnnWidth = Width,
        Heads = Heads,
        HeadDim = HeadDim,
        GateBlocks = GateBlocks,
        MlpWidth = MlpWidth,
        Vocabulary = Vocabulary,
        Window = RingSlots - 1,
        ConvTaps = Taps,
    };

    public GpuStream Stream { get; }

    public GpuDevice Device => Stream.Device;

    /// <summary>Type of stored elements.</summary>
    public ElementType Type { get; }

    /// <summary>The variant to force; null for the one the device chooses.</summary>
    public string? Variant { get; }

    /// <summary>A matrix of the storage type, uniform in ±<paramref name="scale"/> around <paramref name="center"/>.</summary>
    public TensorView Input(long rows, long columns, float scale = 1, float center = 0) => Fill(Type, rows, columns, scale, center);

    /// <summary>The same in float32.</summary>
    public TensorView Float32Input(long rows, long columns, float scale, float center = 0) => Fill(ElementType.Float32, rows, columns, scale, center);

    /// <summary>A vector of float32 numbers.</summary>
    public TensorView Float32Values(params ReadOnlySpan<float> values) => Upload(values, ElementType.Float32, 1, values.Length);

    /// <summary>A vector of integers.</summary>
    public TensorView Integers(params ReadOnlySpan<int> values) => Upload(values, ElementType.Int32, 1, values.Length);

    /// <summary>A matrix of NaN in the storage type.</summary>
    public TensorView Output(long rows, long columns) => Output(Type, rows, columns);

    /// <summary>A matrix of NaN.</summary>
    public TensorView Output(ElementType type, long rows, long columns)
    {
        DeviceMemory memory = Allocate(rows * columns * type.SizeOf());
        Stream.Fill(memory, 0, memory.Bytes, 0xff);
        return TensorView.Of(memory, 0, type, rows, columns);
    }

    /// <summary>A workspace of NaN; nothing where none is needed.</summary>
    public TensorView Workspace(long bytes) => bytes == 0 ? TensorView.Empty : Output(ElementType.Float32, 1, (bytes + 3) / 4);

    /// <summary>Zeros for an op to count in; nothing where none are needed.</summary>
    public TensorView Zeros(long bytes)
    {
        if (bytes == 0) return TensorView.Empty;
        TensorView counters = Output(ElementType.UInt8, 1, bytes);
        Stream.Fill(counters.Owner, 0, bytes, 0);
        return counters;
    }

    /// <summary>Two packed rows, one of them continued.</summary>
    public PackedRows Rows() => new(Positions(), Integers(rowStart), Integers(slots), Integers(seen));

    /// <summary>The positions of <see cref="Rows"/>.</summary>
    public TensorView Positions() => Integers(positions);

    /// <summary>One token for each slot: position 3 of slot 1, the first of slot 0.</summary>
    public PackedRows Steps() => Steps(seen[1]);

    /// <summary>One token for each slot: of slot 1 the one at a position, of slot 0 the first.</summary>
    public PackedRows Steps(int position) => new(Integers(position, 0), Integers(0, 1, 2), Integers(slots), Integers(0, position));

    /// <summary>A layer's state in every slot, from a matrix with a row for each.</summary>
    public static LayerState State(TensorView parts) => new(parts.Owner, parts.Address, parts.RowStride * parts.Type.SizeOf());

    /// <summary>Keys and values in every slot.</summary>
    public TensorView Ring(int ringSlots = RingSlots) => Input(Slots, 2L * ringSlots * HeadDim);

    /// <summary>The phases that turn <see cref="Rotated"/> channels.</summary>
    public TensorView Phases()
    {
        ulong[] phases = RotaryPhases.Compute(Rotated, 10000);
        return Upload<ulong>(phases, ElementType.UInt64, 1, phases.Length);
    }

    /// <summary>Rows to norm whose squares are said to have the mean 4, and scales of 1: normed, they are the rows again, exact in bfloat16.</summary>
    public NormedInput Normed(long rows, long columns) => new(Input(rows, columns, 3), Input(1, columns, 0, 1), Float32Input(rows, 4, 0, columns), 0);

    /// <summary>Waits, and reads a result as float32.</summary>
    public float[] Read(TensorView view)
    {
        int count = (int)view.Length;
        long offset = (long)(view.Address - view.Owner.Address);
        switch (view.Type)
        {
            case ElementType.Float32:
                float[] floats = new float[count];
                Stream.CopyToHost<float>(view.Owner, offset, floats);
                return floats;
            case ElementType.BFloat16:
                BFloat16[] halves = new BFloat16[count];
                Stream.CopyToHost<BFloat16>(view.Owner, offset, halves);
                return [.. halves.Select(half => (float)half)];
            default:
                int[] integers = new int[count];
                Stream.CopyToHost<int>(view.Owner, offset, integers);
                return [.. integers.Select(integer => (float)integer)];
        }
    }

    public void Dispose()
    {
        foreach (DeviceMemory memory in _memory) memory.Dispose();
    }

    private TensorView Fill(ElementType type, long rows, long columns, float scale, float center)
    {
        BFloat16[] values = new BFloat16[rows * columns];
        for (int i = 0; i < values.Length; i++)
        {
            _random = 1664525u * _random + 1013904223u;
            values[i] = (BFloat16)(center + scale * ((_random >> 8) / 8388608f - 1));
        }

        return type == ElementType.BFloat16
            ? Upload<BFloat16>(values, type, rows, columns)
            : Upload<float>([.. values.Select(value => (float)value)], type, rows, columns);
    }

    private TensorView Upload<T>(ReadOnlySpan<T> values, ElementType type, long rows, long columns) where T : unmanaged
    {
        DeviceMemory memory = Allocate(MemoryMarshal.AsBytes(values).Length);
        Stream.CopyToDevice(values, memory);
        return TensorView.Of(memory, 0, type, rows, columns);
    }

    private DeviceMemory Allocate(long bytes)
    {
        DeviceMemory memory = Device.AllocateBytes(bytes);
        _memory.Add(memory);
        return memory;
    }
}
