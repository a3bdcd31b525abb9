using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Cli.Verbs;

/// <summary>Scores a text: the mean negative log likelihood of its tokens, in pieces that each begin afresh.</summary>
internal sealed class ScoreVerb : Verb
{
    private const int UsualContext = 2048;

    private readonly ModelOptions _model = new();
    private readonly Option<string> _text;
    private readonly Option<long?> _bytes;
    private readonly Option<int?> _context;

    internal ScoreVerb() : base("score", "score a text in consecutive pieces, each from a fresh state with BOS in front")
    {
        Add(_model.Model);
        Add(_model.Preset);
        _text = Add(new Option<string>("--text") { Description = "the text file, UTF-8", HelpName = "FILE", Required = true }.NotEmpty());
        _bytes = Add(OptionKit.Number("--bytes", "only the first N bytes", 1, long.MaxValue));
        _context = Add(OptionKit.Number("--context", $"tokens of a piece (default: {UsualContext})", 1, 1 << 24));
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        using CheckpointReader checkpoint = _model.Open(parsed);
        ITokenizer tokenizer = TokenizerFiles.Load(_model.Path(parsed), checkpoint.Config);
        byte[] text = ReadText(parsed.GetRequiredValue(_text), parsed.GetValue(_bytes) ?? long.MaxValue);
        int[] tokens = tokenizer.Encode(text);
        int context = Math.Min(parsed.GetValue(_context) ?? UsualContext, tokens.Length);

        using ModelRun run = ModelRun.Load(checkpoint, settings, cancellationToken);
        using TextScorer scorer = new(run.Model, context);
        long start = Stopwatch.GetTimestamp();
        double nats = settings.Work.Run(progress => scorer.Score(tokens, new ProgressAdapter<long>(progress, done => new StageProgress("scoring", done, tokens.Length)), cancellationToken));
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        WriteResult(settings, new Result(tokens.Length, nats / tokens.Length, nats / Math.Log(2) / text.Length, tokens.Length / seconds, run.Device.Description));
        return Task.FromResult(ExitCode.Success);
    }

    private static byte[] ReadText(string path, long most)
    {
        if (!File.Exists(path)) throw new CliException($"{path}: {(Directory.Exists(path) ? "is a folder" : "no such file")}", ExitCode.Failure);
        using FileStream file = File.OpenRead(path);
        long length = Math.Min(most, file.Length);
        if (length == 0) throw new CliException($"{path}: holds no byte to score", ExitCode.Failure);
        if (length > Array.MaxLength) throw new CliException($"{path}: give --bytes, at most {Array.MaxLength} are scored");
        byte[] text = new byte[length];
        file.ReadExactly(text);
        return text;
    }

    private static void WriteResult(CommonSettings settings, Result result)
    {
        if (settings.Json)
        {
            JsonOutput.Write(settings.Streams.Output, json =>
            {
                json.WriteNumber("tokens", result.Tokens);
                json.WriteNumber("nats_per_token", result.NatsPerToken);
                json.WriteNumber("bits_per_byte", result.BitsPerByte);
                json.WriteNumber("tokens_per_second", Math.Round(result.TokensPerSecond, 1));
                json.WriteString("device", result.Device);
            });
            return;
        }
        settings.Streams.Output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{result.Tokens} tokens: {result.NatsPerToken:F6} nats per token, {result.BitsPerByte:F6} bits per byte, {result.TokensPerSecond:F0} tokens per second"));
    }

    private sealed record Result(int Tokens, double NatsPerToken, double BitsPerByte, double TokensPerSecond, string Device);
}
