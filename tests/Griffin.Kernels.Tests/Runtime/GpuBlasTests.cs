using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>Products through cuBLAS or its look-alike, in row-major terms, against plain loops.</summary>
public sealed class GpuBlasTests
{
    private const int Rows = 5, Inner = 7, Columns = 3, Gap = 2, Count = 4, Large = 0;   // Large: one product, by cuBLASLt

    [Test]
    public void ProductsAreThoseOfTheLoops([Values(Large, 1, Count)] int count, [Values] bool transposeX, [Values] bool transposeW, [Values] bool accumulate)
    {
        GpuDevice device = TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        bool large = count == Large;
        count = Math.Max(count, 1);
        if (large && !device.HasBlasLt) Assert.Ignore("no cuBLASLt");
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
        if (large) stream.Blas!.MultiplyLarge(first, transposeX, weights, transposeW, output, accumulate);
        else if (count == 1) stream.Blas!.Multiply(first, transposeX, weights, transposeW, output, accumulate);
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
    [AssertNoLeaks]
    public void AWorkspaceThatDoesNotFitLeavesNothingBehind()
    {
        TestDevices.RequireEmulator("needs a device with little memory");
        using GpuDevice device = TestDevices.OpenEmulator(new EmulatorOptions { MemoryBytes = 8L << 20 });
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        using (device.AllocateBytes(6L << 20)) Assert.That(() => stream.Blas, Throws.InstanceOf<GpuException>());
        Assert.That(stream.Blas!.WorkspaceBytes, Is.EqualTo(GpuBlas.WorkspaceBytesFor(device)), "there is room now");
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

    /// <summary>An algorithm is kept for shapes, strides and the alignment of addresses alike: what shares it works, what does not gets another.</summary>
    [Test]
    public void LargeProductsTakeAnyAlignment()
    {
        GpuDevice device = WithLt();
        using GpuStream stream = device.CreateStream();
        const int columns = 16;
        float[] x = new CounterRandom(3).Normals(200);
        using DeviceBuffer<float> xs = device.Upload<float>(x), ys = device.Upload<float>(Poison.Floats(columns * columns));
        foreach (int shift in new[] { 0, 1, 2, 4, 64, 1, 0 })
        {
            TensorView view = xs.View(1, 200).ColumnRange(shift, 8);
            stream.Blas!.MultiplyLarge(view, false, view, true, ys.View(1, 1));
            stream.Synchronize();
            double expected = x.AsSpan(shift, 8).ToArray().Sum(value => (double)value * value);
            Close.Absolute(ys.ToArray().AsSpan(0, 1), [expected], 1e-5, $"shifted by {shift}");
        }
    }

    [Test]
    public void ProductsOfBFloat16RoundOnce([Values] bool large, [Values] bool toFloat32)
    {
        GpuDevice device = large ? WithLt() : TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        const int rows = 70, inner = 4000, columns = 24;   // a long sum of few outputs is what cuBLAS splits
        float[] x = new CounterRandom(4).Bf16Normals(rows * inner), w = new CounterRandom(5).Bf16Normals(columns * inner);
        using DeviceBuffer<BFloat16> xs = device.Upload<BFloat16>(Array.ConvertAll(x, BFloat16.FromSingle)), ws = device.Upload<BFloat16>(Array.ConvertAll(w, BFloat16.FromSingle));
        using DeviceBuffer<BFloat16> halves = device.Allocate<BFloat16>(rows * columns);
        using DeviceBuffer<float> floats = device.Allocate<float>(rows * columns);
        TensorView y = toFloat32 ? floats.View(rows, columns) : halves.View(rows, columns);
        if (large) stream.Blas!.MultiplyLarge(xs.View(rows, inner), false, ws.View(columns, inner), true, y);
        else stream.Blas!.Multiply(xs.View(rows, inner), false, ws.View(columns, inner), true, y);
        stream.Synchronize();
        double[] expected = new double[rows * columns];
        for (int i = 0; i < expected.Length; i++)
        {
            for (int k = 0; k < inner; k++) expected[i] += (double)x[(i / columns * inner) + k] * w[(i % columns * inner) + k];
        }

        if (toFloat32) Close.Absolute(floats.ToArray(), expected, 1e-3);
        else Close.BFloat16(Array.ConvertAll(halves.ToArray(), half => half.ToSingle()), expected, 1e-3);
    }

    /// <summary>The first product of a shape looks for an algorithm and the next ones do not, a capture's first one included.</summary>
    [Test]
    [AssertNoLeaks]
    public void LargeProductsAllocateOncePerShapeAndMayBeCaptured()
    {
        GpuDevice device = WithLt();
        using GpuStream stream = device.CreateStream();
        const int size = 32;
        float[] x = new CounterRandom(6).Normals(size * size);
        using DeviceBuffer<float> xs = device.Upload<float>(x), once = device.Allocate<float>(size * size), replayed = device.Allocate<float>(size * size);
        GpuBlas blas = stream.Blas!;
        stream.BeginCapture();
        blas.MultiplyLarge(xs.View(size, size), false, xs.View(size, size), true, replayed.View(size, size));
        using GpuGraph graph = stream.EndCapture();
        stream.Launch(graph);
        blas.MultiplyLarge(xs.View(size, size), false, xs.View(size, size), true, once.View(size, size));
        stream.Synchronize();
        Close.Exact(replayed.ToArray(), once.ToArray());
        Assert.That(once.ToArray(), Has.Some.Not.EqualTo(0f));

        TensorView view = xs.View(size, size), result = once.View(size, size);
        (long free, _) = device.MemoryInfo;
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 10; i++) blas.MultiplyLarge(view, false, view, true, result);
        long allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        stream.Synchronize();
        Assert.That(allocated, Is.Zero);
        TestDevices.AssertFree(device, free);
    }

    /// <summary>The library may load a kernel in the middle of a capture; the program around it still may not allocate.</summary>
    [Test]
    public void OnlyTheLibrarysOwnCallsAreRelaxedInACapture([Values] bool large)
    {
        GpuDevice device = large ? WithLt() : TestDevices.Checked;
        if (!device.HasBlas) Assert.Ignore("no cuBLAS");
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Allocate<float>(64), y = device.Allocate<float>(64);
        GpuBlas blas = stream.Blas!;
        stream.BeginCapture();
        if (large) blas.MultiplyLarge(x.View(8, 8), false, x.View(8, 8), true, y.View(8, 8));
        else blas.Multiply(x.View(8, 8), false, x.View(8, 8), true, y.View(8, 8));
        Assert.Throws<GpuException>(() => device.AllocateBytes(16));
        Assert.Throws<GpuException>(() => stream.EndCapture());
    }

    /// <summary>More shapes than are kept: each has its result still, the first one again too.</summary>
    [Test]
    public void LargeProductsOfManyShapesAreServed()
    {
        GpuDevice device = WithLt();
        using GpuStream stream = device.CreateStream();
        int shapes = GpuBlasLt.MostPlans + 2;
        float[] ones = [.. Enumerable.Repeat(1f, shapes)];
        using DeviceBuffer<float> xs = device.Upload<float>(ones), ys = device.Upload<float>(Poison.Floats(shapes + 1));
        for (int inner = 1; inner <= shapes; inner++)
        {
            TensorView row = xs.View(1, inner);
            stream.Blas!.MultiplyLarge(row, false, row, true, ys.View(1, shapes + 1).ColumnRange(inner - 1, 1));
        }

        stream.Blas!.MultiplyLarge(xs.View(1, 1), false, xs.View(1, 1), true, ys.View(1, shapes + 1).ColumnRange(shapes, 1));
        stream.Synchronize();
        Assert.That(ys.ToArray(), Is.EqualTo((float[])[.. Enumerable.Range(1, shapes).Select(inner => (float)inner), 1f]));
    }

    /// <summary>Without cuBLASLt, and where it has no algorithm, cuBLAS takes large products too.</summary>
    [Test]
    public void LargeProductsFallBack([Values] bool found)
    {
        TestDevices.RequireEmulator("takes providers apart");
        GpuProvider whole = TestDevices.Plain.Provider;
        GpuProvider part = whole with { BlasLt = found ? new Clueless(whole.BlasLt!) : null };
        using GpuDevice device = GpuDevice.Open("emulator", new() { Provider = part });
        Assert.That(device.HasBlasLt, Is.EqualTo(found));
        using GpuStream stream = device.CreateStream();
        using DeviceBuffer<float> x = device.Upload<float>([1, 2, 3]), y = device.Allocate<float>(1);
        for (int i = 0; i < 2; i++) stream.Blas!.MultiplyLarge(x.View(1, 3), false, x.View(1, 3), true, y.View(1, 1));
        stream.Synchronize();
        Assert.That(y.ToArray(), Is.EqualTo([14f]));
    }

    private static GpuDevice WithLt()
    {
        GpuDevice device = TestDevices.Checked;
        if (!device.HasBlasLt) Assert.Ignore("no cuBLASLt");
        return device;
    }

    /// <summary>A cuBLASLt that never finds an algorithm.</summary>
    private sealed class Clueless(BlasLt library) : BlasLt
    {
        public override int Create(out nint handle) => library.Create(out handle);
        public override int Destroy(nint handle) => library.Destroy(handle);
        public override int ProductCreate(out nint product) => library.ProductCreate(out product);
        public override int ProductDestroy(nint product) => library.ProductDestroy(product);
        public override int ProductSet(nint product, BlasLtProductAttribute attribute, int value) => library.ProductSet(product, attribute, value);
        public override int LayoutCreate(out nint layout, BlasType type, ulong rows, ulong columns, long leading) => library.LayoutCreate(out layout, type, rows, columns, leading);
        public override int LayoutDestroy(nint layout) => library.LayoutDestroy(layout);
        public override int PreferenceCreate(out nint preference) => library.PreferenceCreate(out preference);
        public override int PreferenceDestroy(nint preference) => library.PreferenceDestroy(preference);
        public override int PreferenceSet(nint preference, BlasLtPreferenceAttribute attribute, ulong value) => library.PreferenceSet(preference, attribute, value);

        public override int FindAlgorithm(nint handle, nint product, nint a, nint b, nint c, nint d, nint preference, BlasLtAlgorithm algorithm, out int found)
        {
            found = 0;
            return 0;
        }

        public override int Multiply(nint handle, nint product, float alpha, ulong a, nint aLayout, ulong b, nint bLayout, float beta, ulong c, nint cLayout,
            BlasLtAlgorithm algorithm, ulong workspace, ulong workspaceBytes, nint stream) => throw new InvalidOperationException("There is no algorithm to multiply with.");
    }
}
