namespace Griffin.Kernels.Runtime;

/// <summary>Types of the elements in device memory.</summary>
public enum ElementType
{
    /// <summary>32-bit floating point.</summary>
    Float32,
    /// <summary>bfloat16.</summary>
    BFloat16,
    /// <summary>16-bit IEEE floating point.</summary>
    Float16,
    /// <summary>32-bit signed integer.</summary>
    Int32,
    /// <summary>64-bit signed integer.</summary>
    Int64,
    /// <summary>Byte.</summary>
    UInt8,
    /// <summary>32-bit unsigned integer.</summary>
    UInt32,
    /// <summary>64-bit unsigned integer.</summary>
    UInt64,
}

/// <summary>What is known about each <see cref="ElementType"/>; the only place where managed types and element types meet.</summary>
public static class ElementTypes
{
    /// <summary>Bytes of one element.</summary>
    public static int SizeOf(this ElementType type) => type switch
    {
        ElementType.UInt8 => 1,
        ElementType.BFloat16 or ElementType.Float16 => 2,
        ElementType.Float32 or ElementType.Int32 or ElementType.UInt32 => 4,
        ElementType.Int64 or ElementType.UInt64 => 8,
        _ => throw Unknown(type),
    };

    /// <summary>The type's name in kernel source, for name expressions: "f32", "bf16", "i32" …</summary>
    public static string CudaName(this ElementType type) => type switch
    {
        ElementType.Float32 => "f32",
        ElementType.BFloat16 => "bf16",
        ElementType.Float16 => "f16",
        ElementType.Int32 => "i32",
        ElementType.Int64 => "i64",
        ElementType.UInt8 => "u8",
        ElementType.UInt32 => "u32",
        ElementType.UInt64 => "u64",
        _ => throw Unknown(type),
    };

    /// <summary>The element type of a managed type.</summary>
    /// <exception cref="NotSupportedException"><typeparamref name="T"/> has none.</exception>
    public static ElementType Of<T>() where T : unmanaged
    {
        if (typeof(T) == typeof(float)) return ElementType.Float32;
        if (typeof(T) == typeof(BFloat16)) return ElementType.BFloat16;
        if (typeof(T) == typeof(Half)) return ElementType.Float16;
        if (typeof(T) == typeof(int)) return ElementType.Int32;
        if (typeof(T) == typeof(long)) return ElementType.Int64;
        if (typeof(T) == typeof(byte)) return ElementType.UInt8;
        if (typeof(T) == typeof(uint)) return ElementType.UInt32;
        if (typeof(T) == typeof(ulong)) return ElementType.UInt64;
        throw new NotSupportedException($"{typeof(T)} is not an element type; use float, BFloat16, Half, int, long, byte, uint or ulong.");
    }

    private static ArgumentOutOfRangeException Unknown(ElementType type) => new(nameof(type), type, "Unknown element type.");
}
