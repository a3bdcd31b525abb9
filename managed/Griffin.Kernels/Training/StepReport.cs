namespace Griffin.Kernels.Training;

/// <summary>What one optimiser step did.</summary>
/// <param name="Step">The step's number, from 1.</param>
/// <param name="Tokens">Tokens scored since the run began, this step's included.</param>
/// <param name="Loss">Mean over this step's scored tokens, in nats.</param>
/// <param name="GradientNorm">Euclidean norm of the whole gradient before clipping.</param>
/// <param name="LearningRate">The rate that was applied.</param>
/// <param name="Seconds">Time of this step, its evaluation not counted.</param>
/// <param name="TokensPerSecond">Tokens that went through the model in a second of this step.</param>
/// <param name="ModelFlopsUtilization">Arithmetic that the model needs, as a part of the device's peak; null where the peak is not known.</param>
/// <param name="HeldOutLoss">Mean over the held-out data's tokens in nats, when it was evaluated after this step.</param>
public sealed record StepReport(
    long Step,
    long Tokens,
    double Loss,
    double GradientNorm,
    double LearningRate,
    double Seconds,
    double TokensPerSecond,
    double? ModelFlopsUtilization,
    double? HeldOutLoss);
