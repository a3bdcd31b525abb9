namespace Griffin.Kernels.Tests.References;

/// <summary>Soft-capped softmax cross-entropy of one row in float64, and its gradient.</summary>
internal static class CrossEntropyReference
{
    /// <summary>The loss, its derivatives by the logits before the cap, the probabilities, and the largest finite |y|.</summary>
    public sealed record Result(double Loss, double[] Gradient, double[] Probabilities, double Largest);

    public static Result Compute(double[] logits, int target, double cap)
    {
        var y = Array.ConvertAll(logits, x => cap > 0 ? cap * Math.Tanh(x / cap) : x);
        var maximum = y.Max();
        var total = y.Sum(value => Math.Exp(value - maximum));
        var probabilities = Array.ConvertAll(y, value => Math.Exp(value - maximum) / total);
        var gradient = new double[y.Length];
        for (var c = 0; c < y.Length; c++)
        {
            var slope = cap > 0 ? 1 - (y[c] / cap * (y[c] / cap)) : 1;
            gradient[c] = (probabilities[c] - (c == target ? 1 : 0)) * slope;
        }

        return new(Math.Log(total) + (maximum - y[target]), gradient, probabilities, y.Where(double.IsFinite).Max(Math.Abs));
    }
}
