namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// A file that appears whole or not at all: written under a temporary name in the same folder, moved over the final name by
/// <see cref="Commit"/>, deleted when disposed without one.
/// </summary>
internal sealed class AtomicFile : IDisposable
{
    private readonly string _path;
    private readonly string _temporary;
    private bool _committed;

    private AtomicFile(string path)
    {
        _path = path;
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
        _temporary = System.IO.Path.Combine(folder, $".{System.IO.Path.GetFileName(path)}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        Stream = new FileStream(_temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 1 << 16);
    }

    /// <summary>Where the content goes.</summary>
    internal FileStream Stream { get; }

    /// <summary>Opens the temporary file beside <paramref name="path"/>; the folder must exist.</summary>
    /// <exception cref="IOException">The file cannot be written; one line says why.</exception>
    internal static AtomicFile Create(string path)
    {
        string folder = System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(path))!;
        if (Directory.Exists(path)) throw new IOException($"{path}: cannot be written, it is a folder");
        if (!Directory.Exists(folder)) throw new IOException($"{path}: cannot be written, there is no folder {folder}");
        try
        {
            return new AtomicFile(path);
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException)
        {
            throw new IOException($"{path}: cannot be written, the folder {folder} takes no new file", error);
        }
    }

    /// <summary>Gives the file its name, replacing what had it.</summary>
    internal void Commit()
    {
        Stream.Flush(flushToDisk: true);
        Stream.Dispose();
        File.Move(_temporary, _path, overwrite: true);
        _committed = true;
    }

    public void Dispose()
    {
        Stream.Dispose();
        if (!_committed) File.Delete(_temporary);
    }
}
