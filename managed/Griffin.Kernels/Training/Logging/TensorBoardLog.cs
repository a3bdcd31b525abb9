using System.Buffers.Binary;
using System.Globalization;
using System.Numerics;

namespace Griffin.Kernels.Training.Logging;

/// <summary>
/// Writes scalars as a TensorBoard event file: TFRecords (length, masked CRC-32C of it, data, masked CRC-32C of that) of <c>Event</c>
/// messages. Every start has a file of its own, which tells TensorBoard to forget what older ones in the folder say of later steps.
/// </summary>
public sealed class TensorBoardLog : IDisposable
{
    // Field numbers of tensorflow/core/util/event.proto and tensorflow/core/framework/summary.proto.
    private const int WallTime = 1, EventStep = 2, FileVersion = 3, EventSummary = 5, EventSessionLog = 7;
    private const int SummaryValue = 1, ValueTag = 1, ValueSimple = 2, SessionStatus = 1;
    private const long SessionStart = 1;

    private readonly FileStream _file;
    private readonly TimeProvider _clock;

    /// <summary>Begins an event file.</summary>
    /// <param name="folder">TensorBoard's log folder; made when it does not exist.</param>
    /// <param name="resumedStep">The step that the run continues from; 0: a new run.</param>
    /// <param name="clock">Tells the time of events; null: the machine's.</param>
    /// <exception cref="IOException">The file cannot be made.</exception>
    public TensorBoardLog(string folder, long resumedStep = 0, TimeProvider? clock = null)
    {
        _clock = clock ?? TimeProvider.System;
        Directory.CreateDirectory(folder);
        _file = Create(folder);
        WriteEvent(NewEvent(0).Add(FileVersion, "brain.Event:2"));
        WriteEvent(NewEvent(resumedStep + 1).Add(EventSessionLog, new ProtobufMessage().Add(SessionStatus, SessionStart)));
    }

    /// <summary>Writes the scalars of a step, under <c>loss/train</c>, <c>loss/held_out</c>, <c>optimizer/…</c> and <c>speed/…</c>.</summary>
    public void Write(StepReport report)
    {
        ArgumentNullException.ThrowIfNull(report);
        ProtobufMessage summary = new();
        Add(summary, "loss/train", report.Loss);
        if (report.HeldOutLoss is { } loss) Add(summary, "loss/held_out", loss);
        Add(summary, "optimizer/learning_rate", report.LearningRate);
        Add(summary, "optimizer/gradient_norm", report.GradientNorm);
        Add(summary, "speed/tokens_per_second", report.TokensPerSecond);
        if (report.ModelFlopsUtilization is { } utilization) Add(summary, "speed/model_flops_utilization", utilization);
        WriteEvent(NewEvent(report.Step).Add(EventSummary, summary));
    }

    /// <summary>Closes the file.</summary>
    public void Dispose() => _file.Dispose();

    /// <summary>CRC-32C (Castagnoli), rotated and offset, as TFRecords have it.</summary>
    internal static uint MaskedCrc(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in data) crc = BitOperations.Crc32C(crc, value);
        return BitOperations.RotateRight(~crc, 15) + 0xA282EAD8;
    }

    private static void Add(ProtobufMessage summary, string tag, double value) =>
        summary.Add(SummaryValue, new ProtobufMessage().Add(ValueTag, tag).Add(ValueSimple, (float)value));

    private FileStream Create(string folder)
    {
        long seconds = _clock.GetUtcNow().ToUnixTimeSeconds();
        for (int attempt = 0; ; attempt++)
        {
            string path = Path.Combine(folder, string.Create(CultureInfo.InvariantCulture, $"events.out.tfevents.{seconds:D10}.griffin.{attempt}"));
            if (!File.Exists(path)) return new FileStream(path, FileMode.CreateNew, FileAccess.Write, FileShare.Read, bufferSize: 0);
        }
    }

    private ProtobufMessage NewEvent(long step)
    {
        ProtobufMessage message = new ProtobufMessage().Add(WallTime, _clock.GetUtcNow().ToUnixTimeMilliseconds() / 1000.0);
        return step == 0 ? message : message.Add(EventStep, step);
    }

    private void WriteEvent(ProtobufMessage message)
    {
        byte[] data = message.ToArray();
        byte[] record = new byte[sizeof(ulong) + sizeof(uint) + data.Length + sizeof(uint)];
        BinaryPrimitives.WriteUInt64LittleEndian(record, (ulong)data.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(8), MaskedCrc(record.AsSpan(0, 8)));
        data.CopyTo(record, 12);
        BinaryPrimitives.WriteUInt32LittleEndian(record.AsSpan(12 + data.Length), MaskedCrc(data));
        _file.Write(record);
    }
}
