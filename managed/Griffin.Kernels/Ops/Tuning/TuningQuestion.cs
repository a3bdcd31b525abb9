using System.Diagnostics.CodeAnalysis;
using System.Runtime.CompilerServices;
using System.Security.Cryptography;
using System.Text;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>One choice to be measured: which candidate is the fastest for one op, shape and size of call.</summary>
/// <param name="Key">The name under which the answer is kept; see <see cref="KeyOf"/>.</param>
/// <param name="Candidates">Names of the ways to compute it. The first gives the result that the others are held against: a usual way, never one that nobody takes unmeasured.</param>
/// <param name="Prepare">Makes operands for a candidate: the same numbers for each.</param>
internal sealed record TuningQuestion(string Key, IReadOnlyList<string> Candidates, Func<TuningBench, string, TuningRun> Prepare)
{
    private static readonly ConditionalWeakTable<KernelSource, string> names = [];

    /// <summary>0: about one kernel. A question whose candidates are made of ops that are tuned themselves comes after those, with the next number.</summary>
    public int Stage { get; init; }

    /// <summary>A key of the kernel files and their headers as they are now (a changed kernel is measured anew), the storage type, and the shape in words.</summary>
    public static string KeyOf(KernelSource source, ElementType type, FormattableString shape, params IEnumerable<KernelSource> others) =>
        $"{string.Join('+', others.Prepend(source).Select(file => names.GetValue(file, NameOf)))} {type.CudaName()} {FormattableString.Invariant(shape)}";

    private static string NameOf(KernelSource source)
    {
        string text = string.Join('\0', IncludeScanner.Reach(source).Headers.Select(header => header.Value).Prepend(source.Text));
        return $"{source.Name}@{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(text)))[..8]}";
    }
}

/// <summary>A candidate ready to run.</summary>
/// <param name="Queue">Queues run i of a series; each may use another set of operands, run 0 the same one always.</param>
/// <param name="Output">What it computes.</param>
internal sealed record TuningRun(Action<int> Queue, TensorView Output);

/// <summary>An op with choices that only a measurement can make. Implementing it is all that an op does to be tuned.</summary>
internal interface ITuned
{
    /// <summary>The choices that a model asks of the op on a device.</summary>
    static abstract IEnumerable<TuningQuestion> Questions(GpuDevice device, ModelDimensions model, ElementType type);
}

/// <summary>Finds every op that can be tuned; there is no central list.</summary>
internal static class TuningQuestions
{
    /// <summary>Every question of a model with more than one answer, each once, in the order of their stages.</summary>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<TuningQuestion> All(GpuDevice device, ModelDimensions model, ElementType type) =>
    [
        .. KernelCatalogue.Implementations<Func<GpuDevice, ModelDimensions, ElementType, IEnumerable<TuningQuestion>>>(typeof(ITuned).Assembly, typeof(ITuned))
            .OrderBy(op => op.Op.Name, StringComparer.Ordinal)
            .SelectMany(op => op.Method(device, model, type))
            .Where(question => question.Candidates.Count > 1)
            .DistinctBy(question => question.Key)
            .OrderBy(question => question.Stage),
    ];
}
