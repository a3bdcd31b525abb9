using Griffin.Kernels.Runtime;

namespace Griffin.Bench.Cases;

/// <summary>An output and what it must hold.</summary>
/// <param name="Name">For messages.</param>
/// <param name="View">Where it is.</param>
/// <param name="Expected">Its values in float64, from inputs that <c>read</c> gave before the work ran.</param>
internal sealed record CheckedOutput(string Name, TensorView View, Func<double[]> Expected);

/// <summary>A case in memory, ready to run.</summary>
/// <param name="Run">Queues the work once.</param>
/// <param name="Outputs">What a check compares; built only for the gate, after which the inputs may change.</param>
/// <param name="Variant">Which kernel is taken, where there is a choice that is worth a name.</param>
internal sealed record Workload(Action<GpuStream> Run, Func<IReadOnlyList<CheckedOutput>> Outputs, string? Variant = null);
