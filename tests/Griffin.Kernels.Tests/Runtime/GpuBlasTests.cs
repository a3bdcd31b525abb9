using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Products through cuBLAS or its look-alike, in row-major terms, against plain loops.</summary>
public sealed class GpuBlasTests
{
    private const int Rows = 5, Inner = 7, Columns = 3, Gap = 2, Count = 4;

    [Test]
    public void ProductsAreThoseOfTheLoops([Values(1, Count)] int count, [Values] bool transposeX, [Values] bool transposeW, [Values] bool accumulate)
    {
        GpuDevice device = TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        CounterRandom random = new(17);
        (int xRows, int xColumns) = transposeX ? (Inner, Rows) : (Rows, Inner);
        (int wRows, int wColumns) = transposeW ? (Columns, Inner) : (Inner, Columns);
        const int yStride = Columns + Gap;
        int xStride = xColumns + Gap, wStride = wColumns + Gap;
        float[] x = random.Normals(count * xRows * xStride), w = random.Normals(count * wRows * wStride);
        float[] y = accumulate ? random.Normals(count * Rows * yStride) : Poison.Floats(count * Rows * yStride);
        using DeviceBuffer<float> xs = device.Upload<float>(x), ws = device.Upload<float>(w), ys = device.Upload<float>(y);
        TensorView first = xs.View(xRows, xColumns, xStride), weights = ws.View(wRows, wColumns, wStride), output = ys.View(Rows, Columns, yStride);
        if (count == 1) stream.Blas!.Multiply(first, transposeX, weights, transposeW, output, accumulate);
        else stream.Blas!.MultiplyBatched(first, transposeX, xRows * xStride, weights, transposeW, wRows * wStride, output, Rows * yStride, count, accumulate);
        stream.Synchronize();
        float[] all = ys.ToArray();
        for (int i = 0; i < count; i++)
        {
            for (int row = 0; row < Rows; row++)
            {
                double[] expected = new double[Columns];
                int line = (i * Rows + row) * yStride;
                for (int column = 0; column < Columns; column++)
                {
                    expected[column] = accumulate ? y[line + column] : 0;
                    for (int k = 0; k < Inner; k++)
                    {
                        float left = x[(i * xRows * xStride) + (transposeX ? k * xStride + row : row * xStride + k)];
                        float right = w[(i * wRows * wStride) + (transposeW ? column * wStride + k : k * wStride + column)];
                        expected[column] += (double)left * right;
                    }
                }

                Close.Absolute(all.AsSpan(line, Columns), expected, 1e-5, $"product {i}, row {row}");
                Close.Exact(all.AsSpan(line + Columns, Gap), y.AsSpan(line + Columns, Gap), "what lies between the rows is left alone");
            }
        }
    }

    [Test]
    public void ShapesAndTypesAreChecked()
    {
        GpuDevice device = TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> buffer = device.Allocate<float>(100);
        using DeviceBuffer<int> integers = device.Allocate<int>(100);
        GpuBlas blas = stream.Blas!;
        Assert.Throws<ArgumentException>(() => blas.Multiply(buffer.View(2, 3), false, buffer.View(4, 5), true, buffer.View(2, 4)));
        Assert.Throws<ArgumentException>(() => blas.Multiply(buffer.View(2, 3), false, buffer.View(4, 3), true, buffer.View(4, 2)));
        Assert.Throws<ArgumentException>(() => blas.Multiply(integers.View(2, 3), false, integers.View(4, 3), true, integers.View(2, 4)));
        blas.Multiply(buffer.View(0, 3), false, buffer.View(4, 3), true, buffer.View(0, 4));
        Assert.That(blas.WorkspaceBytes, Is.GreaterThan(0));
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(() => blas.Multiply(buffer.View(2, 3), false, buffer.View(4, 3), true, buffer.View(2, 4)));
    }
}
