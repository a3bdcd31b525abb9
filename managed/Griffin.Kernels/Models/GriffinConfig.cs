using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Models;

/// <summary>What mixes tokens in a layer.</summary>
public enum LayerKind
{
    /// <summary>Gated branch × (short convolution → RG-LRU).</summary>
    Recurrent,

    /// <summary>Multi-query attention with rotary positions, windowed or global.</summary>
    Attention,
}

/// <summary>How many keys a query of a windowed attention layer sees, itself included.</summary>
public enum VisibleKeysRule
{
    /// <summary>W + 1 keys: positions p − W … p. DeepMind's rule and the default.</summary>
    WindowPlusOne,

    /// <summary>W keys: positions p − W + 1 … p.</summary>
    Window,
}

/// <summary>The factor that embeddings are multiplied with on entry.</summary>
public enum EmbeddingScaleRule
{
    /// <summary>No scaling (the paper's models).</summary>
    None,

    /// <summary>√d rounded to bfloat16, whatever the storage type (RecurrentGemma: 2560 → 50.5).</summary>
    RoundedRootOfWidth,

    /// <summary>√d in float32, as some converters compute it.</summary>
    RootOfWidth,
}

/// <summary>
/// The shape of one model of the family: Griffin, Hawk, RecurrentGemma, and the multi-query Transformer they are compared with.
/// A value: equal when every field is. <see cref="Validate"/> checks the fields against each other; config.json is read and
/// written by <see cref="Checkpoints.ConfigFile"/>.
/// </summary>
public sealed record GriffinConfig
{
    /// <summary>Rows of the embedding table V (<c>vocab_size</c>).</summary>
    public required int Vocabulary { get; init; }

    /// <summary>Width d of the residual stream (<c>hidden_size</c>).</summary>
    public required int Width { get; init; }

    /// <summary>Number of layers N (<c>num_hidden_layers</c>).</summary>
    public required int Layers { get; init; }

    /// <summary>Query heads H of an attention layer (<c>num_attention_heads</c>); there is one key/value head.</summary>
    public required int Heads { get; init; }

    /// <summary>Width D of each half of the gated MLP. <c>intermediate_size</c> of config.json is 2·D.</summary>
    public required int MlpWidth { get; init; }

    /// <summary>Width l of the recurrence (<c>lru_width</c>); absent: d.</summary>
    public int RnnWidth { get => field == 0 ? Width : field; init; }

    /// <summary>Width hd of one head (<c>head_dim</c>); absent: d / H, which must be whole.</summary>
    public int HeadDim { get => field == 0 && Heads > 0 && Width % Heads == 0 ? Width / Heads : field; init; }

    /// <summary>Blocks of the block-diagonal gate products (<c>num_gate_blocks</c>, an extension key); absent: H.</summary>
    public int GateBlocks { get => field == 0 ? Heads : field; init; }

    /// <summary>Attention window W (<c>attention_window_size</c>); null: global attention. Absent from config.json: 2048.</summary>
    public int? Window { get; init; } = 2048;

    /// <summary>Keys a query of a windowed layer sees (<c>keys_visible</c>, an extension key).</summary>
    public VisibleKeysRule KeysRule { get; init; } = VisibleKeysRule.WindowPlusOne;

    /// <summary>Taps of the short convolution (<c>conv1d_width</c>).</summary>
    public int ConvTaps { get; init; } = 4;

    /// <summary>Logits become cap·tanh(logits / cap); 0: off (<c>logits_soft_cap</c>, 0 or null).</summary>
    public float LogitsSoftCap { get; init; } = 30f;

    /// <summary>Added to the mean square inside RMSNorm's root (<c>rms_norm_eps</c>).</summary>
    public float RmsNormEpsilon { get; init; } = 1e-6f;

    /// <summary>Base of the rotary frequencies (<c>rope_theta</c>).</summary>
    public double RopeTheta { get; init; } = 10000.0;

    /// <summary>Part of each head that rotates (<c>partial_rotary_factor</c>).</summary>
    public double PartialRotaryFactor { get; init; } = 0.5;

    /// <summary>How embeddings are scaled (<c>embeddings_scale_by_sqrt_dim</c>; <c>embedding_scale_rounding</c>, an extension key).</summary>
    public EmbeddingScaleRule EmbeddingScaleRule { get; init; } = EmbeddingScaleRule.RoundedRootOfWidth;

    /// <summary>Layer kinds from the first layer on, repeated until N layers have one (<c>block_types</c> or <c>_block_types</c>).</summary>
    public ValueList<LayerKind> Pattern { get; init; } = GriffinPattern;

