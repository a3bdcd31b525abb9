using System.Buffers.Binary;
using System.Text;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Logging;

namespace Griffin.Kernels.Tests.Training;

/// <summary>Event files read back by a parser and a check sum of the tests' own.</summary>
internal sealed class TensorBoardLogTests
{
    [TestCase("", 0x00000000u)]
    [TestCase("123456789", 0xE3069283u)]
    public void The_reader_of_these_tests_knows_CRC_32C(string text, uint crc) => Assert.That(Crc(Encoding.ASCII.GetBytes(text)), Is.EqualTo(crc));

    [Test]
    public void The_masked_sum_is_that_of_32_zero_bytes()
    {
        // 0x8A9136AA is RFC 3720's sum of 32 zero bytes.
        Assert.That(TensorBoardLog.MaskedCrc(new byte[32]), Is.EqualTo(unchecked(((0x8A9136AAu >> 15) | (0x8A9136AAu << 17)) + 0xA282EAD8u)));
    }

    [Test]
    public void Scalars_are_read_back()
    {
        using TempFolder folder = new();
        using (TensorBoardLog log = new(folder.File("tb"), clock: new FixedClock()))
        {
            log.Write(new StepReport(1, 4096, 5.5, 0.25, 1e-3, 1.5, 2730, null, null));
            log.Write(new StepReport(300, 8192, 5.25, 0.5, 2e-3, 1.5, 2731, 0.375, 4.5));
        }
        List<Event> events = Read(Directory.GetFiles(folder.File("tb")).Single());
        Assert.That(events, Has.Count.EqualTo(4));
        Assert.That((events[0].Version, events[0].Step, events[0].Time), Is.EqualTo(("brain.Event:2", 0L, 1_700_000_000.25)));
        Assert.That((events[1].Step, events[1].SessionStatus), Is.EqualTo((1L, 1L)));
        Assert.That((events[2].Step, events[3].Step), Is.EqualTo((1L, 300L)));
        Assert.That(events[2].Scalars, Is.EqualTo(new Dictionary<string, float>
        {
            ["loss/train"] = 5.5f,
            ["optimizer/learning_rate"] = 1e-3f,
            ["optimizer/gradient_norm"] = 0.25f,
            ["speed/tokens_per_second"] = 2730,
        }));
        Assert.That(events[3].Scalars, Is.EqualTo(new Dictionary<string, float>
        {
            ["loss/train"] = 5.25f,
            ["loss/held_out"] = 4.5f,
            ["optimizer/learning_rate"] = 2e-3f,
            ["optimizer/gradient_norm"] = 0.5f,
            ["speed/tokens_per_second"] = 2731,
            ["speed/model_flops_utilization"] = 0.375f,
        }));
    }

    [Test]
    public void A_resumed_run_has_its_own_file_that_takes_back_later_steps()
    {
        using TempFolder folder = new();
        new TensorBoardLog(folder.Path, clock: new FixedClock()).Dispose();
        new TensorBoardLog(folder.Path, resumedStep: 200, clock: new FixedClock()).Dispose();
        string[] files = [.. Directory.GetFiles(folder.Path).Order()];
        Assert.That(files, Has.Length.EqualTo(2).And.All.Contains("events.out.tfevents.1700000000."));
        Assert.That(Read(files[0]).Select(item => item.SessionStatus), Is.EqualTo(new long[] { 0, 1 }));
        Assert.That(Read(files[1]).Select(item => (item.Step, item.SessionStatus)), Is.EqualTo(new (long, long)[] { (0, 0), (201, 1) }));
    }

    private sealed record Event(double Time, long Step, string Version, long SessionStatus, Dictionary<string, float> Scalars);

    private static List<Event> Read(string path)
    {
        List<Event> events = [];
        ReadOnlySpan<byte> left = File.ReadAllBytes(path);
        while (!left.IsEmpty)
        {
            int length = (int)BinaryPrimitives.ReadUInt64LittleEndian(left);
            Assert.That(Unmask(left[8..]), Is.EqualTo(Crc(left[..8])), "check sum of the length");
            ReadOnlySpan<byte> data = left.Slice(12, length);
            Assert.That(Unmask(left[(12 + length)..]), Is.EqualTo(Crc(data)), "check sum of the data");
            events.Add(ReadEvent(data.ToArray()));
            left = left[(16 + length)..];
        }
        return events;
    }

    private static Event ReadEvent(byte[] message)
    {
        Event result = new(0, 0, "", 0, []);
        foreach ((int field, byte[] value) in Fields(message))
        {
            result = field switch
            {
                1 => result with { Time = BitConverter.ToDouble(value) },
                2 => result with { Step = BitConverter.ToInt64(value) },
                3 => result with { Version = Encoding.UTF8.GetString(value) },
                7 => result with { SessionStatus = BitConverter.ToInt64(Fields(value).Single(inner => inner.Field == 1).Value) },
                5 => result,
                _ => throw new InvalidDataException($"field {field}"),
            };
            if (field != 5) continue;
            foreach ((int inner, byte[] scalar) in Fields(value))
            {
                Assert.That(inner, Is.EqualTo(1));
                Dictionary<int, byte[]> parts = Fields(scalar).ToDictionary(part => part.Field, part => part.Value);
                result.Scalars.Add(Encoding.UTF8.GetString(parts[1]), BitConverter.ToSingle(parts[2]));
            }
        }
        return result;
    }

    private static List<(int Field, byte[] Value)> Fields(byte[] message)
    {
        List<(int, byte[])> fields = [];
        for (int at = 0; at < message.Length;)
        {
            ulong tag = Varint(message, ref at);
            byte[] value = (tag & 7) switch
            {
                0 => BitConverter.GetBytes(Varint(message, ref at)),
                1 => message[at..(at += 8)],
                5 => message[at..(at += 4)],
                2 when (int)Varint(message, ref at) is var length => message[at..(at += length)],
                _ => throw new InvalidDataException($"wire type {tag & 7}"),
            };
            fields.Add(((int)(tag >> 3), value));
        }
        return fields;
    }

    private static ulong Varint(byte[] message, ref int at)
    {
        ulong value = 0;
        for (int shift = 0; ; shift += 7)
        {
            byte part = message[at++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80) return value;
        }
    }

    private static uint Unmask(ReadOnlySpan<byte> stored)
    {
        uint rotated = BinaryPrimitives.ReadUInt32LittleEndian(stored) - 0xA282EAD8;
        return (rotated >> 17) | (rotated << 15);
    }

    /// <summary>CRC-32C bit by bit.</summary>
    private static uint Crc(ReadOnlySpan<byte> data)
    {
        uint crc = uint.MaxValue;
        foreach (byte value in data)
        {
            crc ^= value;
            for (int bit = 0; bit < 8; bit++) crc = (crc >> 1) ^ ((crc & 1) != 0 ? 0x82F63B78 : 0);
        }
        return ~crc;
    }

    private sealed class FixedClock : TimeProvider
    {
        public override DateTimeOffset GetUtcNow() => DateTimeOffset.FromUnixTimeMilliseconds(1_700_000_000_250);
    }
}
