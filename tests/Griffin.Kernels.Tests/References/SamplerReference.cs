using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Tests.References;

/// <summary>The sampler by sorting, in float64: which tokens are left, with which probabilities, and which one is drawn.</summary>
internal static class SamplerReference
{
    /// <summary>Probabilities of the tokens that the settings leave, 0 for the others.</summary>
    public static double[] Probabilities(ReadOnlySpan<float> logits, ReadOnlySpan<int> counts, SamplerSettings settings)
    {
        var x = Penalised(logits, counts, settings);
        int[] order = Order(x);
        var result = new double[x.Length];
        if (settings.Temperature == 0)
        {
            result[order[0]] = 1;
            return result;
        }

        var largest = x[order[0]];
        double[] weights = [.. order.Select(token => x[token] == largest ? 1 : Math.Exp(((double)x[token] - largest) / settings.Temperature))];
        var kept = settings.TopK > 0 ? Math.Min(settings.TopK, order.Length) : order.Length;
        if (settings.TopP < 1)
        {
            var share = settings.TopP * weights[..kept].Sum();
            double sum = 0;
            var prefix = 0;
            while (prefix < kept && (sum < share || prefix == 0))
                sum += weights[prefix++];
            kept = prefix;
        }

        while (kept > 1 && weights[kept - 1] < settings.MinP)
            kept--;
        var total = weights[..kept].Sum();
        for (var i = 0; i < kept; i++)
            result[order[i]] = weights[i] / total;
        return result;
    }

    /// <summary>
    /// The token that is drawn at an absolute index; null when the two best tokens are so near each other (10⁻⁵ of the larger score and of the
    /// temperature) that float32 may decide otherwise.
    /// </summary>
    public static int? Draw(ReadOnlySpan<float> logits, ReadOnlySpan<int> counts, SamplerSettings settings, uint index)
    {
        var probabilities = Probabilities(logits, counts, settings);
        var x = Penalised(logits, counts, settings);
        var (best, second, token) = (double.NegativeInfinity, double.NegativeInfinity, -1);
        for (var v = 0; v < x.Length; v++)
        {
            if (probabilities[v] == 0)
                continue;
            var score = settings.Temperature == 0 ? x[v] : x[v] + (settings.Temperature * Gumbel(settings.Seed, index, (uint)v));
            if (token < 0 || score > best)
                (best, second, token) = (score, best, v);
            else
                second = Math.Max(second, score);
        }

        return best - second < 1e-5 * (Math.Abs(best) + settings.Temperature) && settings.Temperature > 0 ? null : token;
    }

    /// <summary>The Gumbel number of a token: -ln(-ln(1 - u)), u the lower half of Philox 4x32-10 as a number between 0 and 1.</summary>
    public static double Gumbel(ulong seed, uint index, uint token)
    {
        var block = Philox([index, token, 0, 0], seed);
        var bits = (ulong)block[1] << 32 | block[0];
        if (bits >> 63 != 0)
            return -Math.Log(-Math.Log((~bits + 0.5) * Math.ScaleB(1, -64)));
        var u = (bits + 0.5) * Math.ScaleB(1, -64);
        var rest = 1 - u;
        return -Math.Log(rest == 1 ? u : -Math.Log(rest) * u / (1 - rest)); // ln(1 - u) without the error of 1 - u
    }

    /// <summary>Philox 4x32-10.</summary>
    public static uint[] Philox(uint[] counter, ulong key)
    {
        var (c, k0, k1) = (((uint[])[.. counter]), (uint)key, (uint)(key >> 32));
        for (var round = 0; round < 10; round++)
        {
            var (a, b) = ((ulong)0xD2511F53 * c[0], (ulong)0xCD9E8D57 * c[2]);
            c = [(uint)(b >> 32) ^ c[1] ^ k0, (uint)b, (uint)(a >> 32) ^ c[3] ^ k1, (uint)a];
            (k0, k1) = (unchecked(k0 + 0x9E3779B9), unchecked(k1 + 0xBB67AE85));
        }

        return c;
    }

    private static float[] Penalised(ReadOnlySpan<float> logits, ReadOnlySpan<int> counts, SamplerSettings settings)
    {
        var x = new float[logits.Length];
        for (var token = 0; token < x.Length; token++)
        {
            x[token] = float.IsNaN(logits[token]) ? float.NegativeInfinity : logits[token];
            if (counts[token] > 0)
                x[token] = x[token] > 0 ? x[token] / settings.RepetitionPenalty : x[token] * settings.RepetitionPenalty;
        }

        return x;
    }

    private static int[] Order(float[] x) => [.. Enumerable.Range(0, x.Length).OrderByDescending(token => x[token] + 0f).ThenBy(token => token)];
}
