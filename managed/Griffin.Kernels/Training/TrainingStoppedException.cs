namespace Griffin.Kernels.Training;

/// <summary>A run cannot go on: a step's loss or gradient is not finite. The message names the step and the tensor; weights are those before the step.</summary>
public sealed class TrainingStoppedException : Exception
{
    /// <summary>Describes the end of a run.</summary>
    public TrainingStoppedException(string message) : base(message)
    {
    }
}
