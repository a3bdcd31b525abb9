namespace Griffin.Kernels.Training;

/// <summary>How the learning rate goes from its peak to its end.</summary>
public enum ScheduleKind
{
    /// <summary>It stays at the peak.</summary>
    Constant,

    /// <summary>Along a straight line.</summary>
    Linear,

    /// <summary>Along half a cosine.</summary>
    Cosine,
}

/// <summary>The learning rate of each step: a straight warm-up from 0 to the peak, then the way down.</summary>
/// <param name="Kind">The way down.</param>
/// <param name="Peak">The highest rate, reached at step <paramref name="WarmUpSteps"/>.</param>
/// <param name="WarmUpSteps">Steps of the warm-up; 0: the first step has the peak rate at once.</param>
/// <param name="FinalFraction">The last step's rate over the peak; a constant schedule ignores it.</param>
/// <param name="Steps">The step at which the way down ends.</param>
public sealed record LearningRateSchedule(ScheduleKind Kind, double Peak, long WarmUpSteps, double FinalFraction, long Steps)
{
    /// <summary>The rate of a step.</summary>
    /// <param name="step">The step's number, from 1; beyond the last one the last rate holds.</param>
    /// <remarks>
    /// With w warm-up steps, n steps and final fraction f: peak·step/w up to step w; after that, with p = (step − w)/(n − w) in (0, 1],
    /// linear peak·(1 − (1 − f)·p), cosine peak·(f + (1 − f)·(1 + cos πp)/2).
    /// </remarks>
    public double At(long step)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(step, 1);
        if (step < WarmUpSteps) return Peak * step / WarmUpSteps;
        if (step == WarmUpSteps) return Peak;
        double progress = step >= Steps ? 1 : (step - WarmUpSteps) / (double)(Steps - WarmUpSteps);
        return Kind switch
        {
            ScheduleKind.Linear => Peak * (1 - (1 - FinalFraction) * progress),
            ScheduleKind.Cosine => Peak * (FinalFraction + (1 - FinalFraction) * (1 + Math.Cos(Math.PI * progress)) / 2),
            _ => Peak,
        };
    }
}
