using System.Globalization;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;

namespace Griffin.Bench;

/// <summary>
/// One training step of models/austen-tiny's shape, as bench/peers/training_step.py runs it in PyTorch: one JSON line a storage type, the shortest of
/// some steps after one that is not counted.
/// </summary>
internal static class TrainingStep
{
    private const int Vocabulary = 384;

    /// <param name="options">device, steps, rows, length, types (a list with commas), recompute; each with a default.</param>
    public static void Run(IReadOnlyDictionary<string, string> options)
    {
        int steps = Number("steps", 5), rows = Number("rows", 16), length = Number("length", 256);
        bool recompute = options.GetValueOrDefault("recompute") == "true";
        using GpuDevice device = GpuDevice.Open(options.GetValueOrDefault("device", "auto"));
        foreach (string type in options.GetValueOrDefault("types", "float32,bfloat16").Split(','))
        {
            TrainingRecipe recipe = new()
            {
                Model = Shape,
                Rows = rows,
                Context = length,
                Steps = steps + 1,
                Precision = type == "float32" ? ElementType.Float32 : ElementType.BFloat16,
                Recompute = recompute,
                Seed = 1,
            };
            string folder = Directory.CreateTempSubdirectory("griffin-bench-").FullName;
            try
            {
                MemoryBudget budget = Trainer.BudgetOf(device, Shape, recipe);
                using Trainer trainer = Trainer.Create(device, recipe, new RandomTokens(rows, length), null, folder);
                List<StepReport> reports = [];
                while (!trainer.IsFinished) reports.Add(trainer.RunStep());
                Print(device, recipe, type, reports, budget);
            }
            finally
            {
                Directory.Delete(folder, recursive: true);
            }
        }

        int Number(string key, int fallback) => options.TryGetValue(key, out string? text) ? int.Parse(text, CultureInfo.InvariantCulture) : fallback;
    }

    private static GriffinConfig Shape { get; } =
        new GriffinConfig { Vocabulary = Vocabulary, Width = 192, Layers = 6, Heads = 3, MlpWidth = 576, Window = 128 }.Validate();

    private static void Print(GpuDevice device, TrainingRecipe recipe, string type, List<StepReport> reports, MemoryBudget budget)
    {
        using Stream output = Console.OpenStandardOutput();
        using (Utf8JsonWriter json = new(output))
        {
            json.WriteStartObject();
            json.WriteString("row", "training_step");
            json.WriteString("peer", "griffin");
            json.WriteString("device", device.Name);
            json.WriteNumber("threads", Environment.ProcessorCount);
            json.WriteString("type", type);
            json.WriteNumber("rows", recipe.Rows);
            json.WriteNumber("length", recipe.Context);
            json.WriteBoolean("recompute", recipe.Recompute);
            json.WriteNumber("parameters", Shape.Parameters);
            json.WriteNumber("seconds", Math.Round(reports.Skip(1).Min(report => report.Seconds), 4));
            json.WriteNumber("loss", Math.Round(reports[^1].Loss, 4));
            json.WriteNumber("budget_bytes", budget.Total);
            json.WriteEndObject();
        }

        output.WriteByte((byte)'\n');
    }

    /// <summary>Bytes drawn at random, as the peer draws them: one micro-batch again and again.</summary>
    private sealed class RandomTokens(int rows, int length) : IBatchSource
    {
        public string Identity => "random";

        public int Vocabulary => TrainingStep.Vocabulary;

        public int Rows => rows;

        public int Length => length;

        public long? Count => 1;

        public void Fill(long index, MicroBatch batch)
        {
            Random random = new(1);
            for (int row = 0; row < rows; row++)
            {
                MicroBatchRow part = batch.Row(row);
                int token = random.Next(3, 259);
                for (int i = 0; i < length; i++)
                {
                    part.Tokens[i] = token;
                    part.Positions[i] = i;
                    part.Targets[i] = token = random.Next(3, 259);
                }
            }
        }
    }
}