    /// <summary>The token put in front of every text; null: none (<c>bos_token_id</c>).</summary>
    public int? BosToken { get; init; } = 2;

    /// <summary>Tokens that end a generation (<c>eos_token_id</c>, a number or a list).</summary>
    public ValueList<int> EosTokens { get; init; } = [1];

    /// <summary>The padding token; null: none (<c>pad_token_id</c>).</summary>
    public int? PadToken { get; init; } = 0;

    /// <summary>recurrent, recurrent, attention: Griffin and RecurrentGemma.</summary>
    public static ValueList<LayerKind> GriffinPattern { get; } = [LayerKind.Recurrent, LayerKind.Recurrent, LayerKind.Attention];

    /// <summary>Every layer recurrent: Hawk.</summary>
    public static ValueList<LayerKind> HawkPattern { get; } = [LayerKind.Recurrent];

    /// <summary>Every layer attention: the Transformer baseline.</summary>
    public static ValueList<LayerKind> TransformerPattern { get; } = [LayerKind.Attention];

    /// <summary>The factor embeddings are multiplied with: 1, bf16(√d) or √d.</summary>
    public float EmbeddingScale => EmbeddingScaleRule switch
    {
        EmbeddingScaleRule.None => 1f,
        EmbeddingScaleRule.RoundedRootOfWidth => (float)(BFloat16)MathF.Sqrt(Width),
        _ => MathF.Sqrt(Width),
    };

    /// <summary>Leading elements of each head that rotate: ⌊hd · fraction⌋, even.</summary>
    public int RotatedDim => (int)(HeadDim * PartialRotaryFactor);

    /// <summary>Keys a query sees at most, itself included: W + 1 or W; <see cref="int.MaxValue"/> with global attention.</summary>
    public int KeysVisible => Window is not { } window ? int.MaxValue : KeysRule == VisibleKeysRule.Window ? window : window + 1;

    /// <summary>Width b = l / blocks of one gate block.</summary>
    public int GateBlockWidth => RnnWidth / GateBlocks;

    /// <summary>Layers that are recurrent.</summary>
    public int RecurrentLayers => Layers - AttentionLayers;

    /// <summary>Layers that are attention.</summary>
    public int AttentionLayers
    {
        get
        {
            int count = 0;
            for (int layer = 0; layer < Layers; layer++) count += KindOf(layer) == LayerKind.Attention ? 1 : 0;
            return count;
        }
    }

    /// <summary>The kind of layer <paramref name="layer"/>, counted from 0.</summary>
    public LayerKind KindOf(int layer) => Pattern[layer % Pattern.Count];

    /// <summary>Parameters of the embedding table: V·d.</summary>
    public long EmbeddingParameters => (long)Vocabulary * Width;

    /// <summary>Parameters outside the embedding table.</summary>
    public long NonEmbeddingParameters
    {
        get
        {
            long d = Width, l = RnnWidth, hd = HeadDim, heads = Heads;
            long recurrent = 3 * d * l + 2 * l + d + (ConvTaps + 1) * l + l + 2 * (l * GateBlockWidth + l);
            long attention = 2 * d * heads * hd + 2 * d * hd + d;
            long mlp = 3 * d * MlpWidth + 2L * MlpWidth + d;
            return RecurrentLayers * recurrent + AttentionLayers * attention + Layers * mlp + (2L * Layers + 1) * d;
        }
    }

    /// <summary>All parameters; the output head is the embedding table and counts once.</summary>
    public long Parameters => EmbeddingParameters + NonEmbeddingParameters;

    /// <summary>What ops need to know of the shape.</summary>
    public ModelDimensions Dimensions() => new()
    {
        Width = Width,
        RnnWidth = RnnWidth,
        Heads = Heads,
        HeadDim = HeadDim,
        GateBlocks = GateBlocks,
        MlpWidth = MlpWidth,
        Vocabulary = Vocabulary,
        Window = Window,
        ConvTaps = ConvTaps,
        HasRecurrentLayers = RecurrentLayers > 0,
        HasAttentionLayers = AttentionLayers > 0,
    };

    /// <summary>Checks every field, alone and against the others.</summary>
    /// <returns>This configuration with the defaults that depend on other fields filled in, so that equal shapes are equal records.</returns>
    /// <exception cref="ArgumentException">A field is wrong; the message is one line naming it as config.json does, its value and the mend.</exception>
    public GriffinConfig Validate() => GriffinConfigRules.FindProblem(this) is { } problem
        ? throw new ArgumentException(problem)
        : this with { RnnWidth = RnnWidth, HeadDim = HeadDim, GateBlocks = GateBlocks };
}
