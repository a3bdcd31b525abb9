using System.Diagnostics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>How a tensor copy places the rows of its box in shared memory: 16-byte pieces exchanged within spans of so many bytes.</summary>
public enum TensorSwizzle
{
    /// <summary>One after another.</summary>
    None = 0,

    /// <summary>Within 32 bytes.</summary>
    Bytes32 = 1,

    /// <summary>Within 64 bytes.</summary>
    Bytes64 = 2,

    /// <summary>Within 128 bytes.</summary>
    Bytes128 = 3,
}

/// <summary>
/// A tensor in device memory, and the box of it that one bulk copy brings, in the driver's own form: TensorMap of bulk_copy.cuh. It goes to a
/// kernel within its parameter struct, at a multiple of 64 bytes, and does not keep the memory alive.
/// </summary>
[StructLayout(LayoutKind.Sequential, Size = Bytes)]
[DebuggerDisplay("TensorMap")]
public unsafe struct TensorMap
{
    private const int Bytes = 128, Alignment = 64, MaxRank = 5;

    private fixed ulong _words[Bytes / sizeof(ulong)];

    /// <summary>The map of a matrix.</summary>
    /// <param name="device">Where it lies; its limits allow tensor copies.</param>
    /// <param name="matrix">The matrix: its address and row stride are multiples of 16 bytes.</param>
    /// <param name="boxRows">Rows of the box, 256 at most.</param>
    /// <param name="boxColumns">Columns of the box, in all as many bytes as the swizzle has, without one a multiple of 16.</param>
    /// <param name="swizzle">How the box lies in shared memory.</param>
    /// <exception cref="ArgumentException">The driver refuses such a map.</exception>
    public static TensorMap Of(GpuDevice device, in TensorView matrix, int boxRows, int boxColumns, TensorSwizzle swizzle)
    {
        int aligned = 16 / matrix.Type.SizeOf();
        long stride = matrix.Rows > 1 ? matrix.RowStride : (matrix.Columns + aligned - 1) / aligned * aligned;   // of one row, anything will do
        return Of(device, matrix.Type, matrix.Address, [matrix.Columns, matrix.Rows], [stride], [boxColumns, boxRows], swizzle);
    }

    /// <summary>The map of any tensor.</summary>
    /// <param name="device">Where it lies; its limits allow tensor copies.</param>
    /// <param name="type">Type of the elements: float32, bfloat16 or float16.</param>
    /// <param name="address">Device address of the first element.</param>
    /// <param name="dimensions">Elements of each dimension, innermost first.</param>
    /// <param name="strides">Elements from one to the next of each dimension but the innermost.</param>
    /// <param name="box">Elements of the box in each dimension.</param>
    /// <param name="swizzle">How the box lies in shared memory.</param>
    /// <exception cref="ArgumentException">The driver refuses such a map.</exception>
    public static TensorMap Of(GpuDevice device, ElementType type, ulong address, ReadOnlySpan<long> dimensions, ReadOnlySpan<long> strides, ReadOnlySpan<int> box, TensorSwizzle swizzle)
    {
        ArgumentNullException.ThrowIfNull(device);
        int rank = dimensions.Length;
        if (rank is 0 or > MaxRank || strides.Length != rank - 1 || box.Length != rank)
            throw new ArgumentException($"A tensor map has 1 to {MaxRank} dimensions, one stride less and as many sides of a box.", nameof(dimensions));
        if (swizzle != TensorSwizzle.None && box[0] * type.SizeOf() != 16 << (int)swizzle)
            throw new ArgumentException($"A box of rows of {box[0] * type.SizeOf()} bytes does not fit the swizzle {swizzle}.", nameof(box));
        ulong* sizes = stackalloc ulong[MaxRank];
        ulong* distances = stackalloc ulong[MaxRank];
        uint* sides = stackalloc uint[MaxRank];
        for (int d = 0; d < rank; d++)
        {
            sizes[d] = checked((ulong)dimensions[d]);
            sides[d] = checked((uint)box[d]);
            if (d > 0) distances[d - 1] = checked((ulong)(strides[d - 1] * type.SizeOf()));
        }
        byte* storage = stackalloc byte[Bytes + Alignment];
        void* map = storage + ((Alignment - ((nuint)storage % Alignment)) % Alignment);
        DeviceContext context = device.Enter();
        CudaResult result = context.Driver.TensorMapEncodeTiled(map, NativeType(type), (uint)rank, address, sizes, distances, sides, (int)swizzle);
        if (result == CudaResult.InvalidValue)
            throw new ArgumentException($"The driver has no tensor map for {type} [{string.Join(", ", dimensions.ToArray())}] at {address:x}, strides [{string.Join(", ", strides.ToArray())}], box [{string.Join(", ", box.ToArray())}].");
        context.Check(result, "cuTensorMapEncodeTiled");
        return Unsafe.ReadUnaligned<TensorMap>(map);
    }

    private static int NativeType(ElementType type) => type switch
    {
        ElementType.Float16 => 6,
        ElementType.Float32 => 7,
        ElementType.BFloat16 => 9,
        _ => throw new ArgumentException($"There are no tensor maps of {type}.", nameof(type)),
    };
}
