using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>
/// One decode step of so many rows as a captured graph: tokens in, layers, logits, draw, tokens out. Slots, positions and tokens are read
/// from device memory, so one graph serves any states; the drawn tokens are the next step's input, and positions move on by themselves.
/// </summary>
internal sealed class DecodeGraph : IDisposable
{
    private readonly GriffinSession _session;
    private readonly LayerStack _layers;
    private readonly Activations _activations;
    private readonly CallInputs _inputs;
    private readonly PinnedBuffer<int> _drawn;
    private GpuGraph? _graph;
    private GpuGraph? _headGraph;

    public DecodeGraph(GriffinSession session, LayerStack layers, Activations activations, int rows)
    {
        if (rows > session.MaxBatch) throw new ArgumentException($"{rows} rows are more than the session's {session.MaxBatch}: make the session with a larger MaxBatch.");
        (_session, _layers, _activations, Rows) = (session, layers, activations, rows);
        _inputs = new CallInputs(session.Model.Device, rows, rows);
        try
        {
            _drawn = session.Model.Device.AllocatePinned<int>(rows);
        }
        catch
        {
            _inputs.Dispose();
            throw;
        }
    }

    public int Rows { get; }

    /// <summary>The decoder whose rows the inputs hold.</summary>
    public BatchDecoder? Owner { get; set; }

    /// <summary>Device bytes of the step's inputs.</summary>
    public long InputBytes => _inputs.Memory.Bytes;

    /// <summary>Sets tokens, positions and slots; needed at a first step and after anything but a step.</summary>
    public void Send(ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, ReadOnlySpan<int> slots) =>
        _inputs.Send(_session.Stream, tokens, positions, [.. Enumerable.Range(0, Rows + 1)], slots);

    /// <summary>Runs one step and returns the drawn tokens.</summary>
    /// <param name="unrestricted">No row's draw is restricted, so that a step without logits will do.</param>
    public ReadOnlySpan<int> Step(bool unrestricted)
    {
        bool withoutLogits = unrestricted && _layers.ChoosesTokens(Rows);
        ref GpuGraph? graph = ref withoutLogits ? ref _headGraph : ref _graph;
        graph ??= Capture(withoutLogits);
        _session.Stream.Launch(graph);
        _session.Stream.Synchronize();
        return _drawn.Span;
    }

    public void Dispose()
    {
        _graph?.Dispose();
        _headGraph?.Dispose();
        _inputs.Dispose();
        _drawn.Dispose();
    }

    private GpuGraph Capture(bool withoutLogits)
    {
        GpuStream stream = _session.Stream;
        stream.BeginCapture();
        try
        {
            Queue(stream, withoutLogits);
            StatePool states = _session.States;
            List<DeviceMemory> uses = [states.Memory, states.Seen.Owner, states.Samplers.Memory, _session.Model.Weights.Memory, _activations.Memory, _inputs.Memory];
            if (_session.Model.Kernels.Attention is { } attention) uses.Add(attention.Phases.Owner);
            return stream.EndCapture([.. uses]);
        }
        catch
        {
            stream.AbandonCapture();
            throw;
        }
    }

    private void Queue(GpuStream stream, bool withoutLogits)
    {
        ModelKernels kernels = _session.Model.Kernels;
        StatePool states = _session.States;
        TensorView tokens = _inputs.Tokens(Rows);
        TensorView positions = _inputs.Positions(Rows);
        PackedRows rows = _inputs.Rows(Rows, Rows, states.Seen);
        TensorView slots = _inputs.Slots(Rows);
        Call call = new(stream, rows, tokens, positions, Step: !kernels.BatchInvariant);
        kernels.Sampler.Count(stream, rows, tokens, states.Samplers.State);
        if (withoutLogits)
        {
            _layers.RunToTokens(call, slots, states.Samplers.State);
        }
        else
        {
            TensorView logits = _activations.Logits(Rows);
            _layers.RunToLogits(call, logits);
            kernels.Sampler.Run(stream, logits, positions, slots, states.Samplers.State, tokens);
        }

        kernels.AdvanceStep.Run(stream, rows, states.Seen, positions);
        stream.CopyToHost(tokens.Owner, 0, _drawn, 0, Rows);
    }
}
