using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// Runs a model: a stream, a workspace planned once, and a pool of states. After it is made, calls allocate no device memory, nor do decode
/// steps after the first one of their batch size, which captures a graph.
/// Not thread-safe; make one session per thread.
/// </summary>
public sealed partial class GriffinSession : IDisposable
{
    private const long LogitsBudgetBytes = 32L << 20;
    private const int DefaultChunkTokens = 512;

    private readonly OwnedResources _owned = new();
    private readonly GpuStream _stream;
    private readonly Activations _activations;
    private readonly CallInputs _inputs;
    private readonly LayerStack _layers;
    private readonly PinnedBuffer<float> _hostLogits;
    private readonly Dictionary<int, DecodeGraph> _decodeGraphs = [];

    internal GriffinSession(GriffinModel model, SessionOptions options)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(options.Slots, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.MaxBatch, 1);
        ArgumentOutOfRangeException.ThrowIfNegative(options.ChunkTokens);
        Model = model;
        MaxBatch = options.MaxBatch;
        ChunkTokens = Math.Max(options.ChunkTokens == 0 ? DefaultChunkTokens : options.ChunkTokens, MaxBatch);
        GriffinConfig config = model.Config;
        StateLayout layout = new(config, model.Precision, options.GlobalCapacity);
        long affordable = LogitsBudgetBytes / (config.Vocabulary * (long)sizeof(float));
        int logitsRows = (int)Math.Clamp(affordable, MaxBatch, Math.Max(ChunkTokens, MaxBatch));

