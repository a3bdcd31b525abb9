using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Models;

/// <summary>Draws one token a step for each of its states. The drawn token is the next step's input unless another is fed.</summary>
public sealed class BatchDecoder : IDisposable
{
    private readonly GriffinSession _session;
    private readonly DecodeGraph _graph;
    private readonly DecodeState[] _states;
    private readonly int[] _next;
    private readonly SamplerSettings[] _settings;
    private readonly bool _unrestricted;
    private readonly int[] _versions;
    private readonly int[] _positions;
    private readonly int[] _slots;
    private readonly bool[] _active;
    private bool _dirty = true;
    private bool _disposed;

    internal BatchDecoder(GriffinSession session, DecodeGraph graph, DecodeState[] states, ReadOnlySpan<SamplerSettings> settings)
    {
        _session = session;
        _graph = graph;
        _states = states;
        _next = new int[states.Length];
        _settings = settings.ToArray();
        _unrestricted = !_settings.Any(setting => setting.RestrictsDraws);
        _versions = new int[states.Length];
        _positions = new int[states.Length];
        _slots = [.. states.Select(state => state.Slot)];
        _active = new bool[states.Length];
        foreach (SamplerSettings setting in settings) setting.Validate();
        for (int row = 0; row < states.Length; row++) Configure(row);
    }

    /// <summary>Sets a row's next input token: the prompt's last one at first, or one to go on with in place of the drawn one.</summary>
    /// <exception cref="ArgumentException">The token is outside the vocabulary.</exception>
    public void Feed(int row, int token)
    {
        _session.Model.CheckTokens([token]);
        _next[row] = token;
        _active[row] = true;
        _dirty = true;
    }

    /// <summary>Takes a row out: its state stays as it is, and its drawn tokens mean nothing, until it is fed again.</summary>
    public void Stop(int row)
    {
        _active[row] = false;
        _dirty = true;
    }

    /// <summary>Runs one step.</summary>
    /// <returns>The drawn token of each row; valid until the next step of any decoder of so many rows.</returns>
    /// <exception cref="InvalidOperationException">A row was never fed, and none is stopped.</exception>
    /// <exception cref="ArgumentException">A global layer's capacity is exceeded.</exception>
    public ReadOnlySpan<int> Step()
    {
        ObjectDisposedException.ThrowIf(_disposed, this);
        if (!_active.Contains(true)) throw new InvalidOperationException("No row has an input token: feed one first.");
        for (int row = 0; row < _states.Length; row++)
        {
            _states[row].CheckUse();
            if (_states[row].Version != _versions[row]) Configure(row);
            int position = _active[row] ? _states[row].NextPosition : -1;

            // The device moves positions on by itself; anything else that touched a state shows here.
            _dirty |= position != _positions[row];
            _positions[row] = position;
        }

        _session.CheckCapacity(_positions);
        if (_dirty || _graph.Owner != this) _graph.Send(_next, _positions, _slots);

        // Should the step fail, everything is sent again, and the states it may have changed must not be used.
        (_dirty, _graph.Owner) = (true, this);
        for (int row = 0; row < _states.Length; row++)
        {
            if (_active[row]) _states[row].BeginWrite();
        }

        ReadOnlySpan<int> drawn = _graph.Step(_unrestricted);
        _dirty = false;
        for (int row = 0; row < _states.Length; row++)
        {
            if (!_active[row]) continue;
            _states[row].Advance([_next[row]], [_positions[row]]);
            _next[row] = drawn[row];
            _positions[row]++;
        }

        return drawn;
    }

    /// <summary>Lets go of the graph; the states go on.</summary>
    public void Dispose()
    {
        _disposed = true;
        if (_graph.Owner == this) _graph.Owner = null;
    }

    // The decoder's settings hold also after its state was reset, restored or copied into, or served another decoder.
    private void Configure(int row) => _versions[row] = _states[row].Configure(_settings[row]);
}
