using System.Runtime.InteropServices;

namespace Griffin.Kernels.Ops;

/// <summary>
/// How the next token is drawn. The restrictions apply in this order: repetition penalty, temperature, top-k, top-p, min-p. Among equal logits
/// the lower token comes first.
/// </summary>
public sealed record SamplerSettings
{
    /// <summary>The most probable token, always.</summary>
    public static SamplerSettings Greedy { get; } = new();

    /// <summary>Divides the logits; 0 (the default) takes the most probable token.</summary>
    public float Temperature { get; init; }

    /// <summary>Keeps the so many most probable tokens; 0 keeps all.</summary>
    public int TopK { get; init; }

    /// <summary>Keeps the fewest most probable tokens whose probability reaches this share, the first always; 1 keeps all.</summary>
    public float TopP { get; init; } = 1;

    /// <summary>Keeps the tokens at least so probable as this multiple of the most probable one; 0 keeps all.</summary>
    public float MinP { get; init; }

    /// <summary>Divides a positive logit, and multiplies a negative one, of every token that occurred before; 1 changes nothing.</summary>
    public float RepetitionPenalty { get; init; } = 1;

    /// <summary>With the absolute index of the drawn token, decides the draw.</summary>
    public ulong Seed { get; init; }

    /// <summary>Whether a draw needs the probabilities of the other tokens to know which ones it may take: top-k, top-p or min-p, at a temperature.</summary>
    public bool RestrictsDraws => Temperature > 0 && (TopK > 0 || TopP < 1 || MinP > 0);

    /// <summary>Bytes that <see cref="WriteTo"/> writes: the head of a sampler's state slot.</summary>
    public static int ByteCount => Marshal.SizeOf<SamplerState>();

    /// <summary>Writes the settings as the sampler reads them at the start of a state slot.</summary>
    /// <param name="destination">At least <see cref="ByteCount"/> bytes.</param>
    /// <exception cref="ArgumentException">A setting is out of its range, or the destination is too short.</exception>
    public void WriteTo(Span<byte> destination)
    {
        Validate();
        SamplerState state = new()
        {
            Seed = Seed,
            Temperature = Temperature,
            TopP = TopP,
            MinP = MinP,
            RepetitionPenalty = RepetitionPenalty,
            TopK = TopK,
        };
        MemoryMarshal.Write(destination, state);
    }

    /// <summary>Refuses settings that mean nothing.</summary>
    /// <exception cref="ArgumentOutOfRangeException">A setting is out of its range.</exception>
    public void Validate()
    {
        if (!(Temperature >= 0) || !float.IsFinite(Temperature)) throw Wrong(nameof(Temperature), Temperature, "0 or more");
        if (TopK < 0) throw Wrong(nameof(TopK), TopK, "0 or more");
        if (!(TopP is > 0 and <= 1)) throw Wrong(nameof(TopP), TopP, "above 0 and at most 1");
        if (!(MinP is >= 0 and <= 1)) throw Wrong(nameof(MinP), MinP, "from 0 to 1");
        if (!(RepetitionPenalty > 0) || !float.IsFinite(RepetitionPenalty)) throw Wrong(nameof(RepetitionPenalty), RepetitionPenalty, "above 0");
    }

    private static ArgumentOutOfRangeException Wrong(string setting, object value, string range) => new(setting, value, $"{setting} must be {range}.");
}

/// <summary>Mirror of SamplerState in sampler_state.cuh.</summary>
[StructLayout(LayoutKind.Sequential)]
internal struct SamplerState
{
    public ulong Seed;
    public float Temperature;
    public float TopP;
    public float MinP;
    public float RepetitionPenalty;
    public int TopK;
    public int Reserved;
}
