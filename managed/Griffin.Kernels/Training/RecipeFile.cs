using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training;

/// <summary>
/// Reads and writes recipes as JSON: one object, a key for each field of <see cref="TrainingRecipe"/>, all of them optional. <c>model</c>
/// is a preset's name or an object in the vocabulary of config.json, where <c>preset</c> names a preset
/// that the other keys change. Paths in a file are relative to its folder.
/// </summary>
public static class RecipeFile
{
    private static readonly string[] keys =
    [
        "model", "init_from", "lambda", "data", "validation", "validation_tokens", "tokenizer", "context", "rows", "accumulation_steps", "steps", "precision",
        "recompute", "schedule", "learning_rate", "warm_up_steps", "final_fraction", "beta1", "beta2", "epsilon", "weight_decay", "clip_norm", "seed",
        "evaluate_every", "checkpoint_every", "keep_last", "log_every",
    ];

    /// <summary>Reads a recipe. Its fields are not checked against each other: they may be completed before <see cref="TrainingRecipe.Validate"/>.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="TrainingInputException">The file is missing, is no JSON, or a key is unknown or has a value of a wrong kind.</exception>
    public static TrainingRecipe Load(string path)
    {
        try
        {
            return Read(JsonFile.ReadBytes(path), path, Path.GetDirectoryName(Path.GetFullPath(path))!);
        }
        catch (CheckpointException problem)
        {
            throw new TrainingInputException(problem.Message, problem);
        }
    }

    /// <summary>Reads a recipe from JSON text; see <see cref="Load"/>.</summary>
    /// <param name="utf8">The text, in UTF-8.</param>
    /// <param name="source">What to call the text in messages.</param>
    /// <param name="folder">What paths are relative to.</param>
    /// <exception cref="TrainingInputException">The text is no JSON, or a key is unknown or has a value of a wrong kind.</exception>
    public static TrainingRecipe Parse(ReadOnlyMemory<byte> utf8, string source, string folder)
    {
        try
        {
            return Read(utf8, source, folder);
        }
        catch (CheckpointException problem)
        {
            throw new TrainingInputException(problem.Message, problem);
        }
    }

