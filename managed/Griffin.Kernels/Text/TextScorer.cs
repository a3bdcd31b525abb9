using Griffin.Kernels.Models;

namespace Griffin.Kernels.Text;

/// <summary>
/// Scores token sequences: the sum over all tokens of -ln p(token | the tokens before it in its piece), pieces of a fixed length, each
/// from a fresh state behind the begin-of-sequence token.
/// </summary>
public sealed class TextScorer : IDisposable
{
    private const int TokensAtOnce = 2048;
    private const long LogitsBudgetBytes = 256L << 20;

    private readonly GriffinSession _session;
    private readonly DecodeState[] _states;
    private readonly int _bos;
    private readonly int _vocabulary;
    private readonly int _context;

    /// <summary>Plans the session.</summary>
    /// <param name="model">The model.</param>
    /// <param name="context">Tokens of a piece.</param>
    /// <exception cref="ArgumentException">The model has no begin-of-sequence token.</exception>
    public TextScorer(GriffinModel model, int context)
    {
        ArgumentNullException.ThrowIfNull(model);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(context);
        _bos = model.Config.BosToken ?? throw new ArgumentException("the model has no begin-of-sequence token (bos_token_id), which scoring puts in front", nameof(model));
        _vocabulary = model.Config.Vocabulary;
        _context = context;
        int rows = (int)Math.Clamp(LogitsBudgetBytes / sizeof(float) / _vocabulary, 1, Math.Max(1, TokensAtOnce / context));
        _session = model.CreateSession(new SessionOptions { Slots = rows, MaxBatch = rows, ChunkTokens = Math.Min(rows * context, TokensAtOnce), GlobalCapacity = context });
        try
        {
            _states = [.. Enumerable.Range(0, rows).Select(_ => _session.States.Rent())];
        }
        catch
        {
            _session.Dispose();
            throw;
        }
    }

    /// <summary>Scores a sequence.</summary>
    /// <param name="tokens">The tokens, without any begin-of-sequence token.</param>
    /// <param name="progress">Told of the tokens scored so far.</param>
    /// <param name="cancellationToken">Stops between calls.</param>
    /// <returns>The sum of the negative log likelihoods, in nats.</returns>
    public double Score(ReadOnlySpan<int> tokens, IProgress<long>? progress = null, CancellationToken cancellationToken = default)
    {
        double nats = 0;
        int group = _states.Length * _context;
        for (int first = 0; first < tokens.Length; first += group)
        {
            nats += ScoreGroup(tokens.Slice(first, Math.Min(group, tokens.Length - first)), cancellationToken);
            progress?.Report(Math.Min(first + group, tokens.Length));
        }
        return nats;
    }

    /// <summary>Frees the session.</summary>
    public void Dispose()
    {
        foreach (DecodeState state in _states) state.Dispose();
        _session.Dispose();
    }

    /// <summary>Scores as many pieces as there are states, side by side, in steps whose logits fit the budget.</summary>
    private double ScoreGroup(ReadOnlySpan<int> tokens, CancellationToken cancellationToken)
    {
        int rows = (tokens.Length + _context - 1) / _context;
        int step = (int)Math.Clamp(LogitsBudgetBytes / sizeof(float) / _vocabulary / rows, 1, _context);
        ReadOnlySpan<DecodeState> states = _states.AsSpan(0, rows);
        foreach (DecodeState state in states) state.Reset();
        int[] rowStart = new int[rows + 1];
        int[] inputs = new int[Math.Min(tokens.Length, rows * step)], targets = new int[inputs.Length];
        float[] logits = new float[checked((long)inputs.Length * _vocabulary)];
        double nats = 0;
        for (int offset = 0; offset < _context; offset += step)
        {
            cancellationToken.ThrowIfCancellationRequested();
            int count = 0;
            for (int row = 0; row < rows; row++)
            {
                ReadOnlySpan<int> piece = tokens.Slice(row * _context, Math.Min(_context, tokens.Length - row * _context));
                for (int i = offset; i < Math.Min(offset + step, piece.Length); i++)
                {
                    inputs[count] = i == 0 ? _bos : piece[i - 1];
                    targets[count++] = piece[i];
                }
                rowStart[row + 1] = count;
            }
            if (count == 0) break;
            _session.Forward(states, rowStart, inputs.AsSpan(0, count), [], LogitsSelection.All, logits.AsSpan(0, count * _vocabulary));
            for (int i = 0; i < count; i++) nats += NegativeLogLikelihood(logits.AsSpan(i * _vocabulary, _vocabulary), targets[i]);
        }
        return nats;
    }

    /// <summary>ln Σ exp(logits) - logits[target], in float64 behind the largest logit.</summary>
    private static double NegativeLogLikelihood(ReadOnlySpan<float> logits, int target)
    {
        float most = float.NegativeInfinity;
        foreach (float logit in logits) most = MathF.Max(most, logit);
        double sum = 0;
        foreach (float logit in logits) sum += MathF.Exp(logit - most);
        return Math.Log(sum) + most - logits[target];
    }
}
