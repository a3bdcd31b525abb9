namespace Griffin.Kernels.Runtime;

/// <summary>
/// A borrowed two-dimensional view of device memory with a run-time element type: what ops take. Elements of a row are adjacent; rows are
/// <see cref="RowStride"/> elements apart. The view does not keep the memory alive.
/// </summary>
public readonly struct TensorView : IEquatable<TensorView>
{
    private readonly DeviceMemory? _owner;

    private TensorView(DeviceMemory owner, ulong address, ElementType type, long rows, long columns, long rowStride)
    {
        _owner = owner;
        Address = address;
        Type = type;
        Rows = rows;
        Columns = columns;
        RowStride = rowStride;
    }

    /// <summary>The view of nothing: stands for an argument that is left out.</summary>
    public static TensorView Empty => default;

    /// <summary>The memory viewed.</summary>
    /// <exception cref="InvalidOperationException">The view is <see cref="Empty"/>.</exception>
    public DeviceMemory Owner => _owner ?? throw new InvalidOperationException("An empty view has no owner.");

    /// <summary>Device address of the first element; 0 when empty.</summary>
    public ulong Address { get; }

    /// <summary>Type of the elements.</summary>
    public ElementType Type { get; }

    /// <summary>Number of rows.</summary>
    public long Rows { get; }

    /// <summary>Elements in a row.</summary>
    public long Columns { get; }

    /// <summary>Elements from the start of a row to the start of the next.</summary>
    public long RowStride { get; }

    /// <summary>True for <see cref="Empty"/>; a view of zero rows of real memory is not empty.</summary>
    public bool IsEmpty => _owner is null;

    /// <summary>Rows · columns.</summary>
    public long Length => Rows * Columns;

    /// <summary>Views part of an allocation.</summary>
    /// <param name="owner">The memory.</param>
    /// <param name="byteOffset">Where the first element lies; a multiple of the element size.</param>
    /// <param name="type">Type of the elements.</param>
    /// <param name="rows">Number of rows, 0 or more.</param>
    /// <param name="columns">Elements in a row, 0 or more.</param>
    /// <param name="rowStride">Elements between row starts, at least <paramref name="columns"/>; null for adjacent rows.</param>
    /// <exception cref="ArgumentException">The view is misaligned, overlapping itself, or not within the memory.</exception>
    public static TensorView Of(DeviceMemory owner, long byteOffset, ElementType type, long rows, long columns, long? rowStride = null)
    {
        ArgumentNullException.ThrowIfNull(owner);
        ArgumentOutOfRangeException.ThrowIfNegative(rows);
        ArgumentOutOfRangeException.ThrowIfNegative(columns);
        long stride = rowStride ?? columns;
        if (stride < columns) throw new ArgumentException($"A row stride of {stride} is less than the {columns} columns.", nameof(rowStride));
        int size = type.SizeOf();
        if (byteOffset % size != 0) throw new ArgumentException($"Byte offset {byteOffset} is not a multiple of the element size {size}.", nameof(byteOffset));
        long elements = rows == 0 || columns == 0 ? 0 : checked((rows - 1) * stride + columns);
        owner.CheckRange(byteOffset, checked(elements * size));
        return new(owner, owner.Address + (ulong)byteOffset, type, rows, columns, stride);
    }

    /// <summary>Some of the rows.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The rows are not all in this view.</exception>
    public TensorView RowRange(long start, long count)
    {
        CheckPart(start, count, Rows);
        return new(Owner, Address + (ulong)(start * RowStride * Type.SizeOf()), Type, count, Columns, RowStride);
    }

    /// <summary>Some of the columns of every row.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The columns are not all in this view.</exception>
    public TensorView ColumnRange(long start, long count)
    {
        CheckPart(start, count, Columns);
        return new(Owner, Address + (ulong)(start * Type.SizeOf()), Type, Rows, count, RowStride);
    }

    /// <summary>All elements as one row.</summary>
    /// <exception cref="InvalidOperationException">There are gaps between the rows.</exception>
    public TensorView AsVector()
    {
        if (Rows > 1 && RowStride != Columns) throw new InvalidOperationException($"{this} has gaps between its rows.");
        return new(Owner, Address, Type, 1, Length, Length);
    }

    /// <summary>Compares place and shape.</summary>
    public bool Equals(TensorView other) =>
        ReferenceEquals(_owner, other._owner) && Address == other.Address && Type == other.Type && Rows == other.Rows && Columns == other.Columns && RowStride == other.RowStride;

    /// <inheritdoc/>
    public override bool Equals(object? obj) => obj is TensorView other && Equals(other);

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Address, Type, Rows, Columns, RowStride);

    /// <inheritdoc/>
    public override string ToString() => IsEmpty ? "empty" : $"{Type}[{Rows}, {Columns}] stride {RowStride}";

    /// <summary>Compares place and shape.</summary>
    public static bool operator ==(TensorView left, TensorView right) => left.Equals(right);

    /// <summary>Compares place and shape.</summary>
    public static bool operator !=(TensorView left, TensorView right) => !left.Equals(right);

    private static void CheckPart(long start, long count, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(count);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, length - count, nameof(count));
    }
}
