using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Plans one device allocation in which parts that are never alive together share bytes: parts of the common phase are always alive,
/// every other phase starts again behind them.
/// </summary>
internal sealed class WorkspacePlan
{
    private const long Alignment = 256;

    private long _common;
    private long _phase;
    private bool _inPhase;

    /// <summary>Bytes to allocate.</summary>
    public long Bytes { get; private set; }

    /// <summary>Starts a phase: what the phases before it held is free to be overwritten.</summary>
    public void BeginPhase()
    {
        _inPhase = true;
        _phase = _common;
    }

    /// <summary>Takes room for a matrix.</summary>
    public WorkspacePart Matrix(ElementType type, long rows, long columns) => new(Take(rows * columns * ElementTypes.SizeOf(type)), type, rows, columns);

    /// <summary>Takes room for an op's scratch, viewed as float32.</summary>
    public WorkspacePart Scratch(long bytes) => Matrix(ElementType.Float32, 1, (bytes + sizeof(float) - 1) / sizeof(float));

    private long Take(long bytes)
    {
        ref long offset = ref _inPhase ? ref _phase : ref _common;
        long start = offset;
        offset += (bytes + Alignment - 1) / Alignment * Alignment;
        Bytes = Math.Max(Bytes, offset);
        return start;
    }
}

/// <summary>A planned matrix: where it lies in the workspace.</summary>
internal readonly record struct WorkspacePart(long Offset, ElementType Type, long Rows, long Columns)
{
    /// <summary>The first <paramref name="rows"/> rows, in an allocated workspace.</summary>
    public TensorView In(DeviceMemory workspace, long rows) => TensorView.Of(workspace, Offset, Type, rows, Columns);
}
