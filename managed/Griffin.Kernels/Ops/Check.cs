using System.Runtime.CompilerServices;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>Argument checks of ops: type, then shape, then alignment and overlap, each with one line that names the argument.</summary>
internal static class Check
{
    /// <summary>A matrix of a type and width with any number of rows.</summary>
    /// <returns>The number of rows.</returns>
    public static int Matrix(in TensorView view, ElementType type, long columns, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        OfType(view, type, name);
        if (view.Columns != columns) throw new ArgumentException($"{name} has {view.Columns} columns where {columns} are needed.", name);
        if (view.Rows > int.MaxValue) throw new ArgumentException($"{name} has {view.Rows} rows; one call takes {int.MaxValue} at most.", name);
        return (int)view.Rows;
    }

    /// <summary>A matrix of a type and shape.</summary>
    public static void Matrix(in TensorView view, ElementType type, long rows, long columns, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        Matrix(view, type, columns, name);
        if (view.Rows != rows) throw new ArgumentException($"{name} has {view.Rows} rows where {rows} are needed.", name);
    }

    /// <summary>A vector (one row) of a type and length.</summary>
    public static void Vector(in TensorView view, ElementType type, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (VectorLength(view, type, name) != length) throw new ArgumentException($"{name} has {view.Columns} elements where {length} are needed.", name);
    }

    /// <summary>A vector of a type and length, or nothing.</summary>
    public static void OptionalVector(in TensorView view, ElementType type, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (!view.IsEmpty) Vector(view, type, length, name);
    }

    /// <summary>A vector (one row) of a type and any length.</summary>
    /// <returns>Its length.</returns>
    public static int VectorLength(in TensorView view, ElementType type, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        long length = FlatLength(view, type, name);
        if (length > int.MaxValue) throw new ArgumentException($"{name} has {length} elements; one call takes {int.MaxValue} at most.", name);
        return (int)length;
    }

    /// <summary>One row of a type and a length that may be past 2³¹: a flat arena.</summary>
    /// <returns>Its length.</returns>
    public static long FlatLength(in TensorView view, ElementType type, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        OfType(view, type, name);
        if (view.Rows != 1) throw new ArgumentException($"{name} has {view.Rows} rows where a vector is needed.", name);
        return view.Columns;
    }

    /// <summary>One row of a type and a length that may be past 2³¹.</summary>
    public static void Flat(in TensorView view, ElementType type, long length, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (FlatLength(view, type, name) != length) throw new ArgumentException($"{name} has {view.Columns} elements where {length} are needed.", name);
    }

    /// <summary>A matrix of a type and shape whose rows lie one after another without a gap.</summary>
    public static void AdjacentRows(in TensorView view, ElementType type, long rows, long columns, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        Matrix(view, type, rows, columns, name);
        if (view.RowStride != columns && rows > 1) throw new ArgumentException($"{name} must have adjacent rows, not a stride of {view.RowStride}.", name);
    }

    /// <summary>A float32 factor for each row where they are asked for, nothing where they are not.</summary>
    public static void RowFactors(in TensorView view, bool wanted, int rows, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (wanted) Vector(view, ElementType.Float32, rows, name);
        else if (!view.IsEmpty) throw new ArgumentException($"{name} are given to an op that was made without row factors.", name);
    }

    /// <summary>Rows of one token each.</summary>
    public static void OneTokenPerRow(in PackedRows rows, [CallerArgumentExpression(nameof(rows))] string name = "")
    {
        if (rows.Tokens != rows.Rows) throw new ArgumentException($"{name} has {rows.Tokens} tokens in {rows.Rows} rows; a step takes one in each.", name);
    }

    /// <summary>A view whose rows a kernel moves <paramref name="vector"/> elements at a time.</summary>
    public static void Aligned(in TensorView view, int vector, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (vector == 1 || view.IsEmpty) return;
        int bytes = vector * view.Type.SizeOf();
        if (view.Address % (ulong)bytes != 0 || (view.Rows > 1 && view.RowStride % vector != 0))
            throw new ArgumentException($"{name} must have rows aligned to {bytes} bytes for this variant.", name);
    }

    /// <summary>A layer's state of at least so many bytes per slot, aligned for 16-byte accesses.</summary>
    public static void State(in LayerState state, long bytes, [CallerArgumentExpression(nameof(state))] string name = "")
    {
        if (state.Pool is null || state.Address == 0) throw new ArgumentException($"{name} has no memory.", name);
        if (state.Address % 16 != 0 || state.SlotStride % 16 != 0) throw new ArgumentException($"{name} must be aligned to 16 bytes in every slot.", name);
        if (state.SlotStride < bytes) throw new ArgumentException($"{name} has slots of {state.SlotStride} bytes; {bytes} are needed.", name);
    }

    /// <summary>One row of at least so many bytes of any type, aligned for 16-byte accesses.</summary>
    public static void Workspace(in TensorView view, long bytes, [CallerArgumentExpression(nameof(view))] string name = "")
    {
        if (view.Rows != 1 || view.Length * view.Type.SizeOf() < bytes || view.Address % 16 != 0)
            throw new ArgumentException($"{name} must be one row of at least {bytes} bytes, aligned to 16 bytes.", name);
    }

    /// <summary>Two views that share no element.</summary>
    public static void Distinct(in TensorView a, in TensorView b, [CallerArgumentExpression(nameof(a))] string first = "", [CallerArgumentExpression(nameof(b))] string second = "")
    {
        if (Overlap(a, b)) throw new ArgumentException($"{first} and {second} overlap.", first);
    }

    /// <summary>Two views of one shape that are the same elements, or share none.</summary>
    public static void SameOrDistinct(in TensorView a, in TensorView b, [CallerArgumentExpression(nameof(a))] string first = "", [CallerArgumentExpression(nameof(b))] string second = "")
    {
        if (a.Address == b.Address && a.RowStride == b.RowStride) return;
        Distinct(a, b, first, second);
    }

    private static void OfType(in TensorView view, ElementType type, string name)
    {
        if (view.IsEmpty) throw new ArgumentException($"{name} is missing.", name);
        if (view.Type != type) throw new ArgumentException($"{name} holds {view.Type} where {type} is needed.", name);
    }

    private static bool Overlap(in TensorView a, in TensorView b)
    {
        if (a.Length == 0 || b.Length == 0) return false;
        if (a.Address > b.Address) return Overlap(b, a);
        long size = a.Type.SizeOf();
        long distance = (long)(b.Address - a.Address);
        if (distance >= ((a.Rows - 1) * a.RowStride + a.Columns) * size) return false;
        if (a.Type != b.Type || a.RowStride != b.RowStride) return true;
        long column = distance / size % a.RowStride;   // two column ranges of one matrix interleave without meeting
        return column < a.Columns || column + b.Columns > a.RowStride;
    }
}
