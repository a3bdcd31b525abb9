using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// The device side of one op test: a stream and arrays that live until the test ends. Matrices may have gaps between rows; gaps and outputs start
/// as NaN, and reading a matrix back fails if a gap has been written.
/// </summary>
internal sealed class OpTest : IDisposable
{
    private readonly List<IDisposable> _owned = [];
    private readonly Dictionary<ulong, (Func<float[]> ReadAll, int Columns)> _matrices = [];

    public OpTest(GpuDevice device)
    {
        Device = device;
        Stream = device.CreateStream(device.HasDependentLaunches); // kernels that say they wait are held to it
    }

    public GpuDevice Device { get; }

    public GpuStream Stream { get; }

    /// <summary>Types that kernels store.</summary>
    public static ElementType[] Types { get; } = [ElementType.Float32, ElementType.BFloat16];

    /// <summary>Normal numbers that the type holds exactly.</summary>
    public static float[] Normals(CounterRandom random, ElementType type, int count, double spread = 1) =>
        type == ElementType.BFloat16 ? random.Bf16Normals(count, spread) : random.Normals(count, spread);

    /// <summary>A matrix on the device.</summary>
    public TensorView Matrix(ReadOnlySpan<float> values, int rows, int columns, ElementType type, int gap = 0)
    {
        Assert.That(values.Length, Is.EqualTo(rows * columns));
        var stride = columns + gap;
        var padded = Poison.Floats(Math.Max(1, rows * stride));
        for (var r = 0; r < rows; r++)
            values.Slice(r * columns, columns).CopyTo(padded.AsSpan(r * stride));
        return Place(padded, rows, columns, stride, type);
    }

    /// <summary>A vector on the device.</summary>
    public TensorView Vector(ReadOnlySpan<float> values, ElementType type) => Matrix(values, 1, values.Length, type);

    /// <summary>A matrix of NaN, to be written.</summary>
    public TensorView Output(int rows, int columns, ElementType type, int gap = 0) => Matrix(Poison.Floats(rows * columns), rows, columns, type, gap);

    /// <summary>A vector of integers on the device; it may be empty.</summary>
    public TensorView Integers(params ReadOnlySpan<int> values)
    {
        var buffer = Device.AllocateUninitialized<int>(Math.Max(1, values.Length));
        _owned.Add(buffer);
        buffer.CopyFrom(values.IsEmpty ? [Poison.Integer] : values);
        return TensorView.Of(buffer.Memory, 0, ElementType.Int32, 1, values.Length);
    }

    /// <summary>A vector of bytes on the device.</summary>
    public TensorView Bytes(params ReadOnlySpan<byte> values)
    {
        var memory = Allocate(Math.Max(1, values.Length));
        Stream.CopyToDevice(values, memory);
        return TensorView.Of(memory, 0, ElementType.UInt8, 1, values.Length);
    }

    /// <summary>Uninitialised workspace; empty for no bytes.</summary>
    public TensorView Workspace(long bytes) => bytes == 0 ? TensorView.Empty : TensorView.Of(Allocate(bytes), 0, ElementType.UInt8, 1, bytes);

    /// <summary>Zeroed bytes for an op to count in; empty for none.</summary>
    public TensorView Zeros(long bytes) => bytes == 0 ? TensorView.Empty : Bytes(new byte[bytes]);

    /// <summary>Memory of the test's own, uninitialised.</summary>
    public DeviceMemory Allocate(long bytes)
    {
        var memory = Device.AllocateBytes(bytes);
        _owned.Add(memory);
        return memory;
    }

    /// <summary>The values of a matrix made here, gaps left out and checked.</summary>
    public float[] Read(TensorView view)
    {
        Stream.Synchronize();
        var (readAll, columns) = _matrices[view.Owner.Address];
        var all = readAll();
        var first = (int)((view.Address - view.Owner.Address) / (ulong)view.Type.SizeOf());
        var values = new float[view.Rows * view.Columns];
        for (var r = 0; r < view.Rows; r++)
        {
            all.AsSpan(first + (int)(r * view.RowStride), (int)view.Columns).CopyTo(values.AsSpan((int)(r * view.Columns)));
            for (var gap = view.Columns; view.Columns == columns && gap < view.RowStride && first + (r * view.RowStride) + gap < all.Length; gap++)
                Assert.That(float.IsNaN(all[first + (r * view.RowStride) + gap]), $"the gap after row {r} was written");
        }

        return values;
    }

    /// <summary>
    /// Compares stored values with float64 ones: one ulp of the type plus what the op's contract allows for its float32 arithmetic.
    /// </summary>
    public static void Compare(ElementType type, ReadOnlySpan<float> actual, double[] expected, Func<int, double> allowed, string what = "output")
    {
        if (type == ElementType.BFloat16)
            Close.BFloat16(actual, expected, allowed, what);
        else
            Close.Within(actual, expected, i => (Math.Abs(expected[i]) * Units(1)) + allowed(i) + float.Epsilon, what);
    }

    /// <summary>So many units of float32 rounding, 2⁻²⁴ each.</summary>
    public static double Units(double count) => Math.ScaleB(count, -24);

    /// <summary>Names of an op's variants for a shape, from the op's own catalogue.</summary>
    public static string[] VariantsOf<TOp>(ModelDimensions model, ElementType type) where TOp : IKernelCatalogue =>
        [.. TOp.Catalogue(model, type).Select(entry => entry.Variant).Distinct()];

    /// <summary>Model dimensions with every size set to one number, for ops that look at a single one.</summary>
    public static ModelDimensions Dimensions(int size, int taps = 4) => new()
    {
        Width = size,
        RnnWidth = size,
        Heads = 1,
        HeadDim = size,
        GateBlocks = 1,
        MlpWidth = size,
        Vocabulary = size,
        Window = 2048,
        ConvTaps = taps,
    };

    public void Dispose()
    {
        Stream.Synchronize();
        foreach (var owned in _owned)
            owned.Dispose();
        Stream.Dispose();
    }

    private TensorView Place(float[] values, int rows, int columns, int stride, ElementType type)
    {
        if (type == ElementType.Float32)
            return Place(Device.AllocateUninitialized<float>(values.Length), values, static value => value, rows, columns, stride);
        if (type == ElementType.BFloat16)
            return Place(Device.AllocateUninitialized<BFloat16>(values.Length), Array.ConvertAll(values, BFloat16.FromSingle), static value => value.ToSingle(), rows, columns, stride);
        throw new ArgumentException($"Kernels do not store {type}.", nameof(type));
    }

    private TensorView Place<T>(DeviceBuffer<T> buffer, T[] values, Converter<T, float> widen, int rows, int columns, int stride) where T : unmanaged
    {
        _owned.Add(buffer);
        buffer.CopyFrom(values);
        _matrices[buffer.Address] = (() => Array.ConvertAll(buffer.ToArray(), widen), columns);
        return buffer.View(rows, columns, stride);
    }
}
