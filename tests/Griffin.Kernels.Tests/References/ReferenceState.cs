namespace Griffin.Kernels.Tests.References;

/// <summary>What a sequence carries between calls: all raw convolution inputs, keys and values of its current document, and the recurrent state.</summary>
internal sealed class ReferenceState
{
    private readonly LayerMemory[] _layers;

    public ReferenceState(int layers)
        : this([.. Enumerable.Range(0, layers).Select(_ => new LayerMemory())], 0)
    {
    }

    private ReferenceState(LayerMemory[] layers, int seen)
    {
        _layers = layers;
        Seen = seen;
    }

    /// <summary>Tokens of the current document that went by since the state was made.</summary>
    public int Seen { get; private set; }

    public LayerMemory this[int layer] => _layers[layer];

    public ReferenceState Clone() => new([.. _layers.Select(layer => layer.Clone())], Seen);

    /// <summary>Forgets the document before a token at position 0.</summary>
    public void StartDocument()
    {
        Seen = 0;
        foreach (var layer in _layers)
            layer.Clear();
    }

    public void Advance() => Seen++;

    /// <summary>One layer's part.</summary>
    internal sealed class LayerMemory
    {
        /// <summary>Recurrent state; empty until the first token.</summary>
        public double[] Hidden { get; set; } = [];

        /// <summary>Raw convolution inputs, oldest first.</summary>
        public List<double[]> ConvInputs { get; private init; } = [];

        /// <summary>Rotated keys, oldest first.</summary>
        public List<double[]> Keys { get; private init; } = [];

        /// <summary>Values, oldest first.</summary>
        public List<double[]> Values { get; private init; } = [];

        public LayerMemory Clone() =>
            new() { Hidden = [.. Hidden], ConvInputs = [.. ConvInputs], Keys = [.. Keys], Values = [.. Values] };

        public void Clear()
        {
            Hidden = [];
            ConvInputs.Clear();
            Keys.Clear();
            Values.Clear();
        }
    }
}
