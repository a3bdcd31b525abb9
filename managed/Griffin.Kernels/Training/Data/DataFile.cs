namespace Griffin.Kernels.Training.Data;

/// <summary>Reads whole data files, with one line for what goes wrong.</summary>
internal static class DataFile
{
    /// <summary>All bytes of a file.</summary>
    internal static byte[] ReadAll(string path) => Guard(path, () =>
    {
        using FileStream file = Open(path);
        if (file.Length > Array.MaxLength)
            throw new TrainingInputException(path, $"has {file.Length} bytes, more than the {Array.MaxLength} that are read at once: split it");
        byte[] content = new byte[file.Length];
        file.ReadExactly(content);
        return content;
    });

    /// <summary>The lines of a file, numbered from 1.</summary>
    internal static IEnumerable<(int Number, string Text)> ReadLines(string path)
    {
        using StreamReader reader = new(Guard(path, () => Open(path)));
        for (int number = 1; Guard(path, reader.ReadLine) is { } line; number++) yield return (number, line);
    }

    private static FileStream Open(string path) => new(path, FileMode.Open, FileAccess.Read, FileShare.Read, 1 << 16, FileOptions.SequentialScan);

    private static T Guard<T>(string path, Func<T> work)
    {
        try
        {
            return work();
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new TrainingInputException(path, "no such file", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new TrainingInputException(path, Directory.Exists(path) ? "is a folder: name the files in it" : $"cannot be read ({error.Message})", error);
        }
    }
}
