namespace Griffin.Kernels.Tests.References;

/// <summary>
/// Attention over one fresh row in float64, forward and backward, with the terms that bound a kernel's error. Which keys a token sees comes from positions
/// alone: the newest keysVisible of its own document.
/// </summary>
internal sealed class AttentionBackwardReference(int heads, int headDim, int keysVisible)
{
    /// <summary>Result [tokens, heads · headDim] and ln Σ exp(score) [tokens, heads] of one row.</summary>
    public (double[] Output, double[] LogSumExp) Forward(int[] positions, double[] qkv)
    {
        var (output, logarithms) = (new double[positions.Length * heads * headDim], new double[positions.Length * heads]);
        for (var i = 0; i < positions.Length * heads; i++)
        {
            var (token, head) = (i / heads, i % heads);
            if (positions[token] < 0)
                continue;
            var keys = Visible(positions, token);
            var scores = keys.Select(j => Score(qkv, token, head, j)).ToArray();
            var largest = scores.Max();
            var total = scores.Sum(score => Math.Exp(score - largest));
            logarithms[i] = largest + Math.Log(total);
            for (var n = 0; n < scores.Length; n++)
                AddTo(output, i * headDim, Math.Exp(scores[n] - logarithms[i]), Part(qkv, keys[n], heads + 1));
        }

        return (output, logarithms);
    }

    /// <summary>The gradient of Σ dy · y by qkv, and the bound of the kernels' contract for each element, their rounding of the result left out.</summary>
    public (double[] Gradient, double[] Bound) Backward(int[] positions, double[] qkv, double[] dy, bool rounded)
    {
        var (output, logarithms) = Forward(positions, qkv);
        var (gradient, bound) = (new double[qkv.Length], new double[qkv.Length]);
        var (u, e, scale) = (rounded ? Math.ScaleB(1, -9) : 0, Math.ScaleB(1, -23), 1 / Math.Sqrt(headDim));
        for (var i = 0; i < positions.Length * heads; i++)
        {
            var (token, head) = (i / heads, i % heads);
            if (positions[token] < 0)
                continue;
            var keys = Visible(positions, token);
            var q = Part(qkv, token, head);
            ReadOnlySpan<double> slope = dy.AsSpan(i * headDim, headDim), y = output.AsSpan(i * headDim, headDim);
            var (delta, magnitude, largest) = (Dot(slope, y), AbsoluteDot(slope, y), 0.0);
            foreach (var j in keys)
                largest = Math.Max(largest, scale * AbsoluteDot(q, Part(qkv, j, heads)));
            foreach (var j in keys)
            {
                ReadOnlySpan<double> k = Part(qkv, j, heads), v = Part(qkv, j, heads + 1);
                var p = Math.Exp(Score(qkv, token, head, j) - logarithms[i]);
                var product = Dot(slope, v);
                var ds = p * (product - delta);
                var (terms, queries) = (keys.Count * e, Math.Min(keysVisible, positions.Length) * (double)heads * e);
                var pError = (u + (((headDim * largest) + Math.Abs(logarithms[i]) + 16) * e)) * p;
                var dsError = (pError * (Math.Abs(product) + Math.Abs(delta))) + (p * ((u * magnitude) + (headDim * e * (AbsoluteDot(slope, v) + magnitude))));
                AddTo(gradient, Index(token, head), scale * ds, k);
                AddTo(gradient, Index(j, heads), scale * ds, q);
                AddTo(gradient, Index(j, heads + 1), p, slope);
                AddAbsoluteTo(bound, Index(token, head), 2 * scale * (dsError + (terms * Math.Abs(ds))), k);
                AddAbsoluteTo(bound, Index(j, heads), 2 * scale * (dsError + (queries * Math.Abs(ds))), q);
                AddAbsoluteTo(bound, Index(j, heads + 1), 2 * (pError + (queries * p)), slope);
            }
        }

        return (gradient, bound);
    }

    private List<int> Visible(int[] positions, int token)
    {
        var keys = new List<int> { token };
        for (var j = token; keys.Count < keysVisible && j > 0 && positions[j] > 0 && positions[j - 1] == positions[j] - 1; j--)
            keys.Add(j - 1);
        return keys;
    }

    private int Index(int token, int part) => ((token * (heads + 2)) + part) * headDim;

    private ReadOnlySpan<double> Part(double[] qkv, int token, int part) => qkv.AsSpan(Index(token, part), headDim);

    private double Score(double[] qkv, int token, int head, int key) => Dot(Part(qkv, token, head), Part(qkv, key, heads)) / Math.Sqrt(headDim);

    private static double Dot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var sum = 0.0;
        for (var c = 0; c < a.Length; c++)
            sum += a[c] * b[c];
        return sum;
    }

    private static double AbsoluteDot(ReadOnlySpan<double> a, ReadOnlySpan<double> b)
    {
        var sum = 0.0;
        for (var c = 0; c < a.Length; c++)
            sum += Math.Abs(a[c] * b[c]);
        return sum;
    }

    private static void AddTo(double[] sum, int first, double factor, ReadOnlySpan<double> terms)
    {
        for (var c = 0; c < terms.Length; c++)
            sum[first + c] += factor * terms[c];
    }

    private static void AddAbsoluteTo(double[] sum, int first, double factor, ReadOnlySpan<double> terms)
    {
        for (var c = 0; c < terms.Length; c++)
            sum[first + c] += factor * Math.Abs(terms[c]);
    }
}
