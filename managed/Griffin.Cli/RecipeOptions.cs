using System.CommandLine;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Training;

namespace Griffin.Cli;

/// <summary>A recipe from a file, from options, or from a file that options change.</summary>
internal sealed class RecipeOptions
{
    private const long Most = long.MaxValue;

    private static readonly TrainingRecipe usual = new();

    private readonly List<Option> _all = [];
    private readonly Option<string?> _config, _size, _initFrom, _tokenizer, _lambda, _schedule;
    private readonly Option<string[]?> _data, _validation;
    private readonly Option<int?> _context, _rows, _accumulation, _keepLast;
    private readonly Option<long?> _validationTokens, _steps, _warmUp, _evaluateEvery, _checkpointEvery, _logEvery;
    private readonly Option<double?> _rate, _finalFraction, _beta1, _beta2, _epsilon, _decay, _clip;
    private readonly Option<ulong?> _seed;
    private readonly Option<bool?> _recompute;

    internal RecipeOptions()
    {
        _config = Add(new Option<string?>("--config") { Description = "a recipe: JSON with a key for each option below, as learning_rate (model for --size); options change what it says", HelpName = "FILE" }.NotEmpty());
        _size = Add(new Option<string?>("--size") { Description = "train a preset from random weights, as hawk-100m; a recipe can also spell a shape", HelpName = "NAME" });
        _initFrom = Add(new Option<string?>("--init-from") { Description = "begin with a checkpoint's weights", HelpName = "DIR" }.NotEmpty());
        _lambda = Add(OptionKit.Word("--lambda", "how the recurrence's Λ is drawn (default: code)", "code", "paper"));
        _data = Add(OptionKit.Files("--data", "files to train on: text, .jsonl, or token ids in .npy, .u16, .u32"));
        _validation = Add(OptionKit.Files("--validation", "held-out files, scored in consecutive pieces"));
        _validationTokens = Add(OptionKit.Number("--validation-tokens", "score only the first N tokens of them; 0: all (default)", 0, Most));
        _tokenizer = Add(new Option<string?>("--tokenizer") { Description = "folder of the tokenizer for text (default: that of --init-from, else bytes)", HelpName = "DIR" }.NotEmpty());
        _context = Add(OptionKit.Number("--context", $"tokens of a row (default: {usual.Context})", 1, 1 << 24));
        _rows = Add(OptionKit.Number("--rows", $"rows of a micro-batch (default: {usual.Rows})", 1, 1 << 24));
        _accumulation = Add(OptionKit.Number("--accumulation-steps", $"micro-batches of a step (default: {usual.AccumulationSteps})", 1, 1 << 24));
        _steps = Add(OptionKit.Number("--steps", $"steps of the run (default: {usual.Steps})", 1, Most));
        _recompute = Add(new Option<bool?>("--recompute") { Description = "compute activations again in the backward pass instead of keeping them" });
        _schedule = Add(OptionKit.Word("--schedule", "how the learning rate goes down (default: cosine)", "constant", "linear", "cosine"));
        _rate = Add(Real("--learning-rate", $"highest learning rate (default: {usual.PeakLearningRate})"));
        _warmUp = Add(OptionKit.Number("--warm-up-steps", $"steps until it is reached (default: {usual.WarmUpSteps})", 0, Most));
        _finalFraction = Add(Real("--final-fraction", $"last learning rate over the highest (default: {usual.FinalFraction})", most: 1));
        _beta1 = Add(Real("--beta1", $"AdamW's decay of the first moment (default: {usual.Beta1})", most: 1));
        _beta2 = Add(Real("--beta2", $"AdamW's decay of the second moment (default: {usual.Beta2})", most: 1));
        _epsilon = Add(Real("--epsilon", $"AdamW's ε (default: {usual.Epsilon})", most: 1));
        _decay = Add(Real("--weight-decay", $"AdamW's weight decay (default: {usual.WeightDecay})"));
        _clip = Add(Real("--clip-norm", $"largest gradient norm; 0: no clipping (default: {usual.ClipNorm})"));
        _seed = Add(OptionKit.Number("--seed", "seed of weights and data order (default: 0)", ulong.MinValue, ulong.MaxValue));
        _evaluateEvery = Add(OptionKit.Number("--evaluate-every", $"steps between evaluations; 0: only the last (default: {usual.EvaluateEvery})", 0, Most));
        _checkpointEvery = Add(OptionKit.Number("--checkpoint-every", $"steps between checkpoints; 0: only the last (default: {usual.CheckpointEvery})", 0, Most));
        _keepLast = Add(OptionKit.Number("--keep-last", $"checkpoints that are kept (default: {usual.KeepLast})", 1, int.MaxValue));
        _logEvery = Add(OptionKit.Number("--log-every", $"steps between lines of the log (default: {usual.LogEvery})", 1, Most));
    }

