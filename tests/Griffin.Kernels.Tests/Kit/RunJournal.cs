using NUnit.Framework.Interfaces;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// The tests that a run has begun and ended, a line each, on disk before it goes on: a run that a test ended, by a kernel that hangs or by taking the
/// device or the process with it, is started anew on the same file and goes on behind that test, which counts as failed.
/// </summary>
internal sealed class RunJournal
{
    private const char Separator = '\t';
    private const string Began = "Began", Stopped = "Stopped";

    private readonly Lock _gate = new();
    private readonly string? _path;
    private readonly Dictionary<string, string> _states = new(StringComparer.Ordinal);

    /// <param name="path">The file; null for a journal in memory only.</param>
    public RunJournal(string? path)
    {
        _path = path;
        if (path is null || !File.Exists(path))
            return;
        foreach (var line in File.ReadAllLines(path).Select(line => line.Split(Separator, 2)).Where(parts => parts.Length == 2))
            _states[line[1]] = line[0];
        foreach (var name in _states.Where(state => state.Value == Stopped).Select(state => state.Key).ToArray())
            _states.Remove(name);
        foreach (var name in _states.Where(state => state.Value == Began).Select(state => state.Key).ToArray())
        {
            Interrupted.Add(name);
            Note(nameof(TestStatus.Failed), name);
        }
    }

    /// <summary>Tests that had begun and not ended when the file was opened.</summary>
    public List<string> Interrupted { get; } = [];

    public void Begin(string test) => Note(Began, test);

    /// <summary>The run was asked to stop: what runs is not to blame, and runs again.</summary>
    public void Stop()
    {
        lock (_gate)
        {
            foreach (var name in _states.Where(state => state.Value == Began).Select(state => state.Key).ToArray())
                Note(Stopped, name);
        }
    }

    public void End(string test, TestStatus status) => Note(status.ToString(), test);

    /// <summary>Whether a test has begun, in this run or in one before it.</summary>
    public bool Has(string test)
    {
        lock (_gate)
            return _states.ContainsKey(test);
    }

    /// <summary>How many tests ended so.</summary>
    public int Count(TestStatus status)
    {
        lock (_gate)
            return _states.Values.Count(state => state == status.ToString());
    }

    private void Note(string state, string test)
    {
        lock (_gate)
        {
            _states[test] = state;
            if (_path is not null)
                File.AppendAllText(_path, $"{state}{Separator}{test}\n");
        }
    }
}
