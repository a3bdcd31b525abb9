using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// A backward call of attention over fresh rows in device memory: the operands of an <see cref="AttentionCall"/>, seeded gradients of the result, the float64
/// result and logarithms of the forward pass. Everything that belongs to padding is NaN, and the gradients start as NaN.
/// </summary>
internal sealed class AttentionGradientCall : IDisposable
{
    private readonly AttentionCall _forward;
    private readonly AttentionBackwardReference _reference;
    private readonly TensorView _y;
    private readonly TensorView _dy;
    private readonly TensorView _logSumExp;
    private readonly double[][] _slopes;

    public AttentionGradientCall(GpuDevice device, ElementType type, AttentionShapeCase shape, IReadOnlyList<int[]> rows)
    {
        Shape = shape;
        var width = shape.Heads * shape.HeadDim;
        _reference = new(shape.Heads, shape.HeadDim, shape.KeysVisible);
        RowData = [.. rows.Select(positions => new AttentionReference.Row(positions, 0, Contents(positions, width + (2 * shape.HeadDim), 1), [], []))];
        _slopes = [.. rows.Select(positions => Widen(Contents(positions, width, 2)))];
        var results = RowData.Select(row => _reference.Forward(row.Positions, Widen(row.Qkv))).ToArray();
        _forward = new AttentionCall(device, type, shape, [.. RowData.Select(row => row with { Qkv = Blank(row.Positions, row.Qkv) })]);
        _y = Upload(results.Select(result => result.Output), width, type, 8);
        _dy = Upload(_slopes, width, type, 16);
        _logSumExp = Upload(results.Select(result => result.LogSumExp), shape.Heads, ElementType.Float32, 1);
        Gradient = Test.Output(rows.Sum(row => row.Length), width + (2 * shape.HeadDim), type, gap: 8);
    }

    public AttentionShapeCase Shape { get; }

    public AttentionReference.Row[] RowData { get; }

    public OpTest Test => _forward.Test;

    public TensorView Gradient { get; }

    /// <summary>Runs the op, on the exact logarithms and the rounded result, or on those of the forward kernel.</summary>
    public void Run(string? variant, bool afterForward = false)
    {
        var (type, stream) = (Gradient.Type, Test.Stream);
        var op = new WindowAttentionBackward(Test.Device, type, Shape.Heads, Shape.HeadDim, variant);
        var workspace = Test.Workspace(op.WorkspaceBytes((int)Gradient.Rows));
        if (afterForward)
            new WindowAttention(Test.Device, type, Shape.Heads, Shape.HeadDim).Run(stream, _forward.Rows, _forward.Qkv, default, 0, Shape.KeysVisible, _y, _logSumExp);
        op.Run(stream, _forward.Rows, _forward.Qkv, Shape.KeysVisible, _y, _dy, _logSumExp, Gradient, workspace);
    }

    public float[] Read() => Test.Read(Gradient);

    /// <summary>Runs with other operands than the call's own, for what is refused.</summary>
    public void Run(WindowAttentionBackward op, int keysVisible, TensorView gradient, TensorView workspace) =>
        op.Run(Test.Stream, _forward.Rows, _forward.Qkv, keysVisible, _y, _dy, _logSumExp, gradient, workspace);

    public TensorView Qkv => _forward.Qkv;

    /// <summary>Compares with float64; a forward kernel's own rounding allows <paramref name="factor"/> times the bound.</summary>
    public void AssertGradient(string what, double factor = 1)
    {
        var (actual, first) = (Read(), 0);
        for (var r = 0; r < RowData.Length; r++)
        {
            var row = RowData[r];
            var (expected, bound) = _reference.Backward(row.Positions, Widen(row.Qkv), _slopes[r], Gradient.Type == ElementType.BFloat16);
            OpTest.Compare(Gradient.Type, actual.AsSpan(first, expected.Length), expected, i => (factor * bound[i]) + 1e-30, $"{what}, {Gradient.Type} {Shape}, row {r}");
            first += expected.Length;
        }

        Assert.That(actual, Has.Length.EqualTo(first));
    }

    public void Dispose() => _forward.Dispose();

    // The numbers of a document are the same ones in any row: they come from its length and first position.
    private static float[] Contents(int[] positions, int width, ulong kind)
    {
        var values = new List<float>();
        for (var (first, end) = (0, 0); first < positions.Length; first = end)
        {
            for (end = first + 1; end < positions.Length && positions[first] >= 0 && positions[end] == positions[end - 1] + 1;)
                end++;
            values.AddRange(new CounterRandom((kind << 62) + ((ulong)(end - first) << 32) + (uint)positions[first]).Bf16Normals((end - first) * width));
        }

        return [.. values];
    }

    private static double[] Widen(float[] values) => Array.ConvertAll(values, value => (double)value);

    private static float[] Blank(int[] positions, float[] values)
    {
        var (blank, width) = (values.ToArray(), positions.Length == 0 ? 0 : values.Length / positions.Length);
        for (var t = 0; t < positions.Length; t++)
        {
            if (positions[t] < 0)
                blank.AsSpan(t * width, width).Fill(float.NaN);
        }

        return blank;
    }

    private TensorView Upload(IEnumerable<double[]> rows, int width, ElementType type, int gap)
    {
        var values = rows.Zip(RowData, (row, data) => Blank(data.Positions, Array.ConvertAll(row, x => (float)x))).SelectMany(row => row).ToArray();
        return Test.Matrix(values, values.Length / width, width, type, gap);
    }
}
