namespace Griffin.Kernels.Runtime;

/// <summary>A borrowed, typed, contiguous view of device memory, modelled on <see cref="Span{T}"/>: it cannot outlive the stack frame that holds it.</summary>
/// <typeparam name="T">Element type.</typeparam>
public readonly ref struct DeviceView<T> where T : unmanaged
{
    internal DeviceView(DeviceMemory owner, long byteOffset, long length) => (Owner, ByteOffset, Length) = (owner, byteOffset, length);

    /// <summary>The memory viewed.</summary>
    public DeviceMemory Owner { get; }

    /// <summary>Where the view starts in <see cref="Owner"/>.</summary>
    public long ByteOffset { get; }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>Device address of the first element.</summary>
    public ulong Address => Owner.Address + (ulong)ByteOffset;

    /// <summary>Bytes viewed.</summary>
    public unsafe long Bytes => Length * sizeof(T);

    /// <summary>Part of the view.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part is not within the view.</exception>
    public DeviceView<T> Slice(long start, long length)
    {
        ReadOnlyDeviceView<T> part = ((ReadOnlyDeviceView<T>)this).Slice(start, length);
        return new(part.Owner, part.ByteOffset, part.Length);
    }

    /// <summary>The same memory, read only.</summary>
    public static implicit operator ReadOnlyDeviceView<T>(DeviceView<T> view) => new(view.Owner, view.ByteOffset, view.Length);

    /// <summary>The same memory as a tensor of <paramref name="rows"/> equal rows.</summary>
    public TensorView AsTensor(long rows = 1) => ((ReadOnlyDeviceView<T>)this).AsTensor(rows);
}

/// <summary>As <see cref="DeviceView{T}"/>, not to be written.</summary>
/// <typeparam name="T">Element type.</typeparam>
public readonly ref struct ReadOnlyDeviceView<T> where T : unmanaged
{
    internal ReadOnlyDeviceView(DeviceMemory owner, long byteOffset, long length) => (Owner, ByteOffset, Length) = (owner, byteOffset, length);

    /// <summary>The memory viewed.</summary>
    public DeviceMemory Owner { get; }

    /// <summary>Where the view starts in <see cref="Owner"/>.</summary>
    public long ByteOffset { get; }

    /// <summary>Number of elements.</summary>
    public long Length { get; }

    /// <summary>Device address of the first element.</summary>
    public ulong Address => Owner.Address + (ulong)ByteOffset;

    /// <summary>Bytes viewed.</summary>
    public unsafe long Bytes => Length * sizeof(T);

    /// <summary>Part of the view.</summary>
    /// <exception cref="ArgumentOutOfRangeException">The part is not within the view.</exception>
    public unsafe ReadOnlyDeviceView<T> Slice(long start, long length)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(start);
        ArgumentOutOfRangeException.ThrowIfNegative(length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(start, Length - length, nameof(length));
        return new(Owner, ByteOffset + start * sizeof(T), length);
    }

    /// <summary>The same memory as a tensor of <paramref name="rows"/> equal rows.</summary>
    /// <exception cref="ArgumentException">The length is not a multiple of <paramref name="rows"/>.</exception>
    public TensorView AsTensor(long rows = 1)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(rows);
        if (Length % rows != 0) throw new ArgumentException($"{Length} elements do not make {rows} equal rows.", nameof(rows));
        return TensorView.Of(Owner, ByteOffset, ElementTypes.Of<T>(), rows, Length / rows);
    }
}
