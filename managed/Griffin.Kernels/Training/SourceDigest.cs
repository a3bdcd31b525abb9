using System.Globalization;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;

namespace Griffin.Kernels.Training;

/// <summary>Builds the identity of a source: SHA-256 over a name of the method, its settings and its data.</summary>
internal sealed class SourceDigest : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    /// <param name="method">Names how micro-batches are made; it changes when the making does.</param>
    internal SourceDigest(string method) => Append(method);

    public void Dispose() => _hash.Dispose();

    /// <summary>Adds a setting; its name keeps two settings from standing for each other.</summary>
    internal SourceDigest Add(string name, IFormattable? value)
    {
        Append($"{name}={value?.ToString(null, CultureInfo.InvariantCulture) ?? "none"}");
        return this;
    }

    /// <summary>Adds a setting in words.</summary>
    internal SourceDigest Add(string name, string value)
    {
        Append($"{name}={value}");
        return this;
    }

    /// <summary>Adds data behind its length.</summary>
    internal SourceDigest Add(string name, ReadOnlySpan<int> data)
    {
        Add(name, data.Length);
        _hash.AppendData(MemoryMarshal.AsBytes(data));
        return this;
    }

    /// <summary>The digest in hexadecimal.</summary>
    internal string Finish() => Convert.ToHexStringLower(_hash.GetHashAndReset());

    private void Append(string text)
    {
        _hash.AppendData(Encoding.UTF8.GetBytes(text));
        _hash.AppendData("\n"u8);
    }
}
