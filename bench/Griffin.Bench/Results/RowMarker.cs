namespace Griffin.Bench.Results;

/// <summary>Remembers beside a results file which row is running, so that a run that was ended by it does not begin it again.</summary>
public sealed class RowMarker
{
    private readonly string _path;

    /// <summary>The marker of a results file.</summary>
    public RowMarker(string resultsPath)
    {
        _path = resultsPath + ".running";
        Interrupted = File.Exists(_path) ? File.ReadAllText(_path) : null;
    }

    /// <summary>The row in which an earlier run ended without a word; null when none did.</summary>
    public string? Interrupted { get; }

    /// <summary>A row begins.</summary>
    public void Set(string row) => File.WriteAllText(_path, row);

    /// <summary>It has ended.</summary>
    public void Clear() => File.Delete(_path);
}
