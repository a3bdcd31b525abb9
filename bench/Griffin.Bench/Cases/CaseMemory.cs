using System.Runtime.InteropServices;
using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>The device memory of one copy of a case: inputs drawn with seeds 1, 2, 3 … in the order in which they are asked for, poisoned outputs.</summary>
/// <param name="stream">Where it is filled.</param>
/// <param name="draw">Makes the inputs.</param>
/// <param name="timed">The row at the sizes that are timed.</param>
/// <param name="isGate">Whether this copy is checked, at reduced sizes.</param>
internal sealed class CaseMemory(GpuStream stream, DeviceDraw draw, BenchRow timed, bool isGate) : IDisposable
{
    private const byte Poison = 0xff;   // NaN in every floating-point type

    private readonly List<DeviceMemory> _owned = [];
    private uint _seed;

    public GpuDevice Device => stream.Device;

    public GpuStream Stream => stream;

    public DeviceDraw Draw => draw;

    /// <summary>The row's storage type.</summary>
    public ElementType Type => timed.Type;

    /// <summary>Whether this copy is checked, at a reduced shape with resets and ragged tails, rather than timed.</summary>
    public bool IsGate => isGate;

    public long Bytes => _owned.Sum(memory => memory.Bytes);

    /// <summary>An op; where it is checked, the variant of it that the timed sizes take is forced.</summary>
    /// <param name="make">Makes the op with a variant forced, or none.</param>
    /// <param name="variant">The variant that an op takes for a row's sizes; null where there is no choice.</param>
    public T Op<T>(Func<string?, T> make, Func<T, BenchRow, string?> variant)
    {
        T op = make(null);
        return IsGate && variant(op, timed) is { } forced ? make(forced) : op;
    }

    /// <summary>A drawn matrix of the row's type.</summary>
    public TensorView Input(long rows, long columns, InputRule? rule = null, ElementType? of = null)
    {
        TensorView view = New(rows, columns, of ?? Type);
        draw.Fill(stream, view, ++_seed, rule ?? InputRules.Activation);
        return view;
    }

    /// <summary>A drawn vector.</summary>
    public TensorView Vector(long length, InputRule rule, ElementType? of = null) => Input(1, length, rule, of);

    /// <summary>Drawn whole numbers below a bound.</summary>
    public TensorView Below(long length, long bound)
    {
        TensorView view = New(1, length, ElementType.Int32);
        draw.FillBelow(stream, view, ++_seed, checked((int)bound));
        return view;
    }

    /// <summary>A matrix of NaN, to be written.</summary>
    public TensorView Output(long rows, long columns, ElementType? of = null) => Filled(rows, columns, of ?? Type, Poison);

    /// <summary>Zeros, for results that are added to and for what the contract wants zero.</summary>
    public TensorView Zeros(long rows, long columns, ElementType of) => Filled(rows, columns, of, 0);

    /// <summary>Given numbers.</summary>
    public TensorView Given<T>(ReadOnlySpan<T> values) where T : unmanaged
    {
        DeviceMemory memory = Own(Device.AllocateBytes(Math.Max(1, MemoryMarshal.AsBytes(values).Length)));
        stream.CopyToDevice(values, memory);
        return TensorView.Of(memory, 0, ElementTypes.Of<T>(), 1, values.Length);
    }

    /// <summary>Poisoned workspace; empty for no bytes.</summary>
    public TensorView Workspace(long bytes) => bytes == 0 ? TensorView.Empty : Filled(1, bytes, ElementType.UInt8, Poison);

    /// <summary>The call's rows, row r in slot r; every slot is fresh, or has seen what is given.</summary>
    public PackedRows Rows(Sequences sequences, IEnumerable<int>? seen = null) =>
        Rows(Given<int>(sequences.Positions), sequences, Given<int>([.. seen ?? new int[sequences.Rows.Count]]));

    /// <summary>The call's rows over arrays that the case keeps at hand.</summary>
    public PackedRows Rows(TensorView positions, Sequences sequences, TensorView seen) =>
        new(positions, Given<int>(sequences.RowStart), Given<int>([.. Enumerable.Range(0, sequences.Rows.Count)]), seen);

    /// <summary>A layer's states: a matrix with a row for each slot, rows apart by a multiple of 16 bytes.</summary>
    public static LayerState State(TensorView slots) => new(slots.Owner, slots.Address, slots.RowStride * slots.Type.SizeOf());

    /// <summary>A view's numbers on the host, once all queued work is done.</summary>
    public double[] Read(TensorView view)
    {
        if (view.Rows > 1 && view.RowStride != view.Columns) throw new ArgumentException("Only adjacent rows are read.", nameof(view));
        stream.Synchronize();
        long offset = (long)(view.Address - view.Owner.Address);
        return view.Type switch
        {
            ElementType.BFloat16 => Array.ConvertAll(Copy<BFloat16>(), value => (double)(float)value),
            ElementType.Float32 => Array.ConvertAll(Copy<float>(), value => (double)value),
            ElementType.Int32 => Array.ConvertAll(Copy<int>(), value => (double)value),
            _ => throw new ArgumentException($"{view.Type} is not read.", nameof(view)),
        };

        T[] Copy<T>() where T : unmanaged
        {
            T[] values = new T[view.Length];
            stream.CopyToHost<T>(view.Owner, offset, values);
            return values;
        }
    }

    public void Dispose()
    {
        foreach (DeviceMemory memory in _owned) memory.Dispose();
    }

    private TensorView Filled(long rows, long columns, ElementType of, byte value)
    {
        TensorView view = New(rows, columns, of);
        stream.Fill(view.Owner, 0, view.Owner.Bytes, value);
        return view;
    }

    private TensorView New(long rows, long columns, ElementType of) =>
        TensorView.Of(Own(Device.AllocateBytes(Math.Max(1, rows * columns * of.SizeOf()))), 0, of, rows, columns);

    private DeviceMemory Own(DeviceMemory memory)
    {
        _owned.Add(memory);
        return memory;
    }
}
