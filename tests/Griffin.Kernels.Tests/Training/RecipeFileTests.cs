using System.Text;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

internal sealed class RecipeFileTests
{
    private static readonly TrainingRecipe least = new() { Model = GriffinPresets.Get("hawk-100m") };

    [Test]
    public void An_empty_object_is_the_usual_recipe() => Assert.That(Parse("{}"), Is.EqualTo(new TrainingRecipe()));

    [Test]
    public void Every_key_is_read_and_written_back()
    {
        using TempFolder folder = new();
        TrainingRecipe recipe = new()
        {
            Model = GriffinPresets.Get("mqa-100m") with { Vocabulary = 300, KeysRule = VisibleKeysRule.WindowPlusOne, Window = null, EosTokens = [1, 7] },
            InitFrom = "/models/x",
            Lambda = LambdaRule.Paper,
            Data = ["/data/a.txt", "/data/b.jsonl"],
            Validation = ["/data/c.txt"],
            ValidationTokens = 65536,
            Tokenizer = "/models/y",
            Context = 7,
            Rows = 3,
            AccumulationSteps = 5,
            Steps = 1L << 40,
            Precision = ElementType.Float32,
            Recompute = true,
            Schedule = ScheduleKind.Linear,
            PeakLearningRate = 3.3e-4,
            WarmUpSteps = 11,
            FinalFraction = 0.05,
            Beta1 = 0.8,
            Beta2 = 0.96,
            Epsilon = 1e-7,
            WeightDecay = 0.01,
            ClipNorm = 0.5,
            Seed = ulong.MaxValue,
            EvaluateEvery = 13,
            CheckpointEvery = 17,
            KeepLast = 4,
            LogEvery = 19,
        };
        // Every field must differ from the usual one, or a forgotten key would not show.
        TrainingRecipe usual = new();
        foreach (System.Reflection.PropertyInfo field in typeof(TrainingRecipe).GetProperties().Where(property => property.CanWrite))
            Assert.That(field.GetValue(recipe), Is.Not.EqualTo(field.GetValue(usual)), field.Name);
        RecipeFile.Save(folder.File("recipe.json"), recipe);
        Assert.That(RecipeFile.Load(folder.File("recipe.json")), Is.EqualTo(recipe with { Model = recipe.Model!.Validate() }));
        Assert.That(Directory.GetFiles(folder.Path), Has.Length.EqualTo(1));
    }

