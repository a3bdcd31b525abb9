using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training;

/// <summary>
/// Every setting of a training run. A value: equal when every field is. <see cref="Validate"/> checks the fields; <see cref="RecipeFile"/>
/// reads and writes it as JSON, under the keys named here.
/// </summary>
public sealed record TrainingRecipe
{
    /// <summary>Shape of a model that begins with random weights (<c>model</c>); null when <see cref="InitFrom"/> is set.</summary>
    public GriffinConfig? Model { get; init; }

    /// <summary>Checkpoint folder whose weights the run begins with (<c>init_from</c>); null: random weights.</summary>
    public string? InitFrom { get; init; }

    /// <summary>How Λ of random weights is drawn (<c>lambda</c>).</summary>
    public LambdaRule Lambda { get; init; } = LambdaRule.Code;

    /// <summary>Files to train on (<c>data</c>); none: the caller has a source of its own.</summary>
    public ValueList<string> Data { get; init; } = [];

    /// <summary>Held-out files (<c>validation</c>); none: nothing is evaluated.</summary>
    public ValueList<string> Validation { get; init; } = [];

    /// <summary>How many tokens of the held-out files are scored, from their beginning (<c>validation_tokens</c>); 0: all.</summary>
    public long ValidationTokens { get; init; }

    /// <summary>Folder of the tokenizer for text (<c>tokenizer</c>); null: the one of <see cref="InitFrom"/>, else bytes.</summary>
    public string? Tokenizer { get; init; }

    /// <summary>Tokens of a row (<c>context</c>).</summary>
    public int Context { get; init; } = 256;

    /// <summary>Rows of a micro-batch (<c>rows</c>).</summary>
    public int Rows { get; init; } = 16;

    /// <summary>Micro-batches of one optimiser step (<c>accumulation_steps</c>).</summary>
    public int AccumulationSteps { get; init; } = 1;

    /// <summary>Optimiser steps of the run (<c>steps</c>).</summary>
    public long Steps { get; init; } = 1000;

    /// <summary>Storage type of weights and activations, bfloat16 or float32 (<c>precision</c>).</summary>
    public ElementType Precision { get; init; } = ElementType.BFloat16;

    /// <summary>Whether activations are computed again in the backward pass instead of kept (<c>recompute</c>).</summary>
    public bool Recompute { get; init; }

    /// <summary>How the learning rate goes down (<c>schedule</c>).</summary>
    public ScheduleKind Schedule { get; init; } = ScheduleKind.Cosine;

    /// <summary>The highest learning rate (<c>learning_rate</c>).</summary>
    public double PeakLearningRate { get; init; } = 1e-3;

    /// <summary>Steps until the highest learning rate (<c>warm_up_steps</c>).</summary>
    public long WarmUpSteps { get; init; }

    /// <summary>The last learning rate over the highest (<c>final_fraction</c>).</summary>
    public double FinalFraction { get; init; } = 0.1;

    /// <summary>AdamW's decay of the first moment (<c>beta1</c>).</summary>
    public double Beta1 { get; init; } = 0.9;

    /// <summary>AdamW's decay of the second moment (<c>beta2</c>).</summary>
    public double Beta2 { get; init; } = 0.95;

    /// <summary>AdamW's ε (<c>epsilon</c>).</summary>
    public double Epsilon { get; init; } = 1e-8;

    /// <summary>AdamW's decoupled weight decay (<c>weight_decay</c>).</summary>
    public double WeightDecay { get; init; } = 0.1;

    /// <summary>Largest norm of the gradient, which longer ones are scaled to (<c>clip_norm</c>); 0: never.</summary>
    public double ClipNorm { get; init; } = 1;

    /// <summary>Decides random weights and the order of the data (<c>seed</c>).</summary>
    public ulong Seed { get; init; }

    /// <summary>Steps between evaluations of the held-out data (<c>evaluate_every</c>); 0: only after the last step.</summary>
    public long EvaluateEvery { get; init; } = 100;

    /// <summary>Steps between checkpoints (<c>checkpoint_every</c>); 0: only after the last step.</summary>
    public long CheckpointEvery { get; init; } = 100;

    /// <summary>Checkpoints that are kept, the newest ones (<c>keep_last</c>).</summary>
    public int KeepLast { get; init; } = 2;

    /// <summary>Steps between lines of the log (<c>log_every</c>).</summary>
    public long LogEvery { get; init; } = 1;

    /// <summary>The learning rate of each step.</summary>
    public LearningRateSchedule LearningRate => new(Schedule, PeakLearningRate, WarmUpSteps, FinalFraction, Steps);

    /// <summary>Tokens of one optimiser step, padding included.</summary>
    public long TokensPerStep => (long)Rows * Context * AccumulationSteps;

    /// <summary>Returns this recipe when its fields make sense together.</summary>
    /// <exception cref="ArgumentException">One does not; the message is one line naming the key, the value and the mend.</exception>
    public TrainingRecipe Validate() => RecipeRules.FindProblem(this) is { } problem ? throw new ArgumentException(problem) : this;
}
