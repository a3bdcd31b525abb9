using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;
using Microsoft.Extensions.Logging;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// Compiled kernels on disk, one file each, named by the digest of everything that can change them. A file is a header (magic, format, digest of
/// the rest) and the payload; it is written under a temporary name and renamed. Whatever is wrong with a file or the folder is a miss and one warning.
/// </summary>
internal sealed partial class KernelCache
{
    private const int Format = 1;
    private const int HeaderBytes = 8 + 32;
    private const string Extension = ".kernel";
    private const string TemporaryExtension = ".tmp";
    private static readonly TimeSpan staleAfter = TimeSpan.FromHours(1);

    private readonly string _folder;
    private readonly ILogger _logger;
    private int _warned;
    private bool _usable;

    public KernelCache(string folder, ILogger logger)
    {
        _folder = folder;
        _logger = logger;
        _usable = TryPrepare();
    }

    private static ReadOnlySpan<byte> Magic => "GRFK"u8;

    /// <summary>The folder when none is given: GRIFFIN_CACHE, else griffin-kernels in the user's cache folder.</summary>
    public static string DefaultFolder()
    {
        if (Environment.GetEnvironmentVariable("GRIFFIN_CACHE") is { Length: > 0 } given) return given;
        if (OperatingSystem.IsWindows())
            return Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.LocalApplicationData), "griffin-kernels", "cache");
        string root = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } folder
            ? folder
            : Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        return Path.Combine(root, "griffin-kernels");
    }

    /// <summary>Reads an entry, or returns null.</summary>
    public CompiledKernel? TryRead(string key, KernelSpec spec)
    {
        if (!_usable) return null;
        string path = PathOf(key);
        try
        {
            if (!File.Exists(path)) return null;
            CompiledKernel? kernel = Decode(File.ReadAllBytes(path), key, spec);
            if (kernel is null) Warn($"{path} is damaged and is compiled anew");
            return kernel;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Warn($"{path} cannot be read ({e.Message}) and is compiled anew");
            return null;
        }
    }

    /// <summary>Writes an entry; a failure is one warning.</summary>
    public void Write(string key, CompiledKernel kernel)
    {
        if (!_usable) return;
        string temporary = Path.Combine(_folder, $"{key}.{Guid.NewGuid():N}{TemporaryExtension}");
        try
        {
            File.WriteAllBytes(temporary, Encode(key, kernel));
            File.Move(temporary, PathOf(key), overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            Warn($"{_folder} cannot be written ({e.Message}); kernels are compiled at each start");
            TryDelete(temporary);
        }
    }

    private bool TryPrepare()
    {
        try
        {
            if (OperatingSystem.IsWindows())
            {
                Directory.CreateDirectory(_folder);
            }
            else
            {
                const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;
                Directory.CreateDirectory(_folder, OwnerOnly);
                // What lies here is loaded as code: a folder that others could write must not be trusted, and only its owner can close it.
                if (File.GetUnixFileMode(_folder) != OwnerOnly) File.SetUnixFileMode(_folder, OwnerOnly);
            }
            DeleteStaleTemporaries();
            return true;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            Warn($"{_folder} cannot be used ({e.Message}); kernels are compiled at each start");
            return false;
        }
    }

    private void DeleteStaleTemporaries()
    {
        foreach (string file in Directory.EnumerateFiles(_folder, "*" + TemporaryExtension))
            if (DateTime.UtcNow - File.GetLastWriteTimeUtc(file) > staleAfter) TryDelete(file);
    }

    private static void TryDelete(string file)
    {
        try
        {
            File.Delete(file);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Another process may have removed it, or the folder is read only; either way nothing depends on it.
        }
    }

    private string PathOf(string key) => Path.Combine(_folder, key + Extension);

    private static byte[] Encode(string key, CompiledKernel kernel)
    {
        using MemoryStream payload = new();
        using BinaryWriter writer = new(payload, Encoding.UTF8);
        writer.Write(key);
        writer.Write(kernel.LoweredName);
        writer.Write(kernel.IsPtx);
        writer.Write(kernel.Log);
        writer.Write(kernel.Image.Length);
        writer.Write(kernel.Image.Span);
        writer.Flush();
        byte[] file = new byte[HeaderBytes + payload.Length];
        Magic.CopyTo(file);
        BinaryPrimitives.WriteInt32LittleEndian(file.AsSpan(4), Format);
        payload.GetBuffer().AsSpan(0, (int)payload.Length).CopyTo(file.AsSpan(HeaderBytes));
        SHA256.HashData(file.AsSpan(HeaderBytes), file.AsSpan(8, 32));
        return file;
    }

    private static CompiledKernel? Decode(byte[] file, string key, KernelSpec spec)
    {
        if (file.Length < HeaderBytes || !file.AsSpan(0, 4).SequenceEqual(Magic) || BinaryPrimitives.ReadInt32LittleEndian(file.AsSpan(4)) != Format) return null;
        Span<byte> digest = stackalloc byte[32];
        SHA256.HashData(file.AsSpan(HeaderBytes), digest);
        if (!digest.SequenceEqual(file.AsSpan(8, 32))) return null;
        using BinaryReader reader = new(new MemoryStream(file, HeaderBytes, file.Length - HeaderBytes), Encoding.UTF8);
        if (reader.ReadString() != key) return null;
        string loweredName = reader.ReadString();
        bool isPtx = reader.ReadBoolean();
        string log = reader.ReadString();
        byte[] image = reader.ReadBytes(reader.ReadInt32());
        return new CompiledKernel(spec, loweredName, image, isPtx, log, FromCache: true);
    }

    private void Warn(string message)
    {
        if (Interlocked.Exchange(ref _warned, 1) == 0) LogWarning(_logger, message);
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "Kernel cache: {Problem}.")]
    private static partial void LogWarning(ILogger logger, string problem);
}
