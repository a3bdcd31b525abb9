using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>A class of a scan's calls, and the call that stands for it where it is measured.</summary>
/// <param name="Rows">Rows of that call.</param>
/// <param name="Length">Tokens of each of them.</param>
/// <param name="Name">The class in words.</param>
internal sealed record ScanClass(int Rows, int Length, string Name)
{
    private const int ManyRows = 16;
    private const int LongRow = 4096;
    private const int MostTokens = 32_768;   // a larger call is not worth its memory

    private static readonly int[] rowClasses = [1, 2, 4, 8, int.MaxValue];
    private static readonly int[] lengthClasses = [64, 512, int.MaxValue];

    /// <summary>Every class, by rows and then by tokens of a row.</summary>
    public static IReadOnlyList<ScanClass> All { get; } = [.. rowClasses.SelectMany(rows => lengthClasses.Select(length => Of(rows, length)))];

    /// <summary>Whether the class is measured at all.</summary>
    public bool IsMeasured => Rows * Length <= MostTokens;

    /// <summary>Which of <see cref="All"/> a call belongs to.</summary>
    public static int IndexOf(int tokens, int rows) => Tiling.ClassOf(rowClasses, rows) * lengthClasses.Length + Tiling.ClassOf(lengthClasses, (tokens - 1) / Math.Max(1, rows) + 1);

    private static ScanClass Of(int rows, int length) => new(
        Math.Min(rows, ManyRows), Math.Min(length, LongRow), $"{(rows == int.MaxValue ? "more" : rows)} rows of {(length == int.MaxValue ? "more" : length)} tokens");
}

/// <summary>What was measured of a scan's forms on a device: the fastest for each class of calls.</summary>
internal sealed class ScanAnswers
{
    private readonly ScanForm?[] _forms;

    private ScanAnswers(ScanForm?[] forms) => _forms = forms;

    /// <summary>No answer to anything.</summary>
    public static ScanAnswers None { get; } = new(new ScanForm?[ScanClass.All.Count]);

    /// <summary>The answers on record.</summary>
    /// <param name="device">The device.</param>
    /// <param name="key">The question of a class.</param>
    /// <param name="candidates">The forms that can be taken.</param>
    public static ScanAnswers Of(GpuDevice device, Func<ScanClass, string> key, IReadOnlyList<string> candidates) =>
        new([.. ScanClass.All.Select(call => device.Tuning.Find(key(call))?.Fastest(candidates.Contains) is { } name ? ScanKernels.FormOf(name) : (ScanForm?)null)]);

    /// <summary>Whether a form is the answer to any question.</summary>
    public bool Has(ScanForm form) => _forms.Contains(form);

    /// <summary>The form for a call; null where nothing was measured.</summary>
    public ScanForm? For(int tokens, int rows) => tokens == 0 ? null : _forms[ScanClass.IndexOf(tokens, rows)];
}
