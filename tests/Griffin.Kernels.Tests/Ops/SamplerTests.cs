using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class SamplerTests
{
    private static readonly SamplerSettings[] settings =
    [
        new() { Temperature = 1 },
        new() { Temperature = 0.7f, TopK = 1 },
        new() { Temperature = 1.3f, TopK = 5 },
        new() { Temperature = 1, TopP = 0.9f },
        new() { Temperature = 2.5f, TopP = 0.01f },
        new() { Temperature = 1, MinP = 0.2f },
        new() { Temperature = 0.8f, TopK = 40, TopP = 0.95f, MinP = 0.05f, RepetitionPenalty = 1.3f },
        new() { Temperature = 1.1f, TopK = 7, TopP = 0.5f, RepetitionPenalty = 0.7f },
        new() { Temperature = 0.05f },
        new() { RepetitionPenalty = 1.8f },
        SamplerSettings.Greedy,
    ];

    private sealed record Request(float[] Logits, SamplerSettings Settings, int Position, int[]? Counts = null);

    /// <summary>Every draw is the token that the sorted float64 reference draws with the same random numbers: set, rule and generator at once.</summary>
    [Test]
    public void DrawsWhatTheReferenceDraws([Values("narrow", "wide")] string variant, [Values(1, 2, 11, 31, 33, 384, 1023, 5003)] int vocabulary, [Values] bool ties)
    {
        var random = new CounterRandom((ulong)vocabulary);
        Request[] requests =
        [
            .. settings.SelectMany(one => Enumerable.Range(0, 4).Select(i => new Request(Logits(random, vocabulary, ties), one with { Seed = random.NextBits() },
                random.Integer(0, 1 << 26), random.Integers(vocabulary, -2, 3).Select(count => Math.Max(0, count)).ToArray()))),
        ];
        var (tokens, counts) = Sample(TestDevices.Checked, vocabulary, variant, requests);
        var compared = 0;
        for (var r = 0; r < requests.Length; r++)
        {
            var (logits, setting, position, before) = requests[r];
            var probabilities = SamplerReference.Probabilities(logits, before, setting);
            Assert.That(probabilities[tokens[r]], Is.GreaterThan(0), $"row {r} drew a token that {setting} leaves out");
            if (SamplerReference.Draw(logits, before, setting, (uint)position + 1) is { } expected)
            {
                Assert.That(tokens[r], Is.EqualTo(expected), $"row {r}, {setting}");
                compared++;
            }

            Assert.That(counts[r], Is.EqualTo(before), $"counts of row {r}: a draw counts nothing");
        }

        Assert.That(compared, Is.GreaterThan(requests.Length * 19 / 20));
    }

    [Test]
    public void LargeVocabulary()
    {
        const int Vocabulary = 256_000;
        var random = new CounterRandom(3);
        Request[] requests = [.. settings.Select(one => new Request(Logits(random, Vocabulary, ties: false), one with { Seed = 9 }, 77, new int[Vocabulary]))];
        var (tokens, _) = Sample(TestDevices.Plain, Vocabulary, "wide", requests);
        for (var r = 0; r < requests.Length; r++)
        {
            var probabilities = SamplerReference.Probabilities(requests[r].Logits, requests[r].Counts, requests[r].Settings);
            Assert.That(probabilities[tokens[r]], Is.GreaterThan(0), $"{requests[r].Settings}");
            if (SamplerReference.Draw(requests[r].Logits, requests[r].Counts, requests[r].Settings, 78) is { } expected)
                Assert.That(tokens[r], Is.EqualTo(expected), $"{requests[r].Settings}");
        }
    }

    /// <summary>Chi-square of 4,096 draws at successive indices against the float64 probabilities; 30 is far in the tail for at most 10 degrees of freedom.</summary>
    [Test]
    public void DistributionIsRight([Values(0, 2, 3, 5)] int which)
    {
        const int Draws = 4096, Vocabulary = 11;
        var logits = new CounterRandom(8).Normals(Vocabulary);
        var request = new Request(logits, settings[which] with { Seed = 0xDEADBEEF12345678 }, 0);
        var (tokens, _) = Sample(TestDevices.Plain, Vocabulary, "narrow", [.. Enumerable.Range(0, Draws).Select(i => request with { Position = i })]);
        var expected = SamplerReference.Probabilities(logits, new int[Vocabulary], request.Settings);
        double statistic = 0;
        for (var token = 0; token < Vocabulary; token++)
        {
            var observed = tokens.Count(drawn => drawn == token);
            if (expected[token] == 0)
                Assert.That(observed, Is.Zero, $"token {token}");
            else
                statistic += Math.Pow(observed - (Draws * expected[token]), 2) / (Draws * expected[token]);
        }

        Assert.That(statistic, Is.LessThan(30));
    }

    /// <summary>
    /// Tokens far apart: each is drawn by its own Gumbel number, whose upper tail must be fine. One token of e^-7 beside 4,000 of e^-16 in all but 0.2 %
    /// of the weight: 32,768 draws, of which 30 and 15 are expected, each count within five of its standard deviations.
    /// </summary>
    [Test]
    public void RareTokensAreDrawnAsOftenAsTheyShould()
    {
        const int Draws = 1 << 15, Vocabulary = 4001, Rows = 64;
        var logits = Enumerable.Repeat(-16f, Vocabulary).ToArray();
        (logits[0], logits[Vocabulary - 1]) = (0, -7);
        var expected = SamplerReference.Probabilities(logits, new int[Vocabulary], settings[0]);
        using var test = new OpTest(TestDevices.Plain);
        using var pool = new SlotPool(test, Vocabulary, Rows);
        for (var slot = 0; slot < Rows; slot++) pool.Write(slot, settings[0] with { Seed = 77 }, new int[Vocabulary]);
        var row = test.Matrix([.. Enumerable.Repeat(logits, Rows).SelectMany(one => one)], Rows, Vocabulary, ElementType.Float32);
        var op = new Sampler(test.Device, Vocabulary);
        using var tokens = test.Device.Upload<int>(new int[Rows]);
        var (rare, rarest) = (0, 0);
        for (var first = 0; first < Draws; first += Rows)
        {
            op.Run(test.Stream, row, test.Integers([.. Enumerable.Range(first, Rows)]), test.Integers([.. Enumerable.Range(0, Rows)]), pool.States, tokens.View());
            test.Stream.Synchronize();
            rare += tokens.ToArray().Count(token => token == Vocabulary - 1);
            rarest += tokens.ToArray().Count(token => token is > 0 and < Vocabulary - 1);
        }

        Assert.Multiple(() =>
        {
            Assert.That(rare, Is.EqualTo(Draws * expected[^1]).Within(5 * Math.Sqrt(Draws * expected[^1])));
            Assert.That(rarest, Is.EqualTo(Draws * expected[1..^1].Sum()).Within(5 * Math.Sqrt(Draws * expected[1..^1].Sum())));
        });
    }

    /// <summary>A draw depends on its own logits, counts, settings and index: not on neighbours, the slot or the variant.</summary>
    [Test]
    public void NeighboursDoNotShow()
    {
        var random = new CounterRandom(4);
        Request[] requests = [.. Enumerable.Range(0, 40).Select(i => new Request(Logits(random, 97, false), settings[i % settings.Length] with { Seed = (ulong)i }, i * 1000))];
        var (together, _) = Sample(TestDevices.Plain, 97, "narrow", requests);
        var (reversed, _) = Sample(TestDevices.Plain, 97, "wide", [.. requests.Reverse()]);
        Assert.That(reversed.Reverse(), Is.EqualTo(together));
        foreach (var i in new[] { 0, 3, 39 })
            Assert.That(Sample(TestDevices.Plain, 97, "narrow", [requests[i]]).Tokens[0], Is.EqualTo(together[i]));
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(TestDevices), nameof(TestDevices.Seeds))] ulong seed)
    {
        using var device = TestDevices.OpenChecked(seed);
        var random = new CounterRandom(6);
        Request[] requests = [.. settings.Select(one => new Request(Logits(random, 301, true), one with { Seed = 5 }, 12))];
        Assert.That(Sample(device, 301, "narrow", requests).Tokens, Is.EqualTo(Sample(TestDevices.Plain, 301, "wide", requests).Tokens));
    }

    [TestCase(0f)]
    [TestCase(1f)]
    public void OddLogitsEnd(float temperature)
    {
        const float Inf = float.PositiveInfinity, Nan = float.NaN;
        var one = new SamplerSettings { Temperature = temperature, TopK = 3, TopP = 0.9f, MinP = 0.1f };
        float[][] logits = [[Nan, Nan, Nan, Nan], [Nan, 1, Nan, -Inf], [-Inf, -Inf, -Inf, -Inf], [0, Inf, Inf, 1], [-0f, 0, -1, -2], [float.MaxValue, -float.MaxValue, 0, Nan]];
        var (tokens, _) = Sample(TestDevices.Checked, 4, "narrow", [.. logits.Select(row => new Request(row, one, 5))]);
        Assert.Multiple(() =>
        {
            Assert.That(tokens, Is.All.InRange(0, 3));
            Assert.That(tokens[1], Is.EqualTo(1));
            Assert.That(tokens[3], Is.EqualTo(1).Or.EqualTo(2));
            Assert.That(tokens[5], Is.Zero);
            Assert.That(tokens[..4], Is.EqualTo(new[] { 0, 1, 0, 1 }), "of infinite equals, the first");
            if (temperature == 0)
                Assert.That(tokens[4], Is.Zero);
        });
    }

    [Test]
    public void RowsOfPaddingDrawNothing()
    {
        var request = new Request([1, 2, 3], SamplerSettings.Greedy, -1);
        var (tokens, counts) = Sample(TestDevices.Checked, 3, "narrow", [request, request with { Position = 0 }]);
        Assert.That(tokens, Is.EqualTo(new[] { -1, 2 }));
        Assert.That(counts[0], Is.All.Zero);
    }

    /// <summary>Counts are those of the last document; a row that goes on adds to what its slot holds.</summary>
    [Test]
    public void CountsWhatIsRead()
    {
        using var test = new OpTest(TestDevices.Checked);
        const int Vocabulary = 7;
        using var pool = new SlotPool(test, Vocabulary, 5);
        for (var slot = 0; slot < 5; slot++) pool.Write(slot, SamplerSettings.Greedy, [slot, 0, 0, 0, 0, 0, 0]);
        var rows = new PackedRows(
            test.Integers(-1, 0, 1, 2, /* */ 3, 4, 5, -1, /* */ 7, 0, 1, /* */ -1, -1), test.Integers(0, 4, 8, 11, 13), test.Integers(2, 1, 4, 3), test.Integers(0, 3, 0, 2, 7));
        new Sampler(test.Device, Vocabulary).Count(test.Stream, rows, test.Integers(6, 5, 5, 2, /* */ 1, 99, -3, 1, /* */ 2, 3, 3, /* */ 1, 1), pool.States);
        Assert.Multiple(() =>
        {
            Assert.That(pool.Counts(2), Is.EqualTo(new[] { 0, 0, 1, 0, 0, 2, 0 }), "a document from its start: earlier counts are gone, padding is left out");
            Assert.That(pool.Counts(1), Is.EqualTo(new[] { 1, 1, 0, 0, 0, 0, 0 }), "a row that goes on; tokens outside the vocabulary are left out");
            Assert.That(pool.Counts(4), Is.EqualTo(new[] { 0, 0, 0, 2, 0, 0, 0 }), "a document that starts in the row");
            Assert.That(pool.Counts(3), Is.EqualTo(new[] { 3, 0, 0, 0, 0, 0, 0 }), "a row of padding");
            Assert.That(pool.Counts(0), Is.EqualTo(new[] { 0, 0, 0, 0, 0, 0, 0 }), "no row's slot");
        });
    }

    // Known answers of the generator's authors.
    [Test]
    public void GeneratorIsPhilox()
    {
        Assert.That(SamplerReference.Philox([0, 0, 0, 0], 0), Is.EqualTo(new uint[] { 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8 }));
        Assert.That(SamplerReference.Philox([uint.MaxValue, uint.MaxValue, uint.MaxValue, uint.MaxValue], ulong.MaxValue),
            Is.EqualTo(new uint[] { 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd }));
    }

    [Test]
    public void SettingsRefuseWhatMeansNothing()
    {
        SamplerSettings[] wrong =
        [
            new() { Temperature = -1 }, new() { Temperature = float.NaN }, new() { TopK = -1 }, new() { TopP = 0 }, new() { TopP = 1.5f }, new() { TopP = float.NaN },
            new() { MinP = -0.1f }, new() { MinP = 2 }, new() { RepetitionPenalty = 0 }, new() { RepetitionPenalty = float.PositiveInfinity },
        ];
        Assert.Multiple(() =>
        {
            foreach (var one in wrong)
                Assert.That(() => one.WriteTo(new byte[SamplerSettings.ByteCount]), Throws.InstanceOf<ArgumentOutOfRangeException>(), $"{one}");
            Assert.That(() => SamplerSettings.Greedy.WriteTo(new byte[8]), Throws.InstanceOf<ArgumentException>());
        });
    }

    private static float[] Logits(CounterRandom random, int vocabulary, bool ties) =>
        [.. random.Normals(vocabulary, 2).Select(x => ties ? MathF.Round(x) : x)];

    private static (int[] Tokens, int[][] Counts) Sample(GpuDevice device, int vocabulary, string variant, Request[] requests)
    {
        using var test = new OpTest(device);
        using var pool = new SlotPool(test, vocabulary, requests.Length + 1);
        int[] slots = [.. Enumerable.Range(0, requests.Length).Select(r => requests.Length - r)];
        for (var r = 0; r < requests.Length; r++)
            pool.Write(slots[r], requests[r].Settings, requests[r].Counts ?? new int[vocabulary]);
        var logits = test.Matrix(requests.SelectMany(request => request.Logits).ToArray(), requests.Length, vocabulary, ElementType.Float32, gap: 3);
        using var tokens = device.Upload<int>(Enumerable.Repeat(Poison.Integer, requests.Length).ToArray());
        new Sampler(device, vocabulary, variant).Run(test.Stream, logits, test.Integers([.. requests.Select(request => request.Position)]), test.Integers(slots), pool.States, tokens.View());
        test.Stream.Synchronize();
        return (tokens.ToArray(), [.. slots.Select(pool.Counts)]);
    }

    // Sampler slots with a gap before the first and between them.
    private sealed class SlotPool : IDisposable
    {
        private const int Offset = 64;
        private readonly OpTest _test;
        private readonly int _vocabulary;
        private readonly DeviceBuffer<byte> _memory;

        public SlotPool(OpTest test, int vocabulary, int slots)
        {
            (_test, _vocabulary) = (test, vocabulary);
            Stride = (Sampler.StateBytes(vocabulary) + 31) / 16 * 16;
            _memory = test.Device.Upload<byte>(Poison.Bytes((int)(Offset + (slots * Stride))));
            States = new LayerState(_memory.Memory, _memory.Address + Offset, Stride);
            for (var slot = 0; slot < slots; slot++)
                Write(slot, SamplerSettings.Greedy, new int[vocabulary]);
        }

        public long Stride { get; }

        public LayerState States { get; }

        public void Write(int slot, SamplerSettings settings, int[] counts)
        {
            var bytes = new byte[Sampler.StateBytes(_vocabulary)];
            settings.WriteTo(bytes);
            MemoryMarshal.AsBytes<int>(counts).CopyTo(bytes.AsSpan(SamplerSettings.ByteCount));
            _test.Stream.CopyToDevice<byte>(bytes, _memory.Memory, Offset + (slot * Stride));
            _test.Stream.Synchronize();
        }

        public int[] Counts(int slot)
        {
            _test.Stream.Synchronize();
            var counts = new int[_vocabulary];
            _test.Stream.CopyToHost<int>(_memory.Memory, Offset + (slot * Stride) + SamplerSettings.ByteCount, counts);
            _test.Stream.Synchronize();
            return counts;
        }

        public void Dispose() => _memory.Dispose();
    }
}
