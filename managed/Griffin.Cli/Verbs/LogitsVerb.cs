using System.CommandLine;
using System.Globalization;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Cli.Verbs;

/// <summary>Writes the logits of every token of a sequence as float32 [T, V].</summary>
internal sealed class LogitsVerb : Verb
{
    private const int UsualChunk = 512;

    private readonly ModelOptions _model = new();
    private readonly Option<int[]?> _tokens, _positions;
    private readonly Option<string?> _tokensFile;
    private readonly Option<int?> _chunk;
    private readonly Option<string> _output;

    internal LogitsVerb() : base("logits", "write the logits of every token as float32 [T, V]")
    {
        Add(_model.Model);
        Add(_model.Preset);
        _tokens = Add(OptionKit.Integers("--tokens", "token ids as given; no BOS is added", least: 0));
        _tokensFile = Add(new Option<string?>("--tokens-file") { Description = "token ids from a .npy file: int32, int64, uint16 or uint32, [T] or [1, T]", HelpName = "F.npy" }.NotEmpty());
        _positions = Add(OptionKit.Integers("--positions", "a position per token: -1 padding, 0 a new document, else the previous + 1 (default: 0, 1, 2, …)", least: -1));
        _chunk = Add(OptionKit.Number("--chunk", "most tokens that run at once", 1, int.MaxValue));
        _output = Add(new Option<string>("--output", "-o") { Description = "the .npy file to write", HelpName = "F.npy", Required = true }.NotEmpty());
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        using CheckpointReader checkpoint = _model.Open(parsed);
        int[] tokens = Tokens(parsed, checkpoint.Config);
        int[] positions = parsed.GivenOrNull(_positions) ?? [];
        TokenChecks.Positions(positions, tokens.Length);
        string output = parsed.GetRequiredValue(_output);
        using NpyMatrixWriter writer = new(output, tokens.Length, checkpoint.Config.Vocabulary);

        using ModelRun run = ModelRun.Load(checkpoint, settings, cancellationToken);
        int chunk = Math.Min(parsed.GetValue(_chunk) ?? UsualChunk, Math.Max(tokens.Length, 1));
        using GriffinSession session = run.Model.CreateSession(new SessionOptions { ChunkTokens = chunk, GlobalCapacity = Math.Max(tokens.Length, 1) });
        settings.Work.Run(progress =>
        {
            using DecodeState state = session.States.Rent();
            float[] logits = new float[checked(chunk * checkpoint.Config.Vocabulary)];
            for (int first = 0; first < tokens.Length; first += chunk)
            {
                cancellationToken.ThrowIfCancellationRequested();
                int count = Math.Min(chunk, tokens.Length - first);
                Span<float> piece = logits.AsSpan(0, count * checkpoint.Config.Vocabulary);
                session.Forward(state, tokens.AsSpan(first, count), positions.Length == 0 ? [] : positions.AsSpan(first, count), LogitsSelection.All, piece);
                writer.Write(piece);
                progress.Report(new StageProgress("running tokens", first + count, tokens.Length));
            }
            return true;
        });
        writer.Commit();
        WriteResult(settings, output, tokens.Length, checkpoint.Config.Vocabulary, run.Device.Description);
        return Task.FromResult(ExitCode.Success);
    }

    private int[] Tokens(ParseResult parsed, GriffinConfig config)
    {
        int[]? given = parsed.GivenOrNull(_tokens);
        string? file = parsed.GetValue(_tokensFile);
        if (given is null == file is null) throw new CliException("give --tokens or --tokens-file, one of them");
        int[] tokens = given ?? NpyFile.ReadTokens(file!);
        if (tokens.Length == 0) throw new CliException($"{file}: holds no token", ExitCode.Failure);
        TokenChecks.InVocabulary(file, tokens, config);
        return tokens;
    }

    private static void WriteResult(CommonSettings settings, string output, int tokens, int vocabulary, string device)
    {
        if (!settings.Json)
        {
            settings.Streams.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{output}: float32 [{tokens}, {vocabulary}]"));
            return;
        }
        JsonOutput.Write(settings.Streams.Output, json =>
        {
            json.WriteString("output", output);
            json.WriteNumber("tokens", tokens);
            json.WriteNumber("vocabulary", vocabulary);
            json.WriteString("device", device);
        });
    }
}
