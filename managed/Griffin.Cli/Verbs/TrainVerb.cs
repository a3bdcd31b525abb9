using System.CommandLine;
using System.Globalization;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Data;
using Griffin.Kernels.Training.Logging;
using Griffin.Kernels.Training.Report;

namespace Griffin.Cli.Verbs;

/// <summary>
/// Trains a model by a recipe. The run's folder gets the recipe, logs, checkpoints, a report, and at the end the model.
/// </summary>
internal sealed class TrainVerb : Verb
{
    private const string RecipeName = "recipe.json";
    private const string ModelFolder = "model";

    private readonly RecipeOptions _recipe = new();
    private readonly Option<string?> _output;
    private readonly Option<bool> _resume, _dryRun;

    internal TrainVerb() : base("train", "train a model from text, JSON lines or token files, or go on with a run that was interrupted")
    {
        _output = Add(new Option<string?>("--out", "-o") { Description = "the run's folder", HelpName = "DIR" }.NotEmpty());
        _resume = Add(new Option<bool>("--resume") { Description = "go on with the run in --out; without --config by the recipe that it began with" });
        _dryRun = Add(new Option<bool>("--dry-run") { Description = "only say what would be done and what memory it would take" });
        foreach (Option option in _recipe.All) Add(option);
    }

    protected override Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken)
    {
        string? folder = parsed.GetValue(_output);
        (bool resume, bool dryRun) = (parsed.GetValue(_resume), parsed.GetValue(_dryRun));
        if (folder is null && (resume || !dryRun)) throw new CliException(resume ? "--resume needs --out, the folder of the run" : "--out is missing: name a folder for the run");
        TrainingRecipe recipe = _recipe.Read(parsed, settings, resume ? KeptRecipe(folder!) : null);
        GriffinConfig config = ShapeOf(recipe);
        RecipeData data = new(recipe, config);
        using GpuDevice device = settings.OpenDevice();
        TrainingPlanText plan = new(recipe, config, data, Trainer.BudgetOf(device, config, recipe));
        if (!dryRun) return Task.FromResult(Train(new Run(folder!, recipe, data, plan), device, resume, settings, cancellationToken));
        if (settings.Json) JsonOutput.Write(settings.Streams.Output, plan.WriteTo);
        else WriteLines(settings.Streams.Output, plan);
        return Task.FromResult(ExitCode.Success);
    }

    private static int Train(Run run, GpuDevice device, bool resume, CommonSettings settings, CancellationToken cancellationToken)
    {
        if (!settings.Json) WriteLines(settings.Streams.Error, run.Plan);
        using Trainer trainer = settings.Work.Run(progress => Trainer.Create(
            device, run.Recipe, run.Data.Training, run.Data.HeldOut, run.Folder, resume, new ProgressAdapter<ModelProgress>(progress, ModelRun.Stage), cancellationToken));
        RecipeFile.Save(Path.Combine(run.Folder, RecipeName), run.Recipe);
        StepReport? last = null;
        TrainingDisplay display = new(settings, run.Recipe.Steps);
        bool finished;
        try
        {
            finished = TrainingLoop.Run(trainer, run.Recipe, run.Folder, report => display.Show(last = report), cancellationToken);
        }
        finally
        {
            display.Finish();
            WriteReport(run);
        }
        if (!finished)
        {
            settings.Streams.Error.WriteLine($"griffin: interrupted; step {trainer.Step} is kept in a checkpoint: go on with --resume");
            return ExitCode.Cancelled;
        }
        string model = Path.Combine(run.Folder, ModelFolder);
        trainer.Export(model);
        run.Data.WriteTokenizer(model);
        WriteResult(settings, model, trainer, last);
        return ExitCode.Success;
    }

    /// <summary>The recipe that a run began with.</summary>
    private static string? KeptRecipe(string folder)
    {
        string path = Path.Combine(folder, RecipeName);
        return File.Exists(path) ? path : null;
    }

    private static GriffinConfig ShapeOf(TrainingRecipe recipe)
    {
        if (recipe.Model is { } model) return model;
        using CheckpointReader reader = CheckpointReader.Open(recipe.InitFrom!);
        return reader.Config;
    }

    private static void WriteLines(TextWriter output, TrainingPlanText plan)
    {
        foreach ((string name, string value) in plan.Lines) output.WriteLine($"{name}: {value}");
    }

    private static void WriteReport(Run run) =>
        TrainingReport.Build(Path.GetFileName(Path.GetFullPath(run.Folder)), run.Plan.Lines, TrainingLog.Read(Path.Combine(run.Folder, TrainingLog.FileName)))
            .Save(Path.Combine(run.Folder, TrainingReport.FileName));

    private static void WriteResult(CommonSettings settings, string model, Trainer trainer, StepReport? last)
    {
        if (settings.Json)
        {
            JsonOutput.Write(settings.Streams.Output, json =>
            {
                json.WriteString("model", model);
                json.WriteNumber("steps", trainer.Step);
                if (last is null) return;
                json.WriteNumber("tokens", last.Tokens);
                json.WriteNumber("loss", last.Loss);
                if (last.HeldOutLoss is { } loss) json.WriteNumber("held_out_loss", loss);
            });
            return;
        }
        string loss = last is null ? "" : string.Create(CultureInfo.InvariantCulture, $", {last.Tokens:N0} tokens, loss {last.Loss:F4}");
        string heldOut = last?.HeldOutLoss is { } value ? string.Create(CultureInfo.InvariantCulture, $", held out {value:F4} nats per token") : "";
        settings.Streams.Output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{model}: {trainer.Step:N0} steps{loss}{heldOut}"));
    }

    private sealed record Run(string Folder, TrainingRecipe Recipe, RecipeData Data, TrainingPlanText Plan);
}
