using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The activations of one call, planned once for the most tokens a call may have.</summary>
internal sealed class Activations : IDisposable
{
    private readonly DeviceMemory _memory;
    private readonly WorkspacePart _residual;
    private readonly WorkspacePart _normed;
    private readonly WorkspacePart _delta;
    private readonly WorkspacePart _squares;
    private readonly WorkspacePart _factors;
    private readonly WorkspacePart _xy;
    private readonly WorkspacePart _convolved;
    private readonly WorkspacePart _gates;
    private readonly WorkspacePart _mixed;
    private readonly WorkspacePart _scanScratch;
    private readonly WorkspacePart _qkv;
    private readonly WorkspacePart _attended;
    private readonly WorkspacePart _attentionScratch;
    private readonly WorkspacePart _attentionArrivals;
    private readonly WorkspacePart _gateUp;
    private readonly WorkspacePart _hidden;
    private readonly WorkspacePart _selected;
    private readonly WorkspacePart _logits;

    /// <param name="stream">The stream of the calls, on whose device to allocate.</param>
    /// <param name="config">The model.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="tokens">Most tokens of a call.</param>
    /// <param name="logitsRows">Rows of logits held at once.</param>
    /// <param name="scanBytes">Scratch of the scan.</param>
    /// <param name="attentionBytes">Scratch of decode attention.</param>
    /// <param name="arrivalBytes">Counters of decode attention.</param>
    /// <param name="squaresBytes">Sums of squares of the residual stream in fused calls.</param>
    /// <param name="factorRows">Most tokens of a call with row factors.</param>
    public Activations(
        GpuStream stream, GriffinConfig config, ElementType type, int tokens, int logitsRows, long scanBytes, long attentionBytes, long arrivalBytes, long squaresBytes,
        int factorRows)
    {
        WorkspacePlan plan = new();
        _residual = plan.Matrix(type, tokens, config.Width);
        _normed = plan.Matrix(type, tokens, config.Width);
        _delta = plan.Matrix(type, tokens, config.Width);
        _squares = plan.Scratch(squaresBytes);
        _factors = plan.Matrix(ElementType.Float32, 1, factorRows);
        _attentionArrivals = plan.Matrix(ElementType.UInt8, 1, arrivalBytes); // zeros from call to call: nothing may lie over them

        plan.BeginPhase(); // recurrent block
        _xy = plan.Matrix(type, tokens, 2L * config.RnnWidth);
        _convolved = plan.Matrix(type, tokens, config.RnnWidth);
        _gates = plan.Matrix(type, tokens, 2L * config.RnnWidth);
        _mixed = plan.Matrix(type, tokens, config.RnnWidth);
        _scanScratch = plan.Scratch(scanBytes);

        plan.BeginPhase(); // attention block
        _qkv = plan.Matrix(type, tokens, (config.Heads + 2L) * config.HeadDim);
        _attended = plan.Matrix(type, tokens, (long)config.Heads * config.HeadDim);
        _attentionScratch = plan.Scratch(attentionBytes);

        plan.BeginPhase(); // gated MLP
        _gateUp = plan.Matrix(type, tokens, 2L * config.MlpWidth);
        _hidden = plan.Matrix(type, tokens, config.MlpWidth);

        plan.BeginPhase(); // head
        _selected = plan.Matrix(type, logitsRows, config.Width);
        _logits = plan.Matrix(ElementType.Float32, logitsRows, config.Vocabulary);

        LogitsRows = logitsRows;
        _memory = stream.Device.AllocateBytes(plan.Bytes);
        try
        {
            stream.Fill(_memory, _attentionArrivals.Offset, arrivalBytes, 0);
        }
        catch
        {
            _memory.Dispose();
            throw;
        }
    }

    /// <summary>Bytes of device memory held.</summary>
    public long Bytes => _memory.Bytes;

    /// <summary>Rows of logits held at once.</summary>
    public int LogitsRows { get; }

    public TensorView Residual(long tokens) => _residual.In(_memory, tokens);

    public TensorView Normed(long tokens) => _normed.In(_memory, tokens);

    public TensorView Delta(long tokens) => _delta.In(_memory, tokens);

    /// <summary>Sums of squares of the residual stream's rows, in parts; fused calls only.</summary>
    public TensorView Squares(long rows, int parts) => TensorView.Of(_memory, _squares.Offset, ElementType.Float32, rows, parts);

    /// <summary>The same as one row, for fused calls of many rows.</summary>
    public TensorView SquaresWorkspace => _squares.In(_memory, 1);

    /// <summary>1 / rms of the residual stream's rows, float32; calls with row factors only.</summary>
    public TensorView Factors(long tokens) => TensorView.Of(_memory, _factors.Offset, ElementType.Float32, 1, tokens);

    public RecurrentBuffers Recurrent(long tokens) =>
        new(_xy.In(_memory, tokens), _convolved.In(_memory, tokens), _gates.In(_memory, tokens), _mixed.In(_memory, tokens), _scanScratch.In(_memory, 1));

    public AttentionBuffers Attention(long tokens) => new(_qkv.In(_memory, tokens), _attended.In(_memory, tokens), _attentionScratch.In(_memory, 1), _attentionArrivals.In(_memory, 1));

    public MlpBuffers Mlp(long tokens) => new(_gateUp.In(_memory, tokens), _hidden.In(_memory, tokens));

    public TensorView Selected(long rows) => _selected.In(_memory, rows);

    public TensorView Logits(long rows) => _logits.In(_memory, rows);

    /// <summary>The largest logit of each row and tile of the vocabulary, in the place of the logits, which are larger.</summary>
    public TensorView Best(long rows, int tiles) => TensorView.Of(_memory, _logits.Offset, ElementType.UInt64, rows, tiles);

    public DeviceMemory Memory => _memory;

    /// <summary>Byte offset of the logits in <see cref="Memory"/>.</summary>
    public long LogitsOffset => _logits.Offset;

    public void Dispose() => _memory.Dispose();
}
