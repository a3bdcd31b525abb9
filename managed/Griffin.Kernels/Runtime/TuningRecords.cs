using System.Collections.Concurrent;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using Microsoft.Extensions.Logging;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// Which of several ways to compute something was the fastest on a device, by measurement: one JSON file a device beside the compiled kernels.
/// The device's name, driver and compiler are part of the file's name, so that a new driver starts anew. Reading never measures; whatever is
/// wrong with the file is one warning, and no record.
/// </summary>
public sealed partial class TuningRecords
{
    private const string Folder = "tuning";
    private const string DeviceKey = "device", RecordsKey = "microseconds";
    private const int TurnAttempts = 500;
    private static readonly TimeSpan turnWait = TimeSpan.FromMilliseconds(10);
    private static readonly int[] heldByAnother = [11, 35, unchecked((int)0x80070020)];   // of an IOException on Linux, macOS, Windows

    private readonly string? _path;
    private readonly string _device;
    private readonly ILogger _logger;
    private readonly Lazy<ConcurrentDictionary<string, TuningRecord>> _records;

    /// <param name="folder">The folder of compiled kernels; null: nothing is read or written.</param>
    /// <param name="device">Everything about the device that can change a choice, as one line.</param>
    /// <param name="logger">Where the warning goes.</param>
    internal TuningRecords(string? folder, string device, ILogger logger)
    {
        _device = device;
        _logger = logger;
        string digest = Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(device)))[..16];
        _path = folder is null ? null : Path.Combine(folder, Folder, digest + ".json");
        _records = new(() => Read(warn: true));
    }

    /// <summary>The file; null when nothing is kept.</summary>
    public string? File => _path;

    /// <summary>The record of a question, or null.</summary>
    public TuningRecord? Find(string question)
    {
        ArgumentNullException.ThrowIfNull(question);
        return _records.Value.GetValueOrDefault(question);
    }

    /// <summary>Adds records, in place of older ones, to what is in the file by now: others may write it, too.</summary>
    /// <exception cref="IOException">The file cannot be written.</exception>
    /// <exception cref="UnauthorizedAccessException">The file or its folder may not be written.</exception>
    /// <exception cref="InvalidOperationException">The device was opened without a disk cache.</exception>
    public void Save(IReadOnlyDictionary<string, TuningRecord> records)
    {
        ArgumentNullException.ThrowIfNull(records);
        if (_path is null) throw new InvalidOperationException("Measured choices are kept beside the compiled kernels, and this device was opened without them.");
        Directory.CreateDirectory(Path.GetDirectoryName(_path)!);
        using FileStream turn = TakeTurn(_path + ".lock");
        foreach ((string question, TuningRecord record) in Read(warn: false).Concat(records)) _records.Value[question] = record;
        string temporary = $"{_path}.{Guid.NewGuid():N}.tmp";
        try
        {
            System.IO.File.WriteAllBytes(temporary, Encode());
            System.IO.File.Move(temporary, _path, overwrite: true);
        }
        catch
        {
            System.IO.File.Delete(temporary);
            throw;
        }
    }

    // Waits for whoever reads and writes the file at the moment, in this process or another; the stream is to be closed.
    private static FileStream TakeTurn(string path)
    {
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException e) when (attempt < TurnAttempts && heldByAnother.Contains(e.HResult))
            {
                Thread.Sleep(turnWait);
            }
        }
    }

    private ConcurrentDictionary<string, TuningRecord> Read(bool warn)
    {
        ConcurrentDictionary<string, TuningRecord> records = new(StringComparer.Ordinal);
        if (_path is null || !System.IO.File.Exists(_path)) return records;
        try
        {
            using JsonDocument document = JsonDocument.Parse(System.IO.File.ReadAllBytes(_path));
            if (document.RootElement.GetProperty(DeviceKey).GetString() is var device && device != _device) throw new FormatException($"it is of {device ?? "no device"}");
            foreach (JsonProperty question in document.RootElement.GetProperty(RecordsKey).EnumerateObject())
            {
                records[question.Name] = new TuningRecord([.. question.Value.EnumerateObject().Select(time => KeyValuePair.Create(time.Name, TimeOf(time.Value)))]);
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            if (warn) LogWarning(_logger, _path, e.Message);
            records.Clear();
        }
        return records;
    }

    private static double TimeOf(JsonElement value) =>
        value.GetDouble() is var microseconds and >= 0 and < double.PositiveInfinity ? microseconds : throw new FormatException($"{value} is no time");

    private byte[] Encode()
    {
        using MemoryStream stream = new();
        using (Utf8JsonWriter json = new(stream, new JsonWriterOptions { Indented = true }))
        {
            json.WriteStartObject();
            json.WriteString(DeviceKey, _device);
            json.WriteStartObject(RecordsKey);
            foreach ((string question, TuningRecord record) in _records.Value.OrderBy(pair => pair.Key, StringComparer.Ordinal))
            {
                json.WriteStartObject(question);
                foreach ((string candidate, double microseconds) in record.Microseconds) json.WriteNumber(candidate, Math.Round(microseconds, 3));
                json.WriteEndObject();
            }
            json.WriteEndObject();
            json.WriteEndObject();
        }
        return stream.ToArray();
    }

    [LoggerMessage(Level = LogLevel.Warning, Message = "{Path} is not used ({Problem}); griffin tune writes it anew.")]
    private static partial void LogWarning(ILogger logger, string path, string problem);
}

/// <summary>What was measured for one question.</summary>
/// <param name="Microseconds">Least time of each candidate, in their order of preference.</param>
public sealed record TuningRecord(IReadOnlyList<KeyValuePair<string, double>> Microseconds)
{
    /// <summary>The fastest of the candidates that are allowed, the first of equals; null when there is none.</summary>
    public string? Fastest(Func<string, bool> allowed)
    {
        ArgumentNullException.ThrowIfNull(allowed);
        return Microseconds.Where(time => allowed(time.Key)).OrderBy(time => time.Value).Select(time => time.Key).FirstOrDefault();
    }
}