        try
        {
            _stream = _owned.Add(model.Device.CreateStream(LaunchesDependently(model.Device, options.DependentLaunch)));
            _ = _stream.Blas; // its workspace is set here: never in a step, never during a capture
            States = _owned.Add(new StatePool(_stream, layout, options.Slots, config.Vocabulary));
            _activations = _owned.Add(new Activations(
                _stream, config, model.Precision, ChunkTokens, logitsRows,
                model.Kernels.Recurrent?.Mixer.WorkspaceBytes(ChunkTokens, MaxBatch) ?? 0,
                model.Kernels.Attention?.Decode.WorkspaceBytes(MaxBatch, layout.RingSlots) ?? 0,
                model.Kernels.Attention?.Decode.ArrivalBytes(MaxBatch, layout.RingSlots) ?? 0,
                Math.Max(model.Kernels.Fused?.SquaresBytes(MaxBatch) ?? 0, model.Kernels.Chained?.SquaresBytes(ChunkTokens) ?? 0),
                model.Kernels.Chained is null ? 0 : ChunkTokens));
            _inputs = _owned.Add(new CallInputs(model.Device, ChunkTokens, MaxBatch));
            _hostLogits = _owned.Add(model.Device.AllocatePinned<float>(checked(logitsRows * config.Vocabulary)));
            _layers = new LayerStack(model.Weights, model.Kernels, _activations, States);
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>The model.</summary>
    public GriffinModel Model { get; }

    /// <summary>The states of the sequences.</summary>
    public StatePool States { get; }

    /// <summary>Most rows that run at once: a call of more is cut, a decoder has no more.</summary>
    public int MaxBatch { get; }

    /// <summary>Most tokens that run through the layers at once.</summary>
    public int ChunkTokens { get; }

    /// <summary>Device bytes of activations and inputs, those of the decode graphs made so far included.</summary>
    public long WorkspaceBytes =>
        _activations.Bytes + _inputs.Memory.Bytes + (_stream.Blas?.WorkspaceBytes ?? 0) + _decodeGraphs.Values.Sum(graph => graph.InputBytes);

    internal Action<int, TensorView>? AfterBlock
    {
        get => _layers.AfterBlock;
        set => _layers.AfterBlock = value;
    }

    internal GpuStream Stream => _stream;

    /// <summary>Runs tokens through the model, continuing a state.</summary>
    /// <param name="state">A state of this session; moves on.</param>
    /// <param name="tokens">Token ids. None: nothing happens.</param>
    /// <param name="positions">A position per token: -1 padding, 0 a document starts, else the previous + 1. Empty: the state's next position and on.</param>
    /// <param name="which">Which logits to return.</param>
    /// <param name="logits">Receives float32 [rows, V], soft-capped; empty with <see cref="LogitsSelection.None"/>.</param>
    /// <param name="chunk">Most tokens at once; 0 takes <see cref="ChunkTokens"/>. The result does not depend on it beyond rounding.</param>
    /// <exception cref="ArgumentException">A token, a position, or a length is wrong, or a global layer's capacity is exceeded.</exception>
    public void Forward(DecodeState state, ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, LogitsSelection which, Span<float> logits, int chunk = 0) =>
        Forward([state], [0, tokens.Length], tokens, positions, which, logits, chunk);

    /// <summary>Runs several rows, each continuing a state of its own.</summary>
    /// <param name="states">One state a row, no state twice.</param>
    /// <param name="rowStart">Where each row starts in <paramref name="tokens"/>, and the end: [rows + 1].</param>
    /// <param name="tokens">The rows' token ids, one row after the other.</param>
    /// <param name="positions">As in the overload of one row; empty: every row continues its state.</param>
    /// <param name="which">Which logits to return.</param>
    /// <param name="logits">Receives float32 [tokens or rows, V]. The row of an empty sequence is left as it is.</param>
    /// <param name="chunk">Most tokens at once; 0 takes <see cref="ChunkTokens"/>.</param>
    /// <exception cref="ArgumentException">As in the overload of one row.</exception>
    public void Forward(
        ReadOnlySpan<DecodeState> states, ReadOnlySpan<int> rowStart, ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions,
        LogitsSelection which, Span<float> logits, int chunk = 0)
    {
        int[] resolved = CheckCall(states, rowStart, tokens, positions, which, logits);
        int limit = chunk == 0 ? ChunkTokens : Math.Clamp(chunk, 1, ChunkTokens);
        CallPieces pieces = new(rowStart.ToArray(), limit, MaxBatch);
        while (pieces.Next())
            RunPiece(pieces, states, tokens, resolved, which, logits);
        _stream.Synchronize();
    }

    /// <summary>Waits for everything queued.</summary>
    public void Synchronize() => _stream.Synchronize();

    /// <summary>Makes a decoder that draws one token a step for each state.</summary>
    /// <param name="states">One state a row; they must outlive the decoder.</param>
    /// <param name="settings">How each row's token is chosen.</param>
    /// <exception cref="ArgumentException">Too many rows, a state twice, or settings out of range.</exception>
    public BatchDecoder CreateDecoder(ReadOnlySpan<DecodeState> states, ReadOnlySpan<SamplerSettings> settings)
    {
        if (states.IsEmpty) throw new ArgumentException("A decoder needs at least one state.", nameof(states));
        if (settings.Length != states.Length) throw new ArgumentException($"{states.Length} states need as many sampler settings, not {settings.Length}.", nameof(settings));
        CheckStates(states);
        if (!_decodeGraphs.TryGetValue(states.Length, out DecodeGraph? graph))
            _decodeGraphs[states.Length] = graph = new DecodeGraph(this, _layers, _activations, states.Length);
        return new BatchDecoder(this, graph, states.ToArray(), settings);
    }

    /// <summary>Frees everything but the model.</summary>
    public void Dispose()
    {
        foreach (DecodeGraph graph in _decodeGraphs.Values) graph.Dispose();
        _owned.Dispose();
    }

    private static bool LaunchesDependently(GpuDevice device, DependentLaunch choice) =>
        choice == DependentLaunch.Auto ? device.Kind == GpuDeviceKind.Cuda && device.HasDependentLaunches : choice == DependentLaunch.On;

    private void RunPiece(CallPieces piece, ReadOnlySpan<DecodeState> states, ReadOnlySpan<int> tokens, int[] positions, LogitsSelection which, Span<float> logits)
    {
        int rows = piece.Rows.Count;
        int[] slots = new int[rows];
        int[] starts = new int[rows + 1];
        List<int> pieceTokens = [];
        List<int> piecePositions = [];
        for (int i = 0; i < rows; i++)
        {
            PieceRow row = piece.Rows[i];
            slots[i] = states[row.Row].Slot;
            pieceTokens.AddRange(tokens.Slice(row.Start, row.Count));
            piecePositions.AddRange(positions.AsSpan(row.Start, row.Count));
            starts[i + 1] = pieceTokens.Count;
        }

        int count = pieceTokens.Count;

        // Until the whole piece has run, its states hold neither what they held nor what they will: an error on the way leaves them unusable.
        foreach (PieceRow row in piece.Rows) states[row.Row].BeginWrite();
        _inputs.Send(_stream, [.. pieceTokens], [.. piecePositions], starts, slots);
        Call call = new(_stream, _inputs.Rows(count, rows, States.Seen), _inputs.Tokens(count), _inputs.Positions(count), Step: count == rows && !Model.Options.BatchInvariant);
        _layers.Run(call);
        Model.Kernels.Sampler.Count(_stream, call.Rows, call.Tokens, States.Samplers.State);
        Model.Kernels.Advance.Run(_stream, call.Rows, States.Seen, call.Positions);
        ReturnLogits(piece, count, which, logits);
        foreach (PieceRow row in piece.Rows)
            states[row.Row].Advance(tokens.Slice(row.Start, row.Count), positions.AsSpan(row.Start, row.Count));
    }

    private void ReturnLogits(CallPieces piece, int count, LogitsSelection which, Span<float> logits)
    {
        int vocabulary = Model.Config.Vocabulary;
        TensorView normed = _activations.Normed(count);
        if (which == LogitsSelection.All)
        {
            // The rows of a piece are runs of tokens; each run's logits go where its tokens stand in the call.
            int done = 0;
            foreach (PieceRow row in piece.Rows)
            {
                CopyLogits(normed.RowRange(done, row.Count), logits.Slice(row.Start * vocabulary, row.Count * vocabulary));
                done += row.Count;
            }
        }
        else if (which == LogitsSelection.Last && piece.Rows.Any(row => row.IsEnd))
        {
            TensorView selected = _activations.Selected(piece.Rows.Count);
            Model.Kernels.Embedding.Run(_stream, _inputs.LastTokens(piece.Rows.Count), normed, 1f, selected);
            float[] last = new float[piece.Rows.Count * vocabulary];
            CopyLogits(selected, last);
            for (int i = 0; i < piece.Rows.Count; i++)
            {
                if (piece.Rows[i].IsEnd) last.AsSpan(i * vocabulary, vocabulary).CopyTo(logits.Slice(piece.Rows[i].Row * vocabulary, vocabulary));
            }
        }
    }

    private void CopyLogits(TensorView normed, Span<float> destination)
    {
        int vocabulary = Model.Config.Vocabulary;
        for (long start = 0; start < normed.Rows; start += _activations.LogitsRows)
        {
            int rows = (int)Math.Min(_activations.LogitsRows, normed.Rows - start);
            TensorView logits = _activations.Logits(rows);
            _layers.RunHead(_stream, normed.RowRange(start, rows), logits);
            _stream.CopyToHost(logits.Owner, _activations.LogitsOffset, _hostLogits, 0, rows * vocabulary);
            _stream.Synchronize();
            _hostLogits.Span[..(rows * vocabulary)].CopyTo(destination[((int)start * vocabulary)..]);
        }
    }
}
