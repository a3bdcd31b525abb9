using System.Runtime.InteropServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>
/// The rows of one call over sequences, all in device memory: row r is tokens row_start[r] … row_start[r+1]-1 and belongs to slot[r]. A
/// position is 0 where a document starts, the previous plus one within it, and -1 for padding, which leads a row only before position 0, or
/// trails it. seen[s] counts the tokens that slot s holds in its state; 0 means that nothing of the slot's memory is used. A slot appears in one row at most.
/// </summary>
public readonly struct PackedRows
{
    /// <summary>Binds the four arrays.</summary>
    /// <param name="positions">Int32 [tokens].</param>
    /// <param name="rowStart">Int32 [rows + 1], from 0 to tokens.</param>
    /// <param name="slots">Int32 [rows].</param>
    /// <param name="seen">Int32, one per slot of the state pool.</param>
    /// <exception cref="ArgumentException">A type or length is wrong.</exception>
    public PackedRows(TensorView positions, TensorView rowStart, TensorView slots, TensorView seen)
    {
        Tokens = Check.VectorLength(positions, ElementType.Int32);
        Rows = Check.VectorLength(slots, ElementType.Int32);
        Check.Vector(rowStart, ElementType.Int32, Rows + 1);
        Check.VectorLength(seen, ElementType.Int32);
        Params = new PackedRowsParams
        {
            Positions = positions.Address,
            RowStart = rowStart.Address,
            Slots = slots.Address,
            Seen = seen.Address,
            Tokens = Tokens,
            Rows = Rows,
        };
    }

    /// <summary>Tokens of the call.</summary>
    public int Tokens { get; }

    /// <summary>Rows of the call.</summary>
    public int Rows { get; }

    internal PackedRowsParams Params { get; }
}

/// <summary>One layer's part of the states in a pool.</summary>
/// <param name="Pool">The pool's memory.</param>
/// <param name="Address">Device address of the op's own part in slot 0.</param>
/// <param name="SlotStride">Bytes from slot to slot, a multiple of 16.</param>
public readonly record struct LayerState(DeviceMemory Pool, ulong Address, long SlotStride)
{
    /// <summary>No state: for calls whose rows are all fresh and whose end nobody needs, as in training.</summary>
    public static LayerState None => default;

    /// <summary>True for <see cref="None"/>.</summary>
    public bool IsNone => Pool is null;

    internal SlotMemoryParams Params => new() { Base = Address, Stride = SlotStride };
}

/// <summary>Mirror of PackedRows in rows.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct PackedRowsParams
{
    public ulong Positions;
    public ulong RowStart;
    public ulong Slots;
    public ulong Seen;
    public int Tokens;
    public int Rows;
}

/// <summary>Mirror of SlotMemory in rows.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SlotMemoryParams
{
    public ulong Base;
    public long Stride;
}
