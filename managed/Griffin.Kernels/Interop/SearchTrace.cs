using System.Text;

namespace Griffin.Kernels.Interop;

/// <summary>One place looked at in the search for a native library.</summary>
/// <param name="Library">What was sought: "CUDA driver", "NVRTC", "cuBLAS" or "emulator".</param>
/// <param name="Candidate">The file name, path or folder that was tried.</param>
/// <param name="Found">True when the library was loaded from here.</param>
/// <param name="Detail">The resolved path and version when found, else why not.</param>
public sealed record SearchStep(string Library, string Candidate, bool Found, string Detail);

/// <summary>Everything that was tried, in order, while the native libraries were sought. Safe to read while it grows.</summary>
public sealed class SearchTrace
{
    private readonly List<SearchStep> _steps = [];

    /// <summary>The steps so far, in order.</summary>
    public IReadOnlyList<SearchStep> Steps
    {
        get
        {
            lock (_steps) return [.. _steps];
        }
    }

    /// <summary>Adds a step; providers record their own searches with it.</summary>
    public void Add(SearchStep step)
    {
        ArgumentNullException.ThrowIfNull(step);
        lock (_steps) _steps.Add(step);
    }

    /// <summary>The step that found <paramref name="library"/>, or null.</summary>
    public SearchStep? Found(string library) => Steps.FirstOrDefault(step => step.Found && step.Library == library);

    /// <summary>The trace as text, one line per step.</summary>
    public override string ToString()
    {
        StringBuilder text = new();
        foreach (SearchStep step in Steps)
            text.Append(step.Library).Append(": ").Append(step.Candidate).Append(": ").Append(step.Found ? "found, " : "").AppendLine(step.Detail);
        return text.ToString();
    }
}
