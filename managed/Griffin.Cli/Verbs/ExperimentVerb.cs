using System.CommandLine;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training.Experiments;
using Spectre.Console;

namespace Griffin.Cli.Verbs;

/// <summary>Runs one of the paper's experiments into a folder: its table as JSON and CSV, and a page with charts.</summary>
internal sealed class ExperimentVerb : Verb
{
    private static readonly string names = string.Join(", ", Experiment.All.Select(experiment => experiment.Name));

    private readonly Argument<string?> _name;
    private readonly Option<string?> _scale, _output, _families;
    private readonly Option<ulong?> _seed;
    private readonly Option<string[]?> _data;

    internal ExperimentVerb() : base("experiment", "run one of the paper's experiments, or go on with it where it was interrupted")
    {
        _name = Add(new Argument<string?>("NAME") { Description = names, Arity = ArgumentArity.ZeroOrOne });
        _scale = Add(OptionKit.Word("--scale", "tiny: seconds, shows only that it runs; small (default): half an hour on 2 cores; full: as in the paper, for a GPU", "tiny", "small", "full"));
        _output = Add(new Option<string?>("--out", "-o") { Description = "the run's folder (default: NAME-SCALE); what is done there is not done again", HelpName = "DIR" }.NotEmpty());
        _families = Add(new Option<string?>("--families") { Description = "which to run (default: all that the experiment compares)", HelpName = "griffin,hawk,mqa" });
        _seed = Add(OptionKit.Number("--seed", "seed of weights and data (default: 0)", ulong.MinValue, (ulong)long.MaxValue));
        _data = Add(OptionKit.Files("--data", "text for the experiments that train on some; the last tenth of each document is held out"));
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        Experiment experiment = Find(parsed.GetValue(_name));
        string scale = parsed.GetValue(_scale) ?? "small";
        ExperimentSettings wanted = new()
        {
            Folder = parsed.GetValue(_output) ?? $"{experiment.Name}-{scale}",
            Scale = Enum.Parse<ExperimentScale>(scale, ignoreCase: true),
            Families = Families(parsed.GetValue(_families)) ?? [.. experiment.UsualFamilies],
            Seed = parsed.GetValue(_seed) ?? 0,
            Precision = settings.Precision,
            Data = OptionKit.Paths(parsed, _data) ?? [],
        };
        try
        {
            ExperimentRunner.Check(experiment, wanted);
        }
        catch (ArgumentException problem)
        {
            throw new CliException(problem.Message);
        }
        using GpuDevice device = settings.OpenDevice();
        return Task.FromResult(Run(device, experiment, wanted, settings, cancellationToken));
    }

    private static int Run(GpuDevice device, Experiment experiment, ExperimentSettings wanted, CommonSettings settings, CancellationToken cancellationToken)
    {
        TrainingDisplay? display = null;
        ExperimentResult result;
        try
        {
            result = ExperimentRunner.Run(device, experiment, wanted, Show, cancellationToken);
        }
        catch (OperationCanceledException)
        {
            display?.Finish();
            settings.Streams.Error.WriteLine($"griffin: interrupted; the same command goes on with what is in {wanted.Folder}");
            return ExitCode.Cancelled;
        }
        display?.Finish();
        Write(result, wanted.Folder, settings);
        return ExitCode.Success;

        void Show(ExperimentProgress progress)
        {
            if (progress.Step is { } step)
            {
                display!.Show(step);
                return;
            }
            display?.Finish();
            display = new TrainingDisplay(settings, progress.Steps);
            if (!settings.Json) settings.Streams.Error.WriteLine($"{progress.Part} ({progress.Number} of {progress.Parts})");
        }
    }

    private static void Write(ExperimentResult result, string folder, CommonSettings settings)
    {
        if (settings.Json)
        {
            JsonOutput.Write(settings.Streams.Output, result.WriteTo);
            return;
        }
        Table table = new Table().Border(TableBorder.Simple).AddColumns([.. result.Header.Select(Markup.Escape)]);
        foreach (IReadOnlyList<string> row in result.Cells) table.AddRow([.. row.Select(Markup.Escape)]);
        TextTables.Write(settings.Streams.Output, table);
        foreach ((string name, string value) in result.Facts) settings.Streams.Output.WriteLine($"{name}: {value}");
        settings.Streams.Output.WriteLine($"page: {Path.Combine(folder, ExperimentResult.PageName)}");
    }

    private static Experiment Find(string? name) => Experiment.All.FirstOrDefault(experiment => experiment.Name == name)
        ?? throw new CliException(name is null ? $"say which experiment: {names}" : $"unknown experiment '{name}'; there are {names}");

    private static ValueList<ModelFamily>? Families(string? list)
    {
        if (list is null) return null;
        List<ModelFamily> families = [];
        foreach (string name in list.Split(',', StringSplitOptions.TrimEntries))
        {
            if (!ModelFamilies.TryParse(name, out ModelFamily family))
                throw new CliException($"--families holds '{name}': there are {string.Join(", ", ModelFamilies.All.Select(known => known.Name()))}");
            families.Add(family);
        }
        return [.. families];
    }
}