    [Test]
    public void Paths_are_relative_to_the_recipe()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("r.json"), """{"data": ["a/b.txt", "/c.txt"], "validation": ["../d.txt"], "init_from": "m", "tokenizer": "."}""");
        TrainingRecipe recipe = RecipeFile.Load(folder.File("r.json"));
        Assert.That(recipe.Data, Is.EqualTo(new[] { Path.Combine(folder.Path, "a", "b.txt"), "/c.txt" }));
        Assert.That(recipe.Validation, Is.EqualTo(new[] { Path.Combine(Path.GetDirectoryName(folder.Path)!, "d.txt") }));
        Assert.That((recipe.InitFrom, recipe.Tokenizer), Is.EqualTo((folder.File("m"), folder.Path)));
    }

    [Test]
    public void A_model_is_a_preset_a_changed_preset_or_a_shape()
    {
        GriffinConfig hawk = GriffinPresets.Get("hawk-100m");
        Assert.Multiple(() =>
        {
            Assert.That(Parse("""{"model": "hawk-100m"}""").Model, Is.EqualTo(hawk));
            Assert.That(Parse("""{"model": {"preset": "hawk-100m", "vocab_size": 384}}""").Model, Is.EqualTo((hawk with { Vocabulary = 384 }).Validate()));
            Assert.That(
                Parse("""{"model": {"vocab_size": 11, "hidden_size": 24, "num_hidden_layers": 4, "num_attention_heads": 2, "intermediate_size": 80, "num_gate_blocks": 3}}""").Model,
                Is.EqualTo(new GriffinConfig { Vocabulary = 11, Width = 24, Layers = 4, Heads = 2, MlpWidth = 40, GateBlocks = 3 }.Validate()));
            Assert.That(Parse("""{"model": null}""").Model, Is.Null);
        });
    }

    [TestCase("{\"steps\": 1,\n x}", "is not valid JSON (line 2: ")]
    [TestCase("[]", "holds a JSON array where an object is needed")]
    [TestCase("""{"learning-rate": 1}""", "the key 'learning-rate' is not known; there are model, init_from, ")]
    [TestCase("""{"steps": "5"}""", "steps is \"5\": a whole number is needed")]
    [TestCase("""{"steps": 1.5}""", "steps is 1.5: a whole number is needed")]
    [TestCase("""{"seed": -1}""", "seed is -1: a whole number from 0 is needed")]
    [TestCase("""{"beta1": "x"}""", "beta1 is \"x\": a number is needed")]
    [TestCase("""{"recompute": 1}""", "recompute is 1: true or false is needed")]
    [TestCase("""{"data": "a.txt"}""", "data is \"a.txt\": a list of strings is needed")]
    [TestCase("""{"init_from": 3}""", "init_from is 3: a string is needed")]
    [TestCase("""{"schedule": "cos"}""", "schedule is \"cos\": it must be \"constant\" or \"linear\" or \"cosine\"")]
    [TestCase("""{"precision": "bf16"}""", "precision is \"bf16\": it must be \"bfloat16\" or \"float32\"")]
    [TestCase("""{"lambda": 3}""", "lambda is 3: a string is needed")]
    [TestCase("""{"model": 3}""", "model is neither a preset's name nor an object in the vocabulary of config.json")]
    [TestCase("""{"model": "griffin-5m"}""", "no preset is called 'griffin-5m'; there are recurrentgemma-2b, ")]
    [TestCase("""{"model": {"width": 3}}""", "model: the key 'width' is not known; there are preset, num_gate_blocks, ")]
    [TestCase("""{"model": {"hidden_size": 24}}""", "model: vocab_size is missing: it cannot be guessed")]
    [TestCase("""{"model": {"preset": "hawk-100m", "lru_width": 7}}""", "model: lru_width is 7, which 16 gate blocks do not divide")]
    public void Each_mistake_has_its_line(string text, string line)
    {
        TrainingInputException error = Assert.Throws<TrainingInputException>(() => Parse(text))!;
        Assert.That(error.Message, Does.StartWith($"r.json: {line}").And.Not.Contain("\n"));
    }

    [Test]
    public void A_missing_file_has_its_line() =>
        Assert.That(() => RecipeFile.Load("/nowhere/r.json"), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo("/nowhere/r.json: no such file"));

    [Test]
    public void The_least_recipe_is_valid() => Assert.That(least.Validate(), Is.SameAs(least));

    private static IEnumerable<TestCaseData> Unfit()
    {
        TestCaseData Of(string line, TrainingRecipe recipe) => new(recipe, line) { TestName = $"Unfit: {line}" };
        yield return Of("model and init_from are missing: one of them says what to train", least with { Model = null });
        yield return Of("model and init_from are both given: leave one out", least with { InitFrom = "x" });
        yield return Of("validation_tokens is -1: it must not be negative", least with { ValidationTokens = -1 });
        yield return Of("context is 0: it must be positive", least with { Context = 0 });
        yield return Of("rows is 0: it must be positive", least with { Rows = 0 });
        yield return Of("accumulation_steps is 0: it must be positive", least with { AccumulationSteps = 0 });
        yield return Of("rows 65536 · context 65536 is more than 2147483647 tokens: make rows smaller and accumulation_steps larger", least with { Rows = 65536, Context = 65536 });
        yield return Of("steps is 0: it must be positive", least with { Steps = 0 });
        yield return Of("precision is Float16: it must be bfloat16 or float32", least with { Precision = ElementType.Float16 });
        yield return Of("learning_rate is 0: it must be positive", least with { PeakLearningRate = 0 });
        yield return Of("learning_rate is NaN: it must be positive", least with { PeakLearningRate = double.NaN });
        yield return Of("warm_up_steps is 1001: more than the 1000 steps of the run", least with { WarmUpSteps = 1001 });
        yield return Of("final_fraction is 1.5: a number from 0 to 1 is needed", least with { FinalFraction = 1.5 });
        yield return Of("beta1 is 1: a number from 0 to less than 1 is needed", least with { Beta1 = 1 });
        yield return Of("beta2 is -0.1: a number from 0 to less than 1 is needed", least with { Beta2 = -0.1 });
        yield return Of("epsilon is 0: a number above 0 and at most 1 is needed", least with { Epsilon = 0 });
        yield return Of("weight_decay is -1: it must not be negative; 0 turns it off", least with { WeightDecay = -1 });
        yield return Of("clip_norm is NaN: it must not be negative; 0 turns clipping off", least with { ClipNorm = double.NaN });
        yield return Of("evaluate_every is -1: it must not be negative", least with { EvaluateEvery = -1 });
        yield return Of("checkpoint_every is -1: it must not be negative", least with { CheckpointEvery = -1 });
        yield return Of("keep_last is 0: it must be positive", least with { KeepLast = 0 });
        yield return Of("log_every is 0: it must be positive", least with { LogEvery = 0 });
    }

    [TestCaseSource(nameof(Unfit))]
    public void Each_unfit_field_has_its_line(TrainingRecipe recipe, string line) =>
        Assert.That(recipe.Validate, Throws.ArgumentException.With.Message.EqualTo(line));

    private static TrainingRecipe Parse(string text) => RecipeFile.Parse(Encoding.UTF8.GetBytes(text), "r.json", "/folder");
}
