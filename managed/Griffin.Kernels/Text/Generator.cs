using System.Diagnostics;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Text;

/// <summary>Generates text token by token: prefill of the prompt, then one captured decode step a token.</summary>
/// <remarks>One generation at a time; the session is the caller's and may have other states.</remarks>
public sealed class Generator
{
    private readonly GriffinSession _session;

    /// <param name="session">Runs the model. Needs one free slot while a generation goes on.</param>
    public Generator(GriffinSession session)
    {
        ArgumentNullException.ThrowIfNull(session);
        _session = session;
    }

    /// <summary>Starts a generation; nothing runs before it is enumerated.</summary>
    /// <param name="prompt">Token ids, the beginning-of-sequence token included.</param>
    /// <param name="options">Length, sampling, stop tokens.</param>
    /// <param name="prefill">Told, on the thread that runs the model, how many of the prompt's tokens have been read: after each piece of
    /// <see cref="GriffinSession.ChunkTokens"/>, and at last all of them. A prompt of one piece reports once.</param>
    /// <exception cref="ArgumentException">The prompt is empty or holds an id outside the vocabulary.</exception>
    public Generation Start(ReadOnlyMemory<int> prompt, GenerationOptions options, IProgress<int>? prefill = null)
    {
        ArgumentNullException.ThrowIfNull(options);
        if (prompt.IsEmpty) throw new ArgumentException("The prompt holds no token: put the beginning-of-sequence token in front.", nameof(prompt));
        _session.Model.CheckTokens(prompt.Span);
        return new Generation(_session, prompt, options, prefill);
    }
}

/// <summary>One generation: an asynchronous sequence of token ids, and afterwards how it went.</summary>
public sealed class Generation : IAsyncEnumerable<int>
{
    private readonly GriffinSession _session;
    private readonly ReadOnlyMemory<int> _prompt;
    private readonly GenerationOptions _options;
    private readonly IProgress<int>? _prefill;

    internal Generation(GriffinSession session, ReadOnlyMemory<int> prompt, GenerationOptions options, IProgress<int>? prefill)
    {
        _session = session;
        _prompt = prompt;
        _options = options;
        _prefill = prefill;
    }

    /// <summary>Why it ended; null while it goes on, and where the enumeration was left early.</summary>
    public FinishReason? FinishReason { get; private set; }

    /// <summary>Time from the start to the end of the prompt's prefill.</summary>
    public TimeSpan PrefillTime { get; private set; }

    /// <summary>Time of all decode steps together.</summary>
    public TimeSpan DecodeTime { get; private set; }

    /// <summary>Decode steps run.</summary>
    public int StepCount { get; private set; }

    /// <summary>Runs the generation, yielding each token as it is drawn; a stop token ends it and is not yielded.</summary>
    /// <exception cref="OperationCanceledException">Cancelled: <see cref="FinishReason"/> says so, and the tokens yielded so far stand.</exception>
    public async IAsyncEnumerator<int> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        (FinishReason, StepCount, DecodeTime) = (null, 0, TimeSpan.Zero);
        using DecodeState state = _session.States.Rent();
        using BatchDecoder decoder = _session.CreateDecoder([state], [_options.Sampler]);
        long start = Stopwatch.GetTimestamp();

        // The prompt's last token is left to the first step, so that every drawn token comes out of the same captured graph.
        for (int done = 0; done < _prompt.Length - 1;)
        {
            ThrowIfCancelled(cancellationToken);
            ReadOnlyMemory<int> piece = _prompt[done..Math.Min(_prompt.Length - 1, done + _session.ChunkTokens)];
            await Task.Run(() => _session.Forward(state, piece.Span, [], LogitsSelection.None, []), CancellationToken.None);
            done += piece.Length;
            if (done < _prompt.Length - 1) _prefill?.Report(done);
        }

        decoder.Feed(0, _prompt.Span[^1]);
        _prefill?.Report(_prompt.Length);
        PrefillTime = Stopwatch.GetElapsedTime(start);

        while (StepCount < _options.MaxTokens)
        {
            ThrowIfCancelled(cancellationToken);
            start = Stopwatch.GetTimestamp();
            int token = await Task.Run(() => decoder.Step()[0], CancellationToken.None);
            DecodeTime += Stopwatch.GetElapsedTime(start);
            StepCount++;
            if (_options.StopTokens.Contains(token))
            {
                FinishReason = Text.FinishReason.Stop;
                yield break;
            }

            yield return token;
        }

        FinishReason = Text.FinishReason.Length;
    }

    private void ThrowIfCancelled(CancellationToken cancellationToken)
    {
        if (!cancellationToken.IsCancellationRequested) return;
        FinishReason = Text.FinishReason.Cancelled;
        throw new OperationCanceledException(cancellationToken);
    }
}

/// <summary>Why a generation ended.</summary>
public enum FinishReason
{
    /// <summary>A stop token was drawn.</summary>
    Stop,

    /// <summary>The most tokens asked for were drawn.</summary>
    Length,

    /// <summary>The caller cancelled.</summary>
    Cancelled,
}
