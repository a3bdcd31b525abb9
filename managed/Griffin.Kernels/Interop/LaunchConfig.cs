using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>Geometry and stream of a launch, laid out as <c>CUlaunchConfig</c> (CUDA 11.8 and newer).</summary>
[StructLayout(LayoutKind.Sequential)]
public unsafe struct LaunchConfig : IEquatable<LaunchConfig>
{
    /// <summary>Blocks in x.</summary>
    public uint GridX { get; init; }
    /// <summary>Blocks in y.</summary>
    public uint GridY { get; init; }
    /// <summary>Blocks in z.</summary>
    public uint GridZ { get; init; }
    /// <summary>Threads of a block in x.</summary>
    public uint BlockX { get; init; }
    /// <summary>Threads of a block in y.</summary>
    public uint BlockY { get; init; }
    /// <summary>Threads of a block in z.</summary>
    public uint BlockZ { get; init; }
    /// <summary>Dynamic shared memory of a block, in bytes.</summary>
    public uint DynamicSharedBytes { get; init; }
    /// <summary>The stream handle (<c>CUstream</c>).</summary>
    public nint Stream { get; init; }
    /// <summary>Launch attributes (<c>CUlaunchAttribute*</c>), or null.</summary>
    public nint Attributes { get; init; }
    /// <summary>Number of launch attributes.</summary>
    public uint AttributeCount { get; init; }

    /// <inheritdoc/>
    public readonly bool Equals(LaunchConfig other) =>
        (GridX, GridY, GridZ, BlockX, BlockY, BlockZ, DynamicSharedBytes, Stream, Attributes, AttributeCount)
        == (other.GridX, other.GridY, other.GridZ, other.BlockX, other.BlockY, other.BlockZ, other.DynamicSharedBytes, other.Stream, other.Attributes, other.AttributeCount);

    /// <inheritdoc/>
    public override readonly bool Equals(object? obj) => obj is LaunchConfig other && Equals(other);

    /// <inheritdoc/>
    public override readonly int GetHashCode() => HashCode.Combine(GridX, GridY, GridZ, BlockX, BlockY, BlockZ, DynamicSharedBytes, Stream);

    /// <summary>Compares two configurations field by field.</summary>
    public static bool operator ==(LaunchConfig left, LaunchConfig right) => left.Equals(right);

    /// <summary>Compares two configurations field by field.</summary>
    public static bool operator !=(LaunchConfig left, LaunchConfig right) => !left.Equals(right);
}
