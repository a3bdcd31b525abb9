using System.CommandLine;
using System.Globalization;
using System.Text;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Text;

namespace Griffin.Cli.Verbs;

/// <summary>Continues a prompt.</summary>
internal sealed class GenerateVerb : Verb
{
    private const int UsualTokens = 200;

    private readonly ModelOptions _model = new();
    private readonly SamplingOptions _sampling = new();
    private readonly Option<string?> _prompt;
    private readonly Option<int[]?> _tokens, _stopTokens;
    private readonly Option<int?> _maxTokens;

    internal GenerateVerb() : base("generate", "continue a prompt")
    {
        Add(_model.Model);
        Add(_model.Preset);
        _prompt = Add(new Option<string?>("--prompt", "-p") { Description = "the text to continue; may be empty", HelpName = "TEXT" });
        _tokens = Add(OptionKit.Integers("--tokens", "token ids to continue, in place of --prompt; BOS is put in front unless it is there", least: 0));
        _maxTokens = Add(OptionKit.Number("--max-tokens", $"most tokens to generate (default: {UsualTokens})", 0, int.MaxValue));
        _stopTokens = Add(OptionKit.Integers("--stop-tokens", "ids that end the text, besides the model's own", least: 0));
        foreach (Option option in _sampling.All) Add(option);
    }

    protected override async Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        string? prompt = parsed.GetValue(_prompt);
        int[]? given = parsed.GivenOrNull(_tokens);
        if (prompt is null == given is null) throw new CliException("give --prompt or --tokens, one of them");
        SamplerSettings sampler = _sampling.Read(parsed);
        using CheckpointReader checkpoint = _model.Open(parsed);
        GriffinConfig config = checkpoint.Config;
        ITokenizer? tokenizer = given is null ? TokenizerFiles.Load(_model.Path(parsed), config) : FindTokenizer(_model.Path(parsed), config);
        int[] tokens = given ?? tokenizer!.Encode(prompt!);
        TokenChecks.InVocabulary(file: null, tokens, config);
        GenerationOptions options = new()
        {
            MaxTokens = parsed.GetValue(_maxTokens) ?? UsualTokens,
            Sampler = sampler,
            StopTokens = new HashSet<int>([.. config.EosTokens, .. parsed.GivenOrNull(_stopTokens) ?? []]),
        };

        using ModelRun run = ModelRun.Load(checkpoint, settings, cancellationToken);
        int[] input = WithBos(tokens, config);
        using GriffinSession session = run.Model.CreateSession(new SessionOptions { GlobalCapacity = (int)Math.Min(input.Length + (long)options.MaxTokens, int.MaxValue) });
        PromptProgress reading = new(input.Length);
        Generation generation = new Generator(session).Start(input, options, reading);
        TextWriter shown = settings.Json ? TextWriter.Null : settings.Streams.Output;
        string start = tokenizer is null ? string.Join(',', tokens) : prompt ?? tokenizer.Decode(tokens);
        bool isLong = input.Length - 1 > session.ChunkTokens;
        (List<int> generated, string? text) = await StreamAsync(generation, start, tokenizer, shown, isLong ? settings.Work : null, reading, cancellationToken);
        if (settings.Json) WriteJson(settings.Streams.Output, generation, generated, text, run.Device.Description);
        else if (settings.Streams.Interactive) await settings.Streams.Error.WriteLineAsync();
        return generation.FinishReason == FinishReason.Cancelled ? ExitCode.Cancelled : ExitCode.Success;
    }

    /// <summary>
    /// Shows the prompt and each token's text as it comes; without a tokenizer, its id. A long prompt is read first, under a progress bar
    /// that is gone before anything is shown.
    /// </summary>
    private static async Task<(List<int> Tokens, string? Text)> StreamAsync(
        Generation generation, string prompt, ITokenizer? tokenizer, TextWriter shown, LongWork? longRead, PromptProgress reading, CancellationToken cancellationToken)
    {
        List<int> tokens = [];
        StringBuilder text = new();
        ITokenDecoder? decoder = tokenizer?.CreateDecoder();
        await using IAsyncEnumerator<int> drawn = generation.GetAsyncEnumerator(cancellationToken);

        async Task ShowAsync(string piece)
        {
            text.Append(piece);
            await shown.WriteAsync(piece);
        }

        async Task<bool> NextAsync()
        {
            try
            {
                return await drawn.MoveNextAsync();
            }
            catch (OperationCanceledException) when (generation.FinishReason == FinishReason.Cancelled)
            {
                // The tokens so far stand, and the finish reason tells.
                return false;
            }
        }

        bool more = longRead is not null && await longRead.RunAsync(progress =>
        {
            reading.ShowOn(progress);
            return NextAsync();
        });
        await shown.WriteAsync(prompt);
        for (more = longRead is null ? await NextAsync() : more; more; more = await NextAsync())
        {
            tokens.Add(drawn.Current);
            await ShowAsync(decoder is null ? string.Create(CultureInfo.InvariantCulture, $",{drawn.Current}") : decoder.Append(drawn.Current));
        }
        if (decoder is not null) await ShowAsync(decoder.Finish());
        return (tokens, decoder is null ? null : text.ToString());
    }

    private static int[] WithBos(int[] tokens, GriffinConfig config)
    {
        if (config.BosToken is { } bos && (tokens.Length == 0 || tokens[0] != bos)) return [bos, .. tokens];
        return tokens.Length > 0 ? tokens : throw new CliException("the prompt is empty and the model has no BOS to begin from (bos_token_id)");
    }

    private static ITokenizer? FindTokenizer(string path, GriffinConfig config)
    {
        try
        {
            return TokenizerFiles.Load(path, config);
        }
        catch (CheckpointException)
        {
            // With token ids given, the text is a courtesy.
            return null;
        }
    }

    private static void WriteJson(TextWriter output, Generation generation, List<int> tokens, string? text, string device) => JsonOutput.Write(output, json =>
    {
        json.WriteString("text", text);
        json.WriteStartArray("tokens");
        foreach (int token in tokens) json.WriteNumberValue(token);
        json.WriteEndArray();
        json.WriteString("finish_reason", generation.FinishReason switch
        {
            FinishReason.Stop => "stop",
            FinishReason.Cancelled => "cancelled",
            _ => "length",
        });
        json.WriteNumber("prefill_ms", Math.Round(generation.PrefillTime.TotalMilliseconds, 3));
        json.WriteNumber("ms_per_token", generation.StepCount == 0 ? 0 : Math.Round(generation.DecodeTime.TotalMilliseconds / generation.StepCount, 4));
        json.WriteString("device", device);
    });

    /// <summary>Passes on how much of the prompt has been read, while somebody watches.</summary>
    private sealed class PromptProgress(int total) : IProgress<int>
    {
        private IProgress<StageProgress>? _target;

        public void Report(int value) => _target?.Report(new StageProgress("reading the prompt", value, total));

        internal void ShowOn(IProgress<StageProgress> target)
        {
            _target = target;
            Report(0);
        }
    }
}
