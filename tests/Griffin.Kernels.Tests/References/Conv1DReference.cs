namespace Griffin.Kernels.Tests.References;

/// <summary>
/// The causal depthwise convolution in float64, one token at a time: each slot keeps all inputs of its document, and a token sees as many of them
/// as there are, taps - 1 at most.
/// </summary>
internal sealed class Conv1DReference(int width, int taps, double[] weight, double[] bias)
{
    private readonly Dictionary<int, List<double[]>> _documents = [];

    /// <summary>Gives a slot its past: the last inputs of its document, oldest first.</summary>
    public void SetPast(int slot, IEnumerable<double[]> inputs) => _documents[slot] = [.. inputs];

    /// <summary>One token with raw input <paramref name="z"/>; padding gives zeros and changes nothing.</summary>
    /// <returns>The output, and the sum of the magnitudes that made it.</returns>
    public (double[] Y, double[] Magnitude) Step(int slot, int position, double[] z)
    {
        if (position < 0)
            return (new double[width], new double[width]);
        if (position == 0 || !_documents.TryGetValue(slot, out var document))
            document = _documents[slot] = [];
        if (document.Count > position)   // a document has no more tokens than its positions say
            document.RemoveRange(0, document.Count - position);
        document.Add(z);
        var y = (double[])bias.Clone();
        var magnitude = Array.ConvertAll(bias, Math.Abs);
        for (var k = 0; k < Math.Min(taps, document.Count); k++)
        {
            for (var c = 0; c < width; c++)
            {
                var term = weight[(c * taps) + taps - 1 - k] * document[^(k + 1)][c];
                y[c] += term;
                magnitude[c] += Math.Abs(term);
            }
        }

        return (y, magnitude);
    }

    /// <summary>What a slot's state must hold: the last taps - 1 inputs, oldest first, zeros where there are none.</summary>
    public double[] State(int slot)
    {
        var state = new double[(taps - 1) * width];
        var document = _documents.GetValueOrDefault(slot, []);
        for (var back = 1; back < taps && back <= document.Count; back++)
            document[^back].CopyTo(state, (taps - 1 - back) * width);
        return state;
    }
}