    /// <summary>Writes a recipe with every key; the file appears whole or not at all. Paths are written as they are.</summary>
    /// <param name="path">The file.</param>
    /// <param name="recipe">What to write.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public static void Save(string path, TrainingRecipe recipe)
    {
        ArgumentNullException.ThrowIfNull(recipe);
        using AtomicFile file = AtomicFile.Create(path);
        using (Utf8JsonWriter json = new(file.Stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            WriteInputs(json, recipe);
            WriteRun(json, recipe);
            WriteOptimizer(json, recipe);
            json.WriteEndObject();
        }
        file.Commit();
    }

    private static TrainingRecipe Read(ReadOnlyMemory<byte> utf8, string source, string folder)
    {
        using JsonDocument document = JsonFile.Parse(utf8, source);
        JsonElement root = JsonFile.RootObject(document, source);
        JsonKeys values = new(root, source);
        values.RefuseOthers(keys);
        TrainingRecipe usual = new();
        string? PathOf(string key) => values.OptionalText(key) is { } path ? Resolve(path) : null;
        string Resolve(string path) => Path.GetFullPath(path, folder);
        ValueList<string> Paths(string key) => ValueList.Create<string>([.. (values.OptionalStrings(key) ?? []).Select(Resolve)]);

        return new TrainingRecipe
        {
            Model = root.TryGetProperty("model", out JsonElement model) ? RecipeModel.Read(model, source) : null,
            InitFrom = PathOf("init_from"),
            Lambda = Word(values, "lambda", usual.Lambda, ("code", LambdaRule.Code), ("paper", LambdaRule.Paper)),
            Data = Paths("data"),
            Validation = Paths("validation"),
            ValidationTokens = values.OptionalLong("validation_tokens") ?? usual.ValidationTokens,
            Tokenizer = PathOf("tokenizer"),
            Context = values.OptionalInteger("context") ?? usual.Context,
            Rows = values.OptionalInteger("rows") ?? usual.Rows,
            AccumulationSteps = values.OptionalInteger("accumulation_steps") ?? usual.AccumulationSteps,
            Steps = values.OptionalLong("steps") ?? usual.Steps,
            Precision = Word(values, "precision", usual.Precision, ("bfloat16", ElementType.BFloat16), ("float32", ElementType.Float32)),
            Recompute = values.OptionalBoolean("recompute") ?? usual.Recompute,
            Schedule = Word(values, "schedule", usual.Schedule, ("constant", ScheduleKind.Constant), ("linear", ScheduleKind.Linear), ("cosine", ScheduleKind.Cosine)),
            PeakLearningRate = values.OptionalNumber("learning_rate") ?? usual.PeakLearningRate,
            WarmUpSteps = values.OptionalLong("warm_up_steps") ?? usual.WarmUpSteps,
            FinalFraction = values.OptionalNumber("final_fraction") ?? usual.FinalFraction,
            Beta1 = values.OptionalNumber("beta1") ?? usual.Beta1,
            Beta2 = values.OptionalNumber("beta2") ?? usual.Beta2,
            Epsilon = values.OptionalNumber("epsilon") ?? usual.Epsilon,
            WeightDecay = values.OptionalNumber("weight_decay") ?? usual.WeightDecay,
            ClipNorm = values.OptionalNumber("clip_norm") ?? usual.ClipNorm,
            Seed = values.OptionalUnsigned("seed") ?? usual.Seed,
            EvaluateEvery = values.OptionalLong("evaluate_every") ?? usual.EvaluateEvery,
            CheckpointEvery = values.OptionalLong("checkpoint_every") ?? usual.CheckpointEvery,
            KeepLast = values.OptionalInteger("keep_last") ?? usual.KeepLast,
            LogEvery = values.OptionalLong("log_every") ?? usual.LogEvery,
        };
    }

    private static T Word<T>(JsonKeys values, string key, T usual, params ReadOnlySpan<(string Name, T Value)> words)
    {
        if (values.OptionalText(key) is not { } text) return usual;
        foreach ((string name, T value) in words)
        {
            if (name == text) return value;
        }
        string[] names = new string[words.Length];
        for (int i = 0; i < names.Length; i++) names[i] = $"\"{words[i].Name}\"";
        throw values.Error($"{key} is \"{text}\": it must be {string.Join(" or ", names)}");
    }

    private static void WriteInputs(Utf8JsonWriter json, TrainingRecipe recipe)
    {
        if (recipe.Model is { } model)
        {
            json.WriteStartObject("model");
            ConfigFile.WriteMembers(json, model);
            json.WriteEndObject();
        }
        if (recipe.InitFrom is { } folder) json.WriteString("init_from", folder);
        json.WriteString("lambda", recipe.Lambda == LambdaRule.Paper ? "paper" : "code");
        WriteStrings(json, "data", recipe.Data);
        WriteStrings(json, "validation", recipe.Validation);
        json.WriteNumber("validation_tokens", recipe.ValidationTokens);
        if (recipe.Tokenizer is { } tokenizer) json.WriteString("tokenizer", tokenizer);
    }

    private static void WriteRun(Utf8JsonWriter json, TrainingRecipe recipe)
    {
        json.WriteNumber("context", recipe.Context);
        json.WriteNumber("rows", recipe.Rows);
        json.WriteNumber("accumulation_steps", recipe.AccumulationSteps);
        json.WriteNumber("steps", recipe.Steps);
        json.WriteString("precision", recipe.Precision == ElementType.Float32 ? "float32" : "bfloat16");
        json.WriteBoolean("recompute", recipe.Recompute);
        json.WriteNumber("seed", recipe.Seed);
        json.WriteNumber("evaluate_every", recipe.EvaluateEvery);
        json.WriteNumber("checkpoint_every", recipe.CheckpointEvery);
        json.WriteNumber("keep_last", recipe.KeepLast);
        json.WriteNumber("log_every", recipe.LogEvery);
    }

    private static void WriteOptimizer(Utf8JsonWriter json, TrainingRecipe recipe)
    {
        json.WriteString("schedule", recipe.Schedule.ToString().ToLowerInvariant());
        json.WriteNumber("learning_rate", recipe.PeakLearningRate);
        json.WriteNumber("warm_up_steps", recipe.WarmUpSteps);
        json.WriteNumber("final_fraction", recipe.FinalFraction);
        json.WriteNumber("beta1", recipe.Beta1);
        json.WriteNumber("beta2", recipe.Beta2);
        json.WriteNumber("epsilon", recipe.Epsilon);
        json.WriteNumber("weight_decay", recipe.WeightDecay);
        json.WriteNumber("clip_norm", recipe.ClipNorm);
    }

    private static void WriteStrings(Utf8JsonWriter json, string key, ValueList<string> values)
    {
        json.WriteStartArray(key);
        foreach (string value in values) json.WriteStringValue(value);
        json.WriteEndArray();
    }
}
