using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Products through cuBLAS or its look-alike, in row-major terms, against plain loops.</summary>
public sealed class GpuBlasTests
{
    private const int Rows = 5, Inner = 7, Columns = 3, XStride = 9, WStride = 8, YStride = 4, Count = 4;

    [TestCase(1)]
    [TestCase(Count)]
    public void ProductsAreThoseOfTheLoops(int count)
    {
        GpuDevice device = TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        CounterRandom random = new(17);
        float[] x = random.Normals(count * Rows * XStride), w = random.Normals(count * Columns * WStride);
        using DeviceBuffer<float> xs = device.Upload<float>(x), ws = device.Upload<float>(w), ys = device.Upload<float>(Poison.Floats(count * Rows * YStride));
        TensorView first = xs.View(Rows, Inner, XStride), weights = ws.View(Columns, Inner, WStride), output = ys.View(Rows, Columns, YStride);
        if (count == 1) stream.Blas!.MultiplyTransposed(first, weights, output);
        else stream.Blas!.MultiplyTransposedBatched(first, Rows * XStride, weights, Columns * WStride, output, Rows * YStride, count);
        stream.Synchronize();
        float[] all = ys.ToArray();
        for (int i = 0; i < count; i++)
        {
            for (int row = 0; row < Rows; row++)
            {
                double[] expected = new double[Columns];
                for (int column = 0; column < Columns; column++)
                    for (int k = 0; k < Inner; k++)
                        expected[column] += (double)x[(i * Rows + row) * XStride + k] * w[(i * Columns + column) * WStride + k];
                Span<float> line = all.AsSpan((i * Rows + row) * YStride, YStride);
                Close.Absolute(line[..Columns], expected, 1e-5, $"product {i}, row {row}");
                Assert.That(float.IsNaN(line[Columns]), "what lies between the rows is left alone");
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
        Assert.Throws<ArgumentException>(() => blas.MultiplyTransposed(buffer.View(2, 3), buffer.View(4, 5), buffer.View(2, 4)));
        Assert.Throws<ArgumentException>(() => blas.MultiplyTransposed(buffer.View(2, 3), buffer.View(4, 3), buffer.View(4, 2)));
        Assert.Throws<ArgumentException>(() => blas.MultiplyTransposed(integers.View(2, 3), integers.View(4, 3), integers.View(2, 4)));
        blas.MultiplyTransposed(buffer.View(0, 3), buffer.View(4, 3), buffer.View(0, 4));
        Assert.That(blas.WorkspaceBytes, Is.GreaterThan(0));
        stream.Dispose();
        Assert.Throws<ObjectDisposedException>(() => blas.MultiplyTransposed(buffer.View(2, 3), buffer.View(4, 3), buffer.View(2, 4)));
    }
}
