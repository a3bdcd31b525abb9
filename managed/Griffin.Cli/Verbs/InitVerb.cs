using System.CommandLine;
using System.Diagnostics;
using System.Globalization;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Cli.Verbs;

/// <summary>Writes a random checkpoint of a preset's shape or of given dimensions.</summary>
internal sealed class InitVerb : Verb
{
    private const int Largest = 1 << 24;

    private readonly Option<string> _output;
    private readonly Option<string?> _size;
    private readonly Option<int?> _vocabulary, _width, _rnnWidth, _layers, _heads, _headDim, _gateBlocks, _mlpWidth;
    private readonly Option<string?> _window;
    private readonly Option<string?> _pattern;
    private readonly Option<ulong?> _seed;
    private readonly Option<string?> _lambda;

    internal InitVerb() : base("init", "write a random checkpoint; --precision is its storage type")
    {
        _output = Add(new Option<string>("--output", "-o") { Description = "the checkpoint folder to make", HelpName = "DIR", Required = true }.NotEmpty());
        _size = Add(new Option<string?>("--size") { Description = $"a shape: {string.Join(", ", GriffinPresets.Names)}", HelpName = "NAME" });
        _vocabulary = Add(OptionKit.Number("--vocabulary", "token ids (vocab_size)", 1, Largest));
        _width = Add(OptionKit.Number("--width", "width of the residual stream (hidden_size)", 1, Largest));
        _rnnWidth = Add(OptionKit.Number("--rnn-width", "width of the recurrence (lru_width; default: --width)", 1, Largest));
        _layers = Add(OptionKit.Number("--layers", "layers (num_hidden_layers)", 1, Largest));
        _heads = Add(OptionKit.Number("--heads", "query heads (num_attention_heads)", 1, Largest));
        _headDim = Add(OptionKit.Number("--head-dim", "width of a head (head_dim; default: width / heads)", 1, Largest));
        _gateBlocks = Add(OptionKit.Number("--gate-blocks", "blocks of the gates (num_gate_blocks; default: heads)", 1, Largest));
        _mlpWidth = Add(OptionKit.Number("--mlp-width", "width of half the gated MLP (default: 3 · width)", 1, Largest));
        _window = Add(new Option<string?>("--window") { Description = "attention window in tokens, or none for global attention (default: 2048)", HelpName = "N|none" });
        _pattern = Add(OptionKit.Word("--pattern", "layer pattern (default: griffin)", "griffin", "hawk", "mqa"));
        _seed = Add(OptionKit.Number("--seed", "seed of the weights (default: 0)", ulong.MinValue, ulong.MaxValue));
        _lambda = Add(OptionKit.Word("--lambda", "how the recurrence's Λ is drawn: as the released code does (default), or as the paper says", "code", "paper"));
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        string folder = parsed.GetRequiredValue(_output);
        GriffinConfig config = Shape(parsed);
        long start = Stopwatch.GetTimestamp();
        settings.Work.Run(progress =>
        {
            CheckpointWriter.Save(
                new RandomCheckpoint(config, parsed.GetValue(_seed) ?? 0, parsed.GetValue(_lambda) == "paper" ? LambdaRule.Paper : LambdaRule.Code),
                folder,
                new CheckpointWriteOptions { Storage = settings.Precision },
                new ProgressAdapter<(long Done, long Total)>(progress, report => new StageProgress("writing weights", report.Done, report.Total)),
                cancellationToken);
            return true;
        });
        double seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        if (settings.Json)
        {
            JsonOutput.Write(settings.Streams.Output, json =>
            {
                json.WriteString("model", folder);
                json.WriteNumber("parameters", config.Parameters);
                json.WriteNumber("seconds", Math.Round(seconds, 3));
            });
        }
        else
        {
            settings.Streams.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{folder}: {config.Parameters:N0} parameters in {seconds:F1} s"));
        }
        return Task.FromResult(ExitCode.Success);
    }

    private GriffinConfig Shape(ParseResult parsed)
    {
        GriffinConfig config = parsed.GetValue(_size) is { } size ? ModelOptions.FindPreset(size, _size.Name) : Custom(parsed);
        config = config with
        {
            Vocabulary = parsed.GetValue(_vocabulary) ?? config.Vocabulary,
            Width = parsed.GetValue(_width) ?? config.Width,
            RnnWidth = parsed.GetValue(_rnnWidth) ?? config.RnnWidth,
            Layers = parsed.GetValue(_layers) ?? config.Layers,
            Heads = parsed.GetValue(_heads) ?? config.Heads,
            HeadDim = parsed.GetValue(_headDim) ?? config.HeadDim,
            GateBlocks = parsed.GetValue(_gateBlocks) ?? config.GateBlocks,
            MlpWidth = parsed.GetValue(_mlpWidth) ?? config.MlpWidth,
            Pattern = parsed.GetValue(_pattern) switch
            {
                "griffin" => GriffinConfig.GriffinPattern,
                "hawk" => GriffinConfig.HawkPattern,
                "mqa" => GriffinConfig.TransformerPattern,
                _ => config.Pattern,
            },
            Window = parsed.GetValue(_window) is { } window ? Window(window) : config.Window,
        };
        try
        {
            return config.Validate();
        }
        catch (ArgumentException problem)
        {
            throw new CliException(problem.Message);
        }
    }

    private GriffinConfig Custom(ParseResult parsed)
    {
        int Needed(Option<int?> option) => parsed.GetValue(option) ?? throw new CliException($"give --size, or at least --vocabulary, --width, --layers and --heads: {option.Name} is missing");
        int width = Needed(_width);
        return new GriffinConfig { Vocabulary = Needed(_vocabulary), Width = width, Layers = Needed(_layers), Heads = Needed(_heads), MlpWidth = 3 * width };
    }

    private static int? Window(string text)
    {
        if (text == "none") return null;
        return int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int window) && window > 0
            ? window
            : throw new CliException($"--window is '{text}': a whole number from 1, or none, is needed");
    }
}
