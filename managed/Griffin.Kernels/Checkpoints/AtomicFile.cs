namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// A file that appears whole or not at all: written under a temporary name in the same folder, moved over the final name by
/// <see cref="Commit"/>, deleted when disposed without one. A symbolic link stays; the file that it leads to is the one written.
/// </summary>
internal sealed class AtomicFile : IDisposable
{
    private readonly string _path;
    private readonly string _temporary;
    private bool _committed;

    private AtomicFile(string target, string folder)
    {
        _path = target;
        _temporary = Path.Combine(folder, $".{Path.GetFileName(target)}.{Environment.ProcessId}.{Guid.NewGuid():N}");
        Stream = new FileStream(_temporary, FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None, bufferSize: 1 << 16);
    }

    /// <summary>Where the content goes.</summary>
    internal FileStream Stream { get; }

    /// <summary>Opens the temporary file beside <paramref name="path"/>; the folder must exist.</summary>
    /// <exception cref="IOException">The file cannot be written; one line says why.</exception>
    internal static AtomicFile Create(string path)
    {
        if (Directory.Exists(path)) throw new IOException($"{path}: cannot be written, it is a folder");
        // Moving a file over a device or a pipe would put it in the place of the device.
        if (FileKind.IsSpecial(path)) throw new IOException($"{path}: cannot be written, it is a device, a pipe or a socket");
        string target = Target(path), folder = Path.GetDirectoryName(target)!;
        if (!Directory.Exists(folder)) throw new IOException($"{path}: cannot be written, there is no folder {folder}");
        try
        {
            return new AtomicFile(target, folder);
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException)
        {
            throw new IOException($"{path}: cannot be written, the folder {folder} takes no new file", error);
        }
    }

    /// <summary>The full path behind a path: a symbolic link's end, whether a file is there yet or not.</summary>
    private static string Target(string path)
    {
        try
        {
            return new FileInfo(path).LinkTarget is null ? Path.GetFullPath(path) : File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName;
        }
        catch (Exception error) when (error is UnauthorizedAccessException or IOException)
        {
            throw new IOException($"{path}: cannot be written, it is a link that leads nowhere", error);
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
