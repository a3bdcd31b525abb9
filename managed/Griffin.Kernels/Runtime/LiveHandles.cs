namespace Griffin.Kernels.Runtime;

/// <summary>Counts native objects that the library owns and has not released, over the whole process. Tests compare before and after.</summary>
public static class LiveHandles
{
    private static long count;

    /// <summary>Native objects alive now: contexts, streams, events, modules, graphs, device and pinned memory.</summary>
    public static long Count => Interlocked.Read(ref count);

    internal static void Opened() => Interlocked.Increment(ref count);

    internal static void Released() => Interlocked.Decrement(ref count);
}
