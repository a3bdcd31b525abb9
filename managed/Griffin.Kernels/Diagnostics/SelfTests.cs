using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using static Griffin.Kernels.Diagnostics.SelfTestBench;

namespace Griffin.Kernels.Diagnostics;

/// <summary>How each op is run on the bench; each returns what is compared.</summary>
internal static class SelfTests
{
    private const float Epsilon = 1e-6f;

    /// <summary>Every self-test by the name of its op.</summary>
    public static IReadOnlyDictionary<string, Func<SelfTestBench, TensorView>> All { get; } = new Dictionary<string, Func<SelfTestBench, TensorView>>
    {
        [nameof(AdvanceRows)] = Advance,
        [nameof(BlockDiagonalGates)] = Gates,
        [nameof(Conv1D)] = Convolution,
        [nameof(Conv1DStep)] = ConvolutionStep,
        [nameof(DecodeAttention)] = Decode,
        [nameof(Embedding)] = Gather,
        [nameof(GeluMultiply)] = Gelu,
        [nameof(MatMul)] = Product,
        [nameof(RgLru)] = Scan,
        [nameof(RgLruStep)] = ScanStep,
        [nameof(RingAppend)] = Append,
        [nameof(RmsNorm)] = Norm,
        [nameof(RotaryEmbedding)] = Rotary,
        [nameof(RotaryStep)] = RotateStep,
        [nameof(Sampler)] = Draw,
        [nameof(SoftCap)] = Cap,
        [nameof(WindowAttention)] = Attention,
    };

    /// <summary>The sizes that the self-tests use, to list variants by.</summary>
    public static ModelDimensions Dimensions { get; } = new()
    {
        Width = Width,
        RnnWidth = Width,
        Heads = Heads,
        HeadDim = HeadDim,
        GateBlocks = GateBlocks,
        MlpWidth = MlpWidth,
        Vocabulary = Vocabulary,
        Window = RingSlots - 1,
        ConvTaps = Taps,
    };

    private static TensorView Advance(SelfTestBench bench)
    {
        TensorView positions = bench.Integers(3, 0);
        TensorView seen = bench.Integers(0, 3);
        PackedRows rows = new(positions, bench.Integers(0, 1, 2), bench.Integers(1, 0), seen);
        new AdvanceRows(bench.Device, step: true).Run(bench.Stream, rows, seen, positions);
        return seen;
    }

    private static TensorView Gates(SelfTestBench bench)
    {
        const int Block = Width / GateBlocks;
        TensorView gates = bench.Output(Tokens, 2 * Width);
        new BlockDiagonalGates(bench.Device, bench.Type, Width, GateBlocks, variant: bench.Variant).Run(
            bench.Stream, bench.Input(Tokens, Width), bench.Input(Width, Block, 0.5f), bench.Input(1, Width), bench.Input(Width, Block, 0.5f), bench.Input(1, Width), gates);
        return gates;
    }

    private static TensorView Convolution(SelfTestBench bench)
    {
        TensorView y = bench.Output(Tokens, Width);
        TensorView tail = bench.Input(Slots, (Taps - 1) * Width);
        new Conv1D(bench.Device, bench.Type, Width, Taps, bench.Variant).Run(
            bench.Stream, bench.Rows(), bench.Input(Tokens, Width), bench.Input(1, Width), bench.Input(Width, Taps), bench.Input(1, Width), y, State(tail));
        return y;
    }

    private static TensorView ConvolutionStep(SelfTestBench bench)
    {
        TensorView y = bench.Output(Slots, Width);
        TensorView tail = bench.Input(Slots, (Taps - 1) * Width);
        new Conv1DStep(bench.Device, bench.Type, Width, Taps, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(Slots, Width), bench.Input(1, Width), bench.Input(Width, Taps), bench.Input(1, Width), y, State(tail));
        return y;
    }

    private static TensorView Decode(SelfTestBench bench)
    {
        DecodeAttention op = new(bench.Device, bench.Type, Heads, HeadDim, bench.Variant);
        TensorView y = bench.Output(Slots, Heads * HeadDim);
        op.Run(bench.Stream, bench.Steps(), bench.Input(Slots, (Heads + 2) * HeadDim), State(bench.Ring()), RingSlots, RingSlots, y, bench.Workspace(op.WorkspaceBytes(Slots, RingSlots)));
        return y;
    }

    private static TensorView Gather(SelfTestBench bench)
    {
        TensorView y = bench.Output(4, Width);
        new Embedding(bench.Device, bench.Type, Width, bench.Variant).Run(bench.Stream, bench.Integers(0, Vocabulary - 1, 7, 7), bench.Input(Vocabulary, Width), 1.5f, y);
        return y;
    }

    private static TensorView Gelu(SelfTestBench bench)
    {
        TensorView y = bench.Output(Tokens, MlpWidth);
        new GeluMultiply(bench.Device, bench.Type, MlpWidth, bench.Variant).Run(bench.Stream, bench.Input(Tokens, 2 * MlpWidth, 2), bench.Input(1, 2 * MlpWidth), y);
        return y;
    }

