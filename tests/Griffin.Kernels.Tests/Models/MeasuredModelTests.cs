using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Models;

/// <summary>A whole model by the kernels that nobody takes unmeasured: measurements name the least usual candidate of every question the fastest.</summary>
[TestFixture]
public sealed class MeasuredModelTests
{
    private const int Most = 200;

    private static readonly GriffinConfig config = new()
    {
        Width = 64,
        RnnWidth = 96,
        Layers = 3,
        Heads = 2,
        HeadDim = 64,
        GateBlocks = 2,
        MlpWidth = 80,
        Vocabulary = 130,
        Window = 40,
    };

    /// <summary>The largest calls that the workspace is planned for, and odd ones, continue each other's states within the bound of two orders of summation.</summary>
    [TestCase(ElementType.Float32, 1e-4)]
    [TestCase(ElementType.BFloat16, 0.1)]
    public void The_least_usual_kernels_agree_with_the_usual_ones(ElementType precision, double tolerance)
    {
        TestDevices.RequireEmulator("takes kernels for warpgroups");
        using var folder = new TempFolder();
        float[] Logits(bool measured)
        {
            using var device = GpuDevice.OpenEmulator(new EmulatorOptions { ComputeCapability = (9, 0), Checked = true }, new() { CacheFolder = folder.Path, UseTuning = measured });
            if (measured)
            {
                device.Tuning.Save(TuningQuestions.All(device, config.Dimensions(), precision).ToDictionary(
                    question => question.Key, question => new TuningRecord([.. question.Candidates.Select((name, i) => KeyValuePair.Create(name, 100.0 - i))])));
            }

            GriffinModelOptions options = new() { Precision = precision, FusedDecode = FusedDecode.Off };
            using var model = GriffinModel.Load(device, new RandomCheckpoint(config, 3), options);
            Assert.That(model.Kernels.Chained is not null, Is.EqualTo(measured));
            using var session = model.CreateSession(new SessionOptions { Slots = 3, MaxBatch = 3, ChunkTokens = Most });
            DecodeState[] states = [.. Enumerable.Range(0, 3).Select(_ => session.States.Rent())];
            List<float> all = [];
            foreach (var lengths in new int[][] { [Most, 0, 0], [65, 70, 65], [1, 1, 1], [64, 3, 128], [1, 0, 1] })
            {
                int[] starts = [0, lengths[0], lengths[0] + lengths[1], lengths.Sum()];
                var logits = Poison.Floats(starts[^1] * config.Vocabulary);
                session.Forward(states, starts, new CounterRandom((ulong)starts[1]).Integers(starts[^1], 0, config.Vocabulary), [], LogitsSelection.All, logits);
                all.AddRange(logits);
            }

            foreach (var state in states)
                state.Dispose();
            return [.. all];
        }

        var usual = Logits(measured: false);
        var least = Logits(measured: true);
        Assert.That(least, Is.Not.EqualTo(usual), "by other kernels: other bits");
        Close.Absolute(least, Array.ConvertAll(usual, value => (double)value), tolerance, "logits");
    }
}
