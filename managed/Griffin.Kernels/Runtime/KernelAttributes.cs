namespace Griffin.Kernels.Runtime;

/// <summary>What the driver reports about a loaded kernel.</summary>
/// <param name="Registers">Registers per thread.</param>
/// <param name="StaticSharedBytes">Static shared memory of a block.</param>
/// <param name="LocalBytes">Local memory of a thread: stack and spills.</param>
/// <param name="MaxThreadsPerBlock">Largest block that can be launched.</param>
public sealed record KernelAttributes(int Registers, int StaticSharedBytes, int LocalBytes, int MaxThreadsPerBlock);
