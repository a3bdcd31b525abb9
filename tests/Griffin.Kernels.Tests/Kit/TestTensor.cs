namespace Griffin.Kernels.Tests.Kit;

/// <summary>A tensor on the host in float64: row-major values of the given shape.</summary>
internal sealed record TestTensor(int[] Shape, double[] Values)
{
    public int Length => Values.Length;

    /// <summary>Row <paramref name="index"/> along the first axis.</summary>
    public TestTensor this[int index]
    {
        get
        {
            var size = Length / Shape[0];
            return new TestTensor(Shape[1..], Values[(index * size)..((index + 1) * size)]);
        }
    }

    /// <summary>The same values under another shape.</summary>
    public TestTensor Reshape(params int[] shape) => new(shape, Values);

    /// <summary>Transpose of a matrix.</summary>
    public TestTensor Transpose()
    {
        var (rows, columns) = (Shape[0], Shape[1]);
        var values = new double[Length];
        for (var r = 0; r < rows; r++)
        {
            for (var c = 0; c < columns; c++)
                values[(c * rows) + r] = Values[(r * columns) + c];
        }

        return new TestTensor([columns, rows], values);
    }
}
