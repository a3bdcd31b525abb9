namespace Griffin.Kernels.Tests.References;

/// <summary>
/// Attention of one query over a list of keys and values in float64, with what an error bound needs. Which keys a token sees is decided by
/// <see cref="AttentionReference.Row"/>, from nothing but positions: the newest keysVisible of its own document that exist.
/// </summary>
internal sealed class AttentionReference(int heads, int headDim, int keysVisible)
{
    /// <summary>
    /// One row of a call. <paramref name="Positions"/> are its tokens' (-1: padding), <paramref name="Qkv"/> their q heads, k and v; the
    /// history holds the keys and values of the <paramref name="Seen"/> positions right before the first token, oldest first.
    /// </summary>
    public sealed record Row(int[] Positions, int Seen, float[] Qkv, float[] HistoryKeys, float[] HistoryValues)
    {
        /// <summary>The first token of the call in the document of token <paramref name="t"/>.</summary>
        public int DocumentStart(int t)
        {
            while (t > 0 && Positions[t] > 0 && Positions[t - 1] == Positions[t] - 1)
                t--;
            return t;
        }
    }

    /// <summary>
    /// Outputs, and what bounds their error: Σ p|v| per element; max over keys of scale · Σ|q||k| and the number of keys per (token, head). LogSumExp is
    /// ln Σ exp(score) per (token, head).
    /// </summary>
    public sealed record Result(double[] Output, double[] AbsoluteValues, double[] Magnitudes, int[] Keys, double[] LogSumExp);

    public Result Compute(Row row)
    {
        var width = heads * headDim;
        var tokens = row.Positions.Length;
        var result = new Result(new double[tokens * width], new double[tokens * width], new double[tokens * heads], new int[tokens * heads], new double[tokens * heads]);
        for (var t = 0; t < tokens; t++)
        {
            if (row.Positions[t] >= 0)
                Token(row, t, result);
        }

        return result;
    }

    /// <summary>Half of what weights rounded to bfloat16 change: the sum of the values and that of the weights each by 2⁻⁸.</summary>
    public static readonly double RoundedWeights = Math.ScaleB(1, -8);

    /// <summary>Half of what weights that are sums of two bfloat16 numbers change: the sum of the values by 2⁻¹⁷.</summary>
    public static readonly double PairedWeights = Math.ScaleB(1, -18);

    /// <summary>Half an ulp is added by the comparer; this is the accumulation bound of the kernels' contracts, or a smaller one, for element <paramref name="i"/>.</summary>
    public double Bound(Result result, int i, double weightError) =>
        2 * (weightError + (((headDim * result.Magnitudes[i / headDim]) + result.Keys[i / headDim] + 16) * Math.ScaleB(1, -23))) * result.AbsoluteValues[i];

    /// <summary>The bound of the contract for element <paramref name="i"/> of the logarithms.</summary>
    public double LogSumExpBound(Result result, int i, double weightError) =>
        weightError + (((headDim * result.Magnitudes[i]) + result.Keys[i] + 16 + Math.Abs(result.LogSumExp[i])) * Math.ScaleB(1, -22));

    private void Token(Row row, int t, Result result)
    {
        var keys = Visible(row, t);
        for (var head = 0; head < heads; head++)
        {
            var query = Part(row.Qkv, t, head).Span;
            var scores = new double[keys.Count];
            double largest = double.NegativeInfinity, magnitude = 0;
            for (var j = 0; j < scores.Length; j++)
            {
                double sum = 0, absolute = 0;
                for (var c = 0; c < headDim; c++)
                {
                    var product = (double)query[c] * keys[j].Key.Span[c];
                    sum += product;
                    absolute += Math.Abs(product);
                }

                scores[j] = sum / Math.Sqrt(headDim);
                largest = Math.Max(largest, scores[j]);
                magnitude = Math.Max(magnitude, absolute / Math.Sqrt(headDim));
            }

            var total = scores.Sum(score => Math.Exp(score - largest));
            var output = ((t * heads) + head) * headDim;
            for (var j = 0; j < scores.Length; j++)
            {
                var probability = Math.Exp(scores[j] - largest) / total;
                for (var c = 0; c < headDim; c++)
                {
                    result.Output[output + c] += probability * keys[j].Value.Span[c];
                    result.AbsoluteValues[output + c] += probability * Math.Abs(keys[j].Value.Span[c]);
                }
            }

            result.Magnitudes[(t * heads) + head] = magnitude;
            result.Keys[(t * heads) + head] = keys.Count;
            result.LogSumExp[(t * heads) + head] = largest + Math.Log(total);
        }
    }

    private List<(ReadOnlyMemory<float> Key, ReadOnlyMemory<float> Value)> Visible(Row row, int t)
    {
        var start = row.DocumentStart(t);
        var keys = new List<(ReadOnlyMemory<float>, ReadOnlyMemory<float>)>();
        for (var i = t; i >= start && keys.Count < keysVisible; i--)
            keys.Add((Part(row.Qkv, i, heads), Part(row.Qkv, i, heads + 1)));
        if (row.Positions[start] > 0)
        {
            for (var i = row.Seen - 1; i >= 0 && keys.Count < keysVisible; i--)
                keys.Add((row.HistoryKeys.AsMemory(i * headDim, headDim), row.HistoryValues.AsMemory(i * headDim, headDim)));
        }

        return keys;
    }

    private ReadOnlyMemory<float> Part(float[] qkv, int token, int part) => qkv.AsMemory(((token * (heads + 2)) + part) * headDim, headDim);
}
