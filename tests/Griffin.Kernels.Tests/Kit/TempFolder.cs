namespace Griffin.Kernels.Tests.Kit;

/// <summary>A folder of its own that goes away with the test.</summary>
internal sealed class TempFolder : IDisposable
{
    public TempFolder() => Path = Directory.CreateTempSubdirectory("griffin-test-").FullName;

    public string Path { get; }

    /// <summary>Full path of a file inside.</summary>
    public string File(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
