using System.Text.Json;

namespace Griffin.Bench.Results;

/// <summary>A file of result lines that grows; what is in it already need not be run again.</summary>
public sealed class ResultFile
{
    private readonly string _path;
    private readonly HashSet<(string Row, string Peer, string? Mode, int? Round, string? Scale)> _done = [];

    /// <summary>Opens or begins a file.</summary>
    /// <exception cref="InvalidDataException">A line, other than a last one that was cut off, is no result.</exception>
    public ResultFile(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        _path = path;
        if (!File.Exists(path)) return;
        foreach (ResultLine line in Read(path)) Note(line);
        MendEnd(path);
    }

    /// <summary>Whether a row was measured, or found not to be measurable, by a peer in a mode and round.</summary>
    public bool Has(string row, string peer, string? mode, int? round, string? scale) => _done.Contains((row, peer, mode, round, scale));

    /// <summary>Appends a line; it is on disk when the call returns.</summary>
    public void Append(ResultLine line)
    {
        ArgumentNullException.ThrowIfNull(line);
        File.AppendAllText(_path, line.ToJson() + "\n");
        Note(line);
    }

    /// <summary>The lines of a file. A last line without an end was cut off and is left out.</summary>
    /// <exception cref="InvalidDataException">A line is no result.</exception>
    public static IReadOnlyList<ResultLine> Read(string path)
    {
        string text = File.ReadAllText(path);
        List<ResultLine> lines = [];
        foreach (string line in text[..(text.LastIndexOf('\n') + 1)].Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            try
            {
                lines.Add(ResultLine.FromJson(line));
            }
            catch (JsonException e)
            {
                throw new InvalidDataException($"{path}: '{line}' is no result line: {e.Message}", e);
            }
        }

        return lines;
    }

    private void Note(ResultLine line) => _done.Add((line.Row, line.Peer, line.Mode, line.Round, line.Scale));

    // What was cut off must not run into the next line.
    private static void MendEnd(string path)
    {
        using FileStream file = new(path, FileMode.Open, FileAccess.ReadWrite);
        long end = file.Length;
        while (end > 0)
        {
            file.Position = end - 1;
            if (file.ReadByte() == '\n') break;
            end--;
        }

        file.SetLength(end);
    }
}
