using System.Buffers;
using System.Text.Json;

namespace Griffin.Kernels.Training.Logging;

/// <summary>
/// The log of a run as JSON lines, an object a step: <c>step</c>, <c>tokens</c>, <c>loss</c>, <c>gradient_norm</c>, <c>learning_rate</c>,
/// <c>seconds</c>, <c>tokens_per_second</c>, and where they are known <c>model_flops_utilization</c> and <c>held_out_loss</c>. A number that
/// is not finite is null.
/// </summary>
/// <remarks>Each line goes to the operating system at once and whole, so a run that is killed leaves at most its last line torn.</remarks>
public sealed class TrainingLog : IDisposable
{
    /// <summary>The file's name in a run's folder.</summary>
    public const string FileName = "log.jsonl";

    private readonly FileStream _file;
    private readonly ArrayBufferWriter<byte> _line = new();

    private TrainingLog(FileStream file) => _file = file;

    /// <summary>Opens a log to append to. Lines of steps beyond the one resumed from, and a torn last line, are cut off.</summary>
    /// <param name="path">The file; made when it does not exist.</param>
    /// <param name="resumedStep">The step that the run continues from; 0: a new run, and nothing is kept.</param>
    /// <exception cref="IOException">The file cannot be opened.</exception>
    public static TrainingLog Open(string path, long resumedStep = 0)
    {
        FileStream file = new(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.Read, bufferSize: 0);
        try
        {
            byte[] content = new byte[file.Length];
            file.ReadExactly(content);
            long keep = 0;
            foreach ((StepReport report, int end) in Parse(content))
            {
                if (report.Step > resumedStep) break;
                keep = end;
            }
            file.SetLength(keep);
            file.Position = keep;
            return new TrainingLog(file);
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    /// <summary>Reads a log up to its end or the first line that is torn.</summary>
    /// <exception cref="IOException">The file cannot be read.</exception>
    public static IReadOnlyList<StepReport> Read(string path) => [.. Parse(File.ReadAllBytes(path)).Select(line => line.Report)];

    /// <summary>Appends a step.</summary>
    public void Write(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        _line.ResetWrittenCount();
        using (Utf8JsonWriter json = new(_line))
        {
            json.WriteStartObject();
            json.WriteNumber("step", report.Step);
            json.WriteNumber("tokens", report.Tokens);
            WriteNumber(json, "loss", report.Loss);
            WriteNumber(json, "gradient_norm", report.GradientNorm);
            WriteNumber(json, "learning_rate", report.LearningRate);
            WriteNumber(json, "seconds", report.Seconds);
            WriteNumber(json, "tokens_per_second", report.TokensPerSecond);
            if (report.ModelFlopsUtilization is { } utilization) WriteNumber(json, "model_flops_utilization", utilization);
            if (report.HeldOutLoss is { } loss) WriteNumber(json, "held_out_loss", loss);
            json.WriteEndObject();
        }
        _line.Write("\n"u8);
        _file.Write(_line.WrittenSpan);
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    private static void WriteNumber(Utf8JsonWriter json, string key, double value)
    {
        if (double.IsFinite(value)) json.WriteNumber(key, value);
        else json.WriteNull(key);
    }

    /// <summary>The whole lines of a log and where each ends.</summary>
    private static IEnumerable<(StepReport Report, int End)> Parse(byte[] content)
    {
        int start = 0;
        while (content.AsSpan(start).IndexOf((byte)'\n') is >= 0 and int length)
        {
            if (ParseLine(content.AsMemory(start, length)) is not { } report) yield break;
            start += length + 1;
            yield return (report, start);
        }
    }

    private static StepReport? ParseLine(ReadOnlyMemory<byte> line)
    {
        try
        {
            using JsonDocument document = JsonDocument.Parse(line);
            JsonElement root = document.RootElement;
            return new StepReport(
                root.GetProperty("step").GetInt64(),
                root.GetProperty("tokens").GetInt64(),
                Number(root.GetProperty("loss")),
                Number(root.GetProperty("gradient_norm")),
                Number(root.GetProperty("learning_rate")),
                Number(root.GetProperty("seconds")),
                Number(root.GetProperty("tokens_per_second")),
                root.TryGetProperty("model_flops_utilization", out JsonElement utilization) ? Number(utilization) : null,
                root.TryGetProperty("held_out_loss", out JsonElement loss) ? Number(loss) : null);
        }
        catch (Exception error) when (error is JsonException or KeyNotFoundException or InvalidOperationException or FormatException)
        {
            return null;
        }
    }

    private static double Number(JsonElement value) => value.ValueKind == JsonValueKind.Null ? double.NaN : value.GetDouble();
}