    private static TensorView Product(SelfTestBench bench)
    {
        TensorView y = bench.Output(Tokens, MlpWidth);
        _ = bench.Stream.Blas;
        new MatMul(bench.Device, bench.Type, MlpWidth, Width, variant: bench.Variant).Run(bench.Stream, bench.Input(Tokens, Width), bench.Input(MlpWidth, Width, 0.25f), y);
        return y;
    }

    private static TensorView Scan(SelfTestBench bench)
    {
        RgLru op = new(bench.Device, bench.Type, Width, bench.Variant);
        TensorView output = bench.Output(Tokens, Width);
        op.Run(
            bench.Stream, bench.Rows(), bench.Input(Tokens, Width), bench.Input(Tokens, 2 * Width, 2), bench.Input(Tokens, Width), bench.Input(1, Width),
            bench.Input(1, Width, 2, -4), output, State(bench.Float32Input(Slots, Width, 1)), bench.Workspace(op.WorkspaceBytes(Tokens, Slots)));
        return output;
    }

    private static TensorView ScanStep(SelfTestBench bench)
    {
        TensorView output = bench.Output(Slots, Width);
        new RgLruStep(bench.Device, bench.Type, Width, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(Slots, Width), bench.Input(Slots, 2 * Width, 2), bench.Input(Slots, Width), bench.Input(1, Width),
            bench.Input(1, Width, 2, -4), output, State(bench.Float32Input(Slots, Width, 1)));
        return output;
    }

    private static TensorView Append(SelfTestBench bench)
    {
        TensorView ring = bench.Ring();
        new RingAppend(bench.Device, bench.Type, Heads, HeadDim, bench.Variant).Run(bench.Stream, bench.Rows(), bench.Input(Tokens, (Heads + 2) * HeadDim), State(ring), RingSlots);
        return ring;
    }

    private static TensorView Norm(SelfTestBench bench)
    {
        TensorView y = bench.Output(Tokens, Width);
        new RmsNorm(bench.Device, bench.Type, Width, bench.Variant).Run(bench.Stream, bench.Input(Tokens, Width, 3), bench.Input(1, Width, 0.5f), y, Epsilon);
        return y;
    }

    private static TensorView Rotary(SelfTestBench bench)
    {
        TensorView qkv = bench.Input(Tokens, (Heads + 2) * HeadDim);
        new RotaryEmbedding(bench.Device, bench.Type, Heads, HeadDim, Rotated, bench.Variant).Run(bench.Stream, qkv, bench.Positions(), Phases(bench));
        return qkv;
    }

    private static TensorView RotateStep(SelfTestBench bench)
    {
        TensorView ring = bench.Ring();
        new RotaryStep(bench.Device, bench.Type, Heads, HeadDim, Rotated, bench.Variant).Run(
            bench.Stream, bench.Steps(), bench.Input(Slots, (Heads + 2) * HeadDim), Phases(bench), State(ring), RingSlots);
        return ring;
    }

    private static TensorView Draw(SelfTestBench bench)
    {
        byte[] slots = new byte[Slots * Sampler.StateBytes(Vocabulary)];
        new SamplerSettings { Temperature = 0.8f, TopK = 20, TopP = 0.9f, Seed = 7 }.WriteTo(slots);
        SamplerSettings.Greedy.WriteTo(slots.AsSpan((int)Sampler.StateBytes(Vocabulary)));
        TensorView states = bench.Integers(MemoryMarshal.Cast<byte, int>(slots));
        TensorView tokens = bench.Output(ElementType.Int32, 1, Slots);
        new Sampler(bench.Device, Vocabulary, bench.Variant).Run(
            bench.Stream, bench.Float32Input(Slots, Vocabulary, 4), bench.Integers(5, 9), bench.Integers(0, 1),
            new LayerState(states.Owner, states.Address, Sampler.StateBytes(Vocabulary)), tokens);
        return tokens;
    }

    private static TensorView Cap(SelfTestBench bench)
    {
        TensorView logits = bench.Float32Input(Tokens, Vocabulary, 90);
        new SoftCap(bench.Device, Vocabulary, bench.Variant).Run(bench.Stream, logits, 30);
        return logits;
    }

    private static TensorView Attention(SelfTestBench bench)
    {
        TensorView y = bench.Output(Tokens, Heads * HeadDim);
        new WindowAttention(bench.Device, bench.Type, Heads, HeadDim, bench.Variant).Run(
            bench.Stream, bench.Rows(), bench.Input(Tokens, (Heads + 2) * HeadDim), State(bench.Ring()), RingSlots, RingSlots, y);
        return y;
    }

    private static TensorView Phases(SelfTestBench bench) => bench.Words(RotaryPhases.Compute(Rotated, 10000));
}
