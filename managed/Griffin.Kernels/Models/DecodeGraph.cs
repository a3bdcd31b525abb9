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
    private readonly CallInputs _fed;
    private readonly PinnedBuffer<int> _drawn;
    private GpuGraph? _graph;

    public DecodeGraph(GriffinSession session, LayerStack layers, Activations activations, int rows)
    {
        if (rows > session.MaxBatch) throw new ArgumentException($"{rows} rows are more than the session's {session.MaxBatch}: make the session with a larger MaxBatch.");
        (_session, _layers, _activations, Rows) = (session, layers, activations, rows);
        _inputs = new CallInputs(session.Model.Device, rows, rows);
        _fed = new CallInputs(session.Model.Device, rows, rows);
        _drawn = session.Model.Device.AllocatePinned<int>(rows);
    }

    public int Rows { get; }

    /// <summary>The decoder whose rows the inputs hold.</summary>
    public BatchDecoder? Owner { get; set; }

    /// <summary>Sets tokens, positions and slots; needed at a first step and after anything but a step.</summary>
    /// <param name="tokens">Input tokens.</param>
    /// <param name="fed">Those that were fed and not drawn, -1 elsewhere: a drawn token was counted by its draw.</param>
    /// <param name="positions">Their positions.</param>
    /// <param name="slots">The rows' slots.</param>
    public void Send(ReadOnlySpan<int> tokens, ReadOnlySpan<int> fed, ReadOnlySpan<int> positions, ReadOnlySpan<int> slots)
    {
        int[] starts = [.. Enumerable.Range(0, Rows + 1)];
        _inputs.Send(_session.Stream, tokens, positions, starts, slots);
        if (!fed.ContainsAnyExcept(-1)) return;
        _fed.Send(_session.Stream, fed, positions, starts, slots);
        StatePool states = _session.States;
        _session.Model.Kernels.Sampler.Count(_session.Stream, _fed.Rows(Rows, Rows, states.Seen), _fed.Tokens(Rows), states.Samplers.State);
    }

    /// <summary>Runs one step and returns the drawn tokens.</summary>
    public ReadOnlySpan<int> Step()
    {
        _graph ??= Capture();
        _session.Stream.Launch(_graph);
        _session.Stream.Synchronize();
        return _drawn.Span;
    }

    public void Dispose()
    {
        _graph?.Dispose();
        _inputs.Dispose();
        _fed.Dispose();
        _drawn.Dispose();
    }

    private GpuGraph Capture()
    {
        GpuStream stream = _session.Stream;
        stream.BeginCapture();
        try
        {
            Queue(stream);
            return stream.EndCapture(_session.States.Memory, _session.Model.Weights.Memory, _activations.Memory, _inputs.Memory);
        }
        catch
        {
            stream.AbandonCapture();
            throw;
        }
    }

    private void Queue(GpuStream stream)
    {
        ModelKernels kernels = _session.Model.Kernels;
        StatePool states = _session.States;
        TensorView tokens = _inputs.Tokens(Rows);
        TensorView positions = _inputs.Positions(Rows);
        PackedRows rows = _inputs.Rows(Rows, Rows, states.Seen);
        TensorView logits = _activations.Logits(Rows);
        _layers.Run(new Call(stream, rows, tokens, positions, Step: !kernels.BatchInvariant));
        _layers.RunHead(stream, _activations.Normed(Rows), logits);
        kernels.Sampler.Run(stream, logits, positions, _inputs.Slots(Rows), states.Samplers.State, tokens);
        kernels.AdvanceStep.Run(stream, rows, states.Seen, positions);
        stream.CopyToHost(tokens.Owner, 0, _drawn, 0, Rows);
    }
}
