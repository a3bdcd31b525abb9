namespace Griffin.Kernels.Tests.References;

/// <summary>
/// Random models run through the authors' own implementation in float32: 48 tokens (a prompt of 40 and 8 steps), the logits of all of them,
/// the states after the 40, and the 40 as packed documents.
/// </summary>
internal sealed class OracleData(string name)
{
    /// <summary>Names of the models.</summary>
    public static string[] Names { get; } = ["small", "wide-rnn"];

    public const int PromptLength = 40;

    /// <summary>Tokens of the ring that the reference implementation keeps.</summary>
    public const int Window = 16;

    public string Folder { get; } = TestData.Path("oracle/" + name);

    public int[] Tokens => Npy.ReadIntegers(File("tokens.npy"));

    /// <summary>float32 logits [48, V].</summary>
    public TestTensor Logits => Npy.Read(File("logits_all.npy"))[0];

    /// <summary>Logits [48, V] of the reference's own bfloat16 run.</summary>
    public TestTensor Bf16Logits => Npy.Read(File("logits_bf16run.npy"))[0];

    /// <summary>Positions of the 40 tokens as three packed documents.</summary>
    public int[] PackedPositions => Npy.ReadIntegers(File("packed_pos.npy"));

    /// <summary>Their logits [40, V].</summary>
    public TestTensor PackedLogits => Npy.Read(File("packed_logits.npy"))[0];

    /// <summary>Residual stream after each block for the 40: [layers, 1, 40, d].</summary>
    public TestTensor Layers => Npy.Read(File("layers.npy"));

    /// <summary>State after the 40: <c>rg_lru_state</c>, <c>conv1d_state</c>, <c>keys</c>, <c>values</c>, <c>num_tokens</c> of a block.</summary>
    public TestTensor Cache(int block, string part) => Npy.Read(File($"cache_T_blocks.{block}_{part}.npy"));

    private string File(string file) => Path.Combine(Folder, file);
}
