using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>How large an experiment is.</summary>
public enum ExperimentScale
{
    /// <summary>Seconds: shows that everything runs, and nothing else.</summary>
    Tiny,

    /// <summary>At most half an hour on two CPU cores.</summary>
    Small,

    /// <summary>As in the paper, for a GPU.</summary>
    Full,
}

/// <summary>What a run of an experiment is told.</summary>
public sealed record ExperimentSettings
{
    /// <summary>The run's folder.</summary>
    public required string Folder { get; init; }

    /// <summary>How large it is.</summary>
    public ExperimentScale Scale { get; init; } = ExperimentScale.Small;

    /// <summary>The families to run now.</summary>
    public ValueList<ModelFamily> Families { get; init; } = ModelFamilies.All;

    /// <summary>Decides weights and data.</summary>
    public ulong Seed { get; init; }

    /// <summary>Storage type of weights and activations.</summary>
    public ElementType Precision { get; init; } = ElementType.BFloat16;

    /// <summary>Files of text, for the experiments that need some.</summary>
    public ValueList<string> Data { get; init; } = [];
}

/// <summary>How far an experiment has come.</summary>
/// <param name="Part">The part under way.</param>
/// <param name="Number">Its number, from 1.</param>
/// <param name="Parts">Parts in all.</param>
/// <param name="Steps">Training steps of the part.</param>
/// <param name="Step">The step just done; null: the part begins.</param>
public sealed record ExperimentProgress(string Part, int Number, int Parts, long Steps, StepReport? Step);