    /// <summary>Every option.</summary>
    internal IReadOnlyList<Option> All => _all;

    /// <summary>The recipe of a command line, complete and checked.</summary>
    /// <param name="parsed">The command line.</param>
    /// <param name="settings">The precision, when it is given.</param>
    /// <param name="kept">The recipe of the run that is resumed, which counts when no other is named; null: none.</param>
    internal TrainingRecipe Read(ParseResult parsed, CommonSettings settings, string? kept)
    {
        string? file = parsed.GetValue(_config) ?? kept;
        TrainingRecipe recipe = WithNumbers(parsed, WithInputs(parsed, file is null ? usual : RecipeFile.Load(file)));
        recipe = recipe with { Precision = settings.GivenPrecision ?? recipe.Precision };
        try
        {
            return recipe.Validate();
        }
        catch (ArgumentException problem)
        {
            throw new CliException(file is null ? $"{problem.Message} (see griffin train --help)" : $"{file}: {problem.Message}");
        }
    }

    private TrainingRecipe WithInputs(ParseResult parsed, TrainingRecipe recipe)
    {
        (string? size, string? initFrom) = (parsed.GetValue(_size), parsed.GetValue(_initFrom));
        if (size is not null && initFrom is not null) throw new CliException("give --size or --init-from, not both");
        if (size is not null) recipe = recipe with { Model = ModelOptions.FindPreset(size, _size.Name), InitFrom = null };
        if (initFrom is not null) recipe = recipe with { Model = null, InitFrom = Path.GetFullPath(initFrom) };
        return recipe with
        {
            Lambda = parsed.GetValue(_lambda) switch
            {
                "paper" => LambdaRule.Paper,
                "code" => LambdaRule.Code,
                _ => recipe.Lambda,
            },
            Data = OptionKit.Paths(parsed, _data) ?? recipe.Data,
            Validation = OptionKit.Paths(parsed, _validation) ?? recipe.Validation,
            ValidationTokens = parsed.GetValue(_validationTokens) ?? recipe.ValidationTokens,
            Tokenizer = parsed.GetValue(_tokenizer) is { } tokenizer ? Path.GetFullPath(tokenizer) : recipe.Tokenizer,
        };
    }

    private TrainingRecipe WithNumbers(ParseResult parsed, TrainingRecipe recipe) => recipe with
    {
        Context = parsed.GetValue(_context) ?? recipe.Context,
        Rows = parsed.GetValue(_rows) ?? recipe.Rows,
        AccumulationSteps = parsed.GetValue(_accumulation) ?? recipe.AccumulationSteps,
        Steps = parsed.GetValue(_steps) ?? recipe.Steps,
        Recompute = parsed.GetValue(_recompute) ?? recipe.Recompute,
        Schedule = parsed.GetValue(_schedule) is { } schedule ? Enum.Parse<ScheduleKind>(schedule, ignoreCase: true) : recipe.Schedule,
        PeakLearningRate = parsed.GetValue(_rate) ?? recipe.PeakLearningRate,
        WarmUpSteps = parsed.GetValue(_warmUp) ?? recipe.WarmUpSteps,
        FinalFraction = parsed.GetValue(_finalFraction) ?? recipe.FinalFraction,
        Beta1 = parsed.GetValue(_beta1) ?? recipe.Beta1,
        Beta2 = parsed.GetValue(_beta2) ?? recipe.Beta2,
        Epsilon = parsed.GetValue(_epsilon) ?? recipe.Epsilon,
        WeightDecay = parsed.GetValue(_decay) ?? recipe.WeightDecay,
        ClipNorm = parsed.GetValue(_clip) ?? recipe.ClipNorm,
        Seed = parsed.GetValue(_seed) ?? recipe.Seed,
        EvaluateEvery = parsed.GetValue(_evaluateEvery) ?? recipe.EvaluateEvery,
        CheckpointEvery = parsed.GetValue(_checkpointEvery) ?? recipe.CheckpointEvery,
        KeepLast = parsed.GetValue(_keepLast) ?? recipe.KeepLast,
        LogEvery = parsed.GetValue(_logEvery) ?? recipe.LogEvery,
    };

    private static Option<double?> Real(string name, string description, double most = double.MaxValue) => OptionKit.Number(name, description, 0, most);

    private TOption Add<TOption>(TOption option) where TOption : Option
    {
        _all.Add(option);
        return option;
    }
}
