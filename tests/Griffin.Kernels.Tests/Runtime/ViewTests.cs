using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

public sealed class ViewTests
{
    [Test]
    public void PartsOfATensorKnowTheirPlace()
    {
        using DeviceBuffer<BFloat16> buffer = TestDevices.Checked.AllocateUninitialized<BFloat16>(100);
        TensorView view = buffer.View(9, 10, 11);
        Assert.Multiple(() =>
        {
            Assert.That((view.Rows, view.Columns, view.RowStride, view.Type, view.Length), Is.EqualTo((9L, 10L, 11L, ElementType.BFloat16, 90L)));
            Assert.That(view.Address, Is.EqualTo(buffer.Address));
            Assert.That(view.RowRange(2, 3).Address, Is.EqualTo(buffer.Address + 2 * 11 * 2));
            Assert.That(view.ColumnRange(4, 6).Address, Is.EqualTo(buffer.Address + 4 * 2));
            Assert.That(view.ColumnRange(4, 6).RowRange(8, 1).ToString(), Is.EqualTo("BFloat16[1, 6] stride 11"));
            Assert.That(view.RowRange(9, 0).Rows, Is.Zero);
            Assert.That(view, Is.EqualTo(buffer.View(9, 10, 11)));
            Assert.That(view == buffer.View(9, 10), Is.False);
            Assert.That(buffer.View().Columns, Is.EqualTo(100));
            Assert.That(TensorView.Empty.IsEmpty);
            Assert.That(TensorView.Of(buffer.Memory, 200, ElementType.BFloat16, 0, 10).IsEmpty, Is.False);
        });
    }

    [Test]
    public void ViewsOutsideTheMemoryAreRefused()
    {
        using DeviceBuffer<float> buffer = TestDevices.Checked.AllocateUninitialized<float>(100);
        Assert.Multiple(() =>
        {
            Assert.Throws<ArgumentOutOfRangeException>(() => buffer.View(10, 11));
            Assert.Throws<ArgumentOutOfRangeException>(() => buffer.View(2, 50, 51));
            Assert.Throws<ArgumentOutOfRangeException>(() => buffer.View(-1, 1));
            Assert.Throws<ArgumentException>(() => buffer.View(2, 10, 9));
            Assert.Throws<ArgumentException>(() => TensorView.Of(buffer.Memory, 2, ElementType.Float32, 1, 1));
            Assert.Throws<ArgumentOutOfRangeException>(() => TensorView.Of(buffer.Memory, -4, ElementType.Float32, 1, 1));
            Assert.Throws<OverflowException>(() => buffer.View(long.MaxValue, 2));
            Assert.Throws<ArgumentOutOfRangeException>(() => buffer.View(10, 10).RowRange(5, 6));
            Assert.Throws<ArgumentOutOfRangeException>(() => buffer.View(10, 10).ColumnRange(-1, 2));
            Assert.That(buffer.View(4, 5).AsVector().ToString(), Does.Contain("[1, 20] stride 20"));
            Assert.Throws<InvalidOperationException>(() => buffer.View(4, 5, 6).AsVector());
            Assert.Throws<InvalidOperationException>(() => _ = TensorView.Empty.Owner);
        });
    }

    [Test]
    public void TypedViewsSliceLikeSpans()
    {
        using DeviceBuffer<int> buffer = TestDevices.Checked.Upload<int>([1, 2, 3, 4, 5, 6]);
        DeviceView<int> part = buffer.Span.Slice(2, 4);
        ReadOnlyDeviceView<int> readOnly = part;
        Assert.That((part.Length, part.ByteOffset, part.Bytes, readOnly.Address), Is.EqualTo((4L, 8L, 16L, buffer.Address + 8)));
        Assert.That(part.Slice(1, 1).Address, Is.EqualTo(buffer.Address + 12));
        Assert.That(part.AsTensor(2).ToString(), Is.EqualTo("Int32[2, 2] stride 2"));
        Assert.Throws<ArgumentOutOfRangeException>(() => buffer.Span.Slice(4, 3));
        Assert.Throws<ArgumentException>(() => buffer.Span.AsTensor(4));
    }

    [Test]
    public void ElementTypesAreOneTable()
    {
        foreach (ElementType type in Enum.GetValues<ElementType>())
        {
            Assert.That(type.SizeOf(), Is.GreaterThan(0));
            Assert.That(type.CudaName(), Is.Not.Empty);
        }
        Assert.That(Enum.GetValues<ElementType>().Select(type => type.CudaName()), Is.Unique);
        Assert.That(ElementTypes.Of<BFloat16>(), Is.EqualTo(ElementType.BFloat16));
        Assert.That(ElementTypes.Of<ulong>(), Is.EqualTo(ElementType.UInt64));
        Assert.That(Assert.Throws<NotSupportedException>(() => ElementTypes.Of<double>())!.Message, Does.Contain("Double").And.Contain("BFloat16"));
    }

    [Test]
    public void BuffersStartAsTheyPromise()
    {
        GpuDevice device = TestDevices.Checked;
        using DeviceBuffer<float> zeros = device.Allocate<float>(1001), none = device.Allocate<float>(0);
        Assert.That(zeros.ToArray(), Has.Length.EqualTo(1001).And.All.Zero);
        Assert.That(none.ToArray(), Is.Empty);
        zeros.CopyFrom([1, 2]);
        float[] three = [9, 9, 9];
        zeros.CopyTo(three);
        Assert.That(three, Is.EqualTo(new float[] { 1, 2, 0 }));
    }
}
