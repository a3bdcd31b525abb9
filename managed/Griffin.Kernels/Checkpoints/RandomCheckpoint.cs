using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>How Λ of the recurrence is drawn. Both draw ρ² uniformly between 0.9² and 0.999².</summary>
public enum LambdaRule
{
    /// <summary>Λ = ln(1/ρ − 1), so that a = ρ⁸ where the recurrence gate is 1: what the released code does.</summary>
    Code,

    /// <summary>ρ is the effective decay a where the recurrence gate is 1, as the paper says: Λ = ln(ρ^(−1/8) − 1).</summary>
    Paper,
}

/// <summary>
/// Freshly initialised weights. Every element is a pure function of (seed, tensor, index), so nothing is held in memory and reads
/// of any run, in any order and type, agree.
/// </summary>
/// <remarks>
/// Normal with variance: embedding 1/d; queries, keys, values and the two inputs of a recurrent block 1/d; outputs of the blocks and
/// of the MLP (2/N)/fan-in; MLP inputs 1/d; conv 0.01/taps; gates 1/b. Biases and norm scales 0. Λ by <see cref="LambdaRule"/>.
/// </remarks>
public sealed class RandomCheckpoint : ICheckpointSource
{
    private const int BlockElements = 1 << 14;

    private readonly ulong _seed;
    private readonly LambdaRule _lambdaRule;

    /// <summary>Describes a random model.</summary>
    /// <param name="config">Its shape.</param>
    /// <param name="seed">Equal seeds give equal weights.</param>
    /// <param name="lambdaRule">How Λ is drawn.</param>
    /// <exception cref="ArgumentException">The configuration is not valid.</exception>
    public RandomCheckpoint(GriffinConfig config, ulong seed, LambdaRule lambdaRule = LambdaRule.Code)
    {
        ArgumentNullException.ThrowIfNull(config);
        Config = config.Validate();
        _seed = seed;
        _lambdaRule = lambdaRule;
    }

    /// <inheritdoc/>
    public GriffinConfig Config { get; }

    /// <inheritdoc/>
    public unsafe void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination)
    {
        int elements = CheckpointSources.CheckRun(Config, name, type, firstElement, destination.Length);
        ulong key = CounterHash.Mix(_seed + CounterHash.Golden * (((ulong)(uint)name.Layer << 8) + (ulong)name.Kind + 1));
        fixed (byte* start = destination)
        {
            nint address = (nint)start;
            int blocks = (elements + BlockElements - 1) / BlockElements;
            if (blocks <= 1) FillBlock(0);
            else Parallel.For(0, blocks, FillBlock);

            void FillBlock(int block)
            {
                int first = block * BlockElements, count = Math.Min(BlockElements, elements - first);
                Span<float> values = stackalloc float[count];
                Draw(name.Kind, key, firstElement + first, values);
                ElementConverter.FromFloat(values, new Span<byte>((byte*)address + (long)first * type.SizeOf(), count * type.SizeOf()), type);
            }
        }
    }

    private void Draw(WeightKind kind, ulong key, long first, Span<float> values)
    {
        if (kind == WeightKind.Lambda)
        {
            for (int i = 0; i < values.Length; i++) values[i] = Lambda(CounterHash.Uniform(CounterHash.At(key, first + i)));
            return;
        }
        double deviation = Math.Sqrt(Variance(kind));
        if (deviation == 0)
        {
            values.Clear();
            return;
        }
        for (int i = 0; i < values.Length; i++)
        {
            // The cosine and the sine of one Box-Muller pair are neighbours.
            long element = first + i;
            ulong bits = CounterHash.At(key, element >> 1);
            double radius = deviation * Math.Sqrt(-2 * Math.Log(1 - CounterHash.Uniform(bits)));
            (double sine, double cosine) = Math.SinCos(2 * Math.PI * CounterHash.Uniform(CounterHash.Mix(bits)));
            if ((element & 1) != 0)
            {
                values[i] = (float)(radius * sine);
                continue;
            }
            values[i] = (float)(radius * cosine);
            if (i + 1 < values.Length) values[++i] = (float)(radius * sine);
        }
    }

    private double Variance(WeightKind kind) => kind switch
    {
        WeightKind.Embedding or WeightKind.Query or WeightKind.Key or WeightKind.Value
            or WeightKind.LinearX or WeightKind.LinearY or WeightKind.MlpGate or WeightKind.MlpUp => 1.0 / Config.Width,
        WeightKind.LinearOut => 2.0 / Config.Layers / Config.RnnWidth,
        WeightKind.AttentionOut => 2.0 / Config.Layers / (Config.Heads * (double)Config.HeadDim),
        WeightKind.MlpDown => 2.0 / Config.Layers / Config.MlpWidth,
        WeightKind.Conv => 0.01 / Config.ConvTaps,
        WeightKind.InputGate or WeightKind.RecurrenceGate => 1.0 / Config.GateBlockWidth,
        _ => 0,
    };

    private float Lambda(double uniform)
    {
        const double lowest = 0.9 * 0.9, highest = 0.999 * 0.999;
        double rho = Math.Sqrt(lowest + uniform * (highest - lowest) + 1e-8);
        return (float)(_lambdaRule == LambdaRule.Code ? Math.Log(1 / rho - 1) : Math.Log(Math.Pow(rho, -1.0 / 8) - 1));
    }
}
