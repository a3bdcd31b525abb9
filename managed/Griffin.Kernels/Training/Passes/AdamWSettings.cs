namespace Griffin.Kernels.Training.Passes;

/// <summary>AdamW's settings at one step.</summary>
/// <param name="LearningRate">The step's learning rate.</param>
/// <param name="Beta1">Decay of the running mean of gradients.</param>
/// <param name="Beta2">Decay of the running mean of their squares.</param>
/// <param name="Epsilon">Added to the root of the second moment.</param>
/// <param name="WeightDecay">Decoupled decay, of matrix weights only: times the learning rate.</param>
/// <param name="MaxNorm">Norm that longer gradients are scaled to; 0: never.</param>
internal readonly record struct AdamWSettings(double LearningRate, double Beta1, double Beta2, double Epsilon, double WeightDecay, double MaxNorm)
{
    /// <summary>Writes what the kernel reads.</summary>
    /// <param name="step">The step's number, from 1: corrects the moments' start at zero.</param>
    /// <param name="destination">[<see cref="Ops.AdamW.Settings"/>].</param>
    public void WriteTo(long step, Span<float> destination)
    {
        destination[0] = (float)LearningRate;
        destination[1] = (float)Beta1;
        destination[2] = (float)Beta2;
        destination[3] = (float)Epsilon;
        destination[4] = (float)WeightDecay;
        destination[5] = (float)MaxNorm;
        destination[6] = (float)(1 / (1 - Math.Pow(Beta1, step)));
        destination[7] = (float)(1 / (1 - Math.Pow(Beta2, step)));
    }
}
