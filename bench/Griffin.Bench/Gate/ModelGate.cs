using System.Runtime.InteropServices;
using Griffin.Kernels;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Gate;

/// <summary>
/// Runs a narrow model of a row's kind, three layers with a reset in the middle of its prompt, then steps, and compares it with the tests' float64 model: in
/// float32 closely, and in bfloat16 as closely as its roundings allow.
/// </summary>
internal sealed class ModelGate(GpuDevice device)
{
    private const double MostWithFloat32 = 1e-4, MostWithBFloat16 = 3e-2;
    private const int Prompt = 40, FirstDocument = 11, Steps = 8;

    private readonly Dictionary<GriffinConfig, GateResult> _known = [];

    /// <summary>Checks a model's kind; the distance is that of the bfloat16 logits.</summary>
    public GateResult Check(GriffinConfig config)
    {
        GriffinConfig narrow = Narrow(config);
        if (_known.TryGetValue(narrow, out GateResult? known)) return known;
        GateResult single = Run(narrow, ElementType.Float32, MostWithFloat32);
        return _known[narrow] = single.Failure is null ? Run(narrow, ElementType.BFloat16, MostWithBFloat16) : single;
    }

    private GateResult Run(GriffinConfig config, ElementType type, double most)
    {
        RandomCheckpoint source = new(config, seed: 1);
        GriffinReference reference = new(ReferenceOf(source, type));
        int[] tokens = [.. Enumerable.Range(0, Prompt).Select(i => Inputs.Generator.Below(1, i, config.Vocabulary))];
        int[] positions = [.. Enumerable.Range(0, Prompt).Select(i => i < FirstDocument ? i : i - FirstDocument)];
        ReferenceState past = reference.NewState();
        double[][] expected = reference.Forward(tokens, positions, past);

        using GriffinModel model = GriffinModel.Load(device, source, new() { Precision = type });
        using GriffinSession session = model.CreateSession();
        using DecodeState state = session.States.Rent();
        float[] logits = new float[Prompt * config.Vocabulary];
        Array.Fill(logits, float.NaN);
        session.Forward(state, tokens, positions, LogitsSelection.All, logits);
        double distance = RelativeL2.Of(Array.ConvertAll(logits, value => (double)value), [.. expected.SelectMany(row => row)]);
        if (!(distance <= most)) return new(distance, $"logits of a narrow {type} model are {distance:G3} from float64 (relative L2), more than {most:G2}");

        // The step takes other kernels: the token that it draws must be the reference's best, or as good within the rounding of logits.
        using BatchDecoder decoder = session.CreateDecoder([state], [SamplerSettings.Greedy]);
        int token = 0, position = positions[^1];
        decoder.Feed(0, token);
        for (int step = 0; step < Steps; step++)
        {
            double[] row = reference.Forward([token], [++position], past)[0];
            token = decoder.Step()[0];
            double spread = Math.Sqrt(row.Average(value => value * value));
            if ((uint)token >= row.Length || row[token] < row.Max() - 4 * most * spread) return new(distance, $"step {step} of a narrow {type} model draws token {token}, which is not the best");
        }

        return new(distance, null);
    }

    private static GriffinConfig Narrow(GriffinConfig config) => (config with
    {
        Width = Math.Min(config.Width, 256),
        RnnWidth = Math.Min(config.RnnWidth, 256),
        Layers = Math.Min(config.Layers, GriffinConfig.GriffinPattern.Count),
        Heads = Math.Min(config.Heads, 2),
        GateBlocks = Math.Min(config.GateBlocks, 2),
        MlpWidth = Math.Min(config.MlpWidth, 512),
        Vocabulary = Math.Min(config.Vocabulary, 500),
        Window = config.Window is { } window ? Math.Min(window, 20) : null,
    }).Validate();

    private static ReferenceModel ReferenceOf(RandomCheckpoint source, ElementType type)
    {
        GriffinConfig config = source.Config;
        Dictionary<string, TestTensor> tensors = WeightCatalogue.Names(config)
            .ToDictionary(name => CheckpointLayout.HuggingFace.Locate(config, name).Tensor, name => new TestTensor([.. WeightCatalogue.ShapeOf(config, name.Kind)], Numbers(source, name, type)));
        return new(new(config.Heads, config.KeysVisible, config.EmbeddingScale, config.LogitsSoftCap), tensors);
    }

    private static double[] Numbers(RandomCheckpoint source, WeightName name, ElementType type)
    {
        byte[] bytes = new byte[WeightCatalogue.ElementsOf(source.Config, name.Kind) * type.SizeOf()];
        source.Read(name, type, bytes);
        return type == ElementType.Float32
            ? Array.ConvertAll(MemoryMarshal.Cast<byte, float>(bytes).ToArray(), value => (double)value)
            : Array.ConvertAll(MemoryMarshal.Cast<byte, BFloat16>(bytes).ToArray(), value => (double)(float)value);
    }
}
