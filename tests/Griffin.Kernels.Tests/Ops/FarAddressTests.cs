using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// Elements past the 2³¹st, one test per addressing pattern: rows reached by token, by row and by block, slots of a state pool. The memory is sparse
/// on the emulator, where pages that nobody writes cost nothing.
/// </summary>
[TestFixture]
internal sealed class FarAddressTests
{
    private const ElementType Type = ElementType.BFloat16;
    private const int Width = 16;
    private const long FarStride = (1L << 31) + 16;   // elements from row to row

    [Test]
    public void GatherFromAFarRow()
    {
        using var test = Open();
        using var table = Far(test);
        using var y = Far(test);
        var values = OpTest.Normals(new CounterRandom(1), Type, Width);
        Put(test, table, FarStride, values);
        new Embedding(test.Device, Type, Width).Run(test.Stream, test.Integers(-1, 1), View(table), 1, View(y));
        Close.Exact(Get(test, y, FarStride), values);
        Close.Exact(Get(test, y, 0), new float[Width]);
    }

    [Test]
    public void NormOfAFarRow()
    {
        using var test = Open();
        using var x = Far(test);
        using var y = Far(test);
        var values = OpTest.Normals(new CounterRandom(2), Type, Width);
        Put(test, x, 0, values);
        Put(test, x, FarStride, values);
        new RmsNorm(test.Device, Type, Width).Run(test.Stream, View(x), test.Vector(new float[Width], Type), View(y), 1e-6f);
        var near = Get(test, y, 0);
        Close.Finite(near);
        Close.Exact(Get(test, y, FarStride), near);
    }

    [Test]
    public void ColumnBlocksOfAFarRow()
    {
        using var test = Open();
        using var gateUp = Far(test);
        using var y = Far(test);
        var values = OpTest.Normals(new CounterRandom(3), Type, 2 * Width);
        Put(test, gateUp, 0, values);
        Put(test, gateUp, FarStride, values);
        new GeluMultiply(test.Device, Type, Width).Run(test.Stream, View(gateUp, 2 * Width), test.Vector(new float[2 * Width], Type), View(y));
        var near = Get(test, y, 0);
        Close.Finite(near);
        Close.Exact(Get(test, y, FarStride), near);
    }

    [Test]
    public void TokensAndSlotsFarApart()
    {
        using var test = Open();
        using var x = Far(test);
        using var y = Far(test);
        using var pool = Far(test);
        var values = OpTest.Normals(new CounterRandom(4), Type, 2 * Width);
        Put(test, x, 0, values);
        Put(test, x, FarStride, values);
        // Two rows of one token each: the same document on slots 0 and 1.
        var rows = new SequenceCase([new(0, 0), new(1, 0)], [0, 0]).Upload(test);
        LayerState state = new(pool, pool.Address, FarStride * Type.SizeOf());
        var zeros = test.Vector(new float[Width], Type);
        var conv = new Conv1D(test.Device, Type, Width, 4);
        conv.Run(test.Stream, rows, View(x), TensorView.Empty, test.Matrix(new CounterRandom(5).Bf16Normals(Width * 4), Width, 4, Type), zeros, View(y), state);
        conv.UpdateState(test.Stream, rows, View(x), TensorView.Empty, state);
        AssertSame(test, y, Width);
        AssertSame(test, pool, 3 * Width);

        foreach (var variant in new[] { RgLru.Sequential, RgLru.Chunked, RgLru.Ring, RgLru.LookBack })
        {
            foreach (var memory in new[] { y, pool })
                Put(test, memory, FarStride, Poison.Floats(2 * Width));
            var scan = new RgLru(test.Device, Type, Width, variant);
            scan.Run(test.Stream, rows, View(x), View(x, 2 * Width), View(x), TensorView.Empty, zeros, View(y), state, LruCase.Workspace(test, scan, 2, 2));
            AssertSame(test, y, Width);
            AssertSame(test, pool, 2 * Width);   // float32 h: two bfloat16 each
        }
    }

    [Test]
    public void StepsOnSlotsFarApart()
    {
        using var test = Open();
        using var x = Far(test);
        using var y = Far(test);
        using var pool = Far(test);
        var random = new CounterRandom(6);
        var (values, past) = (OpTest.Normals(random, Type, 2 * Width), OpTest.Normals(random, Type, 3 * Width));
        foreach (var element in new[] { 0, FarStride })
        {
            Put(test, x, element, values);
            Put(test, pool, element, past);
        }

        var rows = new SequenceCase([new(0, 5), new(1, 5)], [5, 5]).Upload(test);
        LayerState state = new(pool, pool.Address, FarStride * Type.SizeOf());
        var zeros = test.Vector(new float[Width], Type);
        new Conv1DStep(test.Device, Type, Width, 4)
            .Run(test.Stream, rows, View(x), TensorView.Empty, test.Matrix(random.Bf16Normals(Width * 4), Width, 4, Type), zeros, View(y), state);
        AssertSame(test, y, Width);
        AssertSame(test, pool, 3 * Width);
        Close.Exact(Get(test, pool, FarStride, 3 * Width), [.. past[Width..], .. values[..Width]], "the state moved on");

        Put(test, y, FarStride, Poison.Floats(Width));
        new RgLruStep(test.Device, Type, Width).Run(test.Stream, rows, View(x), View(x, 2 * Width), View(x), TensorView.Empty, zeros, View(y), state);
        AssertSame(test, y, Width);
        AssertSame(test, pool, 2 * Width);
        Assert.That(Get(test, pool, FarStride, 2 * Width), Is.Not.EqualTo(past[Width..(3 * Width)]), "h moved on");
    }

    [Test]
    public void CapOfAFarRow()
    {
        using var test = Open();
        using var logits = test.Device.AllocateBytes((FarStride + Width) * sizeof(float));
        var values = new CounterRandom(7).Normals(Width, 40);
        foreach (var row in new[] { 0, FarStride })
            test.Stream.CopyToDevice<float>(values, logits, row * sizeof(float));
        new SoftCap(test.Device, Width).Run(test.Stream, TensorView.Of(logits, 0, ElementType.Float32, 2, Width, FarStride), 30);
        var (near, far) = (new float[Width], new float[Width]);
        test.Stream.CopyToHost(logits, 0, near.AsSpan());
        test.Stream.CopyToHost(logits, FarStride * sizeof(float), far.AsSpan());
        test.Stream.Synchronize();
        Assert.That(near, Is.All.InRange(-30f, 30f));
        Assert.That(near, Is.Not.EqualTo(values));
        Close.Exact(far, near);
    }

    /// <summary>The far row's best token has occurred, says the far slot: the penalty leaves it to the second. Counting then reaches that slot, too.</summary>
    [Test]
    public void DrawFromAFarRowAndAFarSlot([Values("narrow", "wide")] string variant)
    {
        using var test = Open();
        var slotBytes = (int)Sampler.StateBytes(Width);
        using var logits = test.Device.AllocateBytes((FarStride + Width) * sizeof(float));
        using var states = test.Device.AllocateBytes((FarStride * sizeof(int)) + slotBytes);
        LayerState pool = new(states, states.Address, FarStride * sizeof(int));
        var sampler = new Sampler(test.Device, Width, variant);
        foreach (var (row, best) in new[] { (0, 3), (1, 11) })
        {
            var values = new float[Width];
            (values[best], values[5]) = (2, 1);
            test.Stream.CopyToDevice<float>(values, logits, row * FarStride * sizeof(float));
            var slot = new byte[slotBytes];
            new SamplerSettings { RepetitionPenalty = 4 }.WriteTo(slot);
            MemoryMarshal.Cast<byte, int>(slot.AsSpan())[^(Width - 11)] = 1;
            test.Stream.CopyToDevice<byte>(slot, states, row * FarStride * sizeof(int));
        }

        var tokens = test.Integers(-1, -1);
        sampler.Run(test.Stream, TensorView.Of(logits, 0, ElementType.Float32, 2, Width, FarStride), test.Integers(5, 5), test.Integers(0, 1), pool, tokens);
        var drawn = new int[2];
        test.Stream.CopyToHost(tokens.Owner, (long)(tokens.Address - tokens.Owner.Address), drawn.AsSpan());
        sampler.Count(test.Stream, new SequenceCase([new(0, 5), new(1, 5)], [5, 5]).Upload(test), test.Integers(3, 11), pool);
        var counts = new int[Width];
        test.Stream.CopyToHost(states, (FarStride * sizeof(int)) + slotBytes - (Width * sizeof(int)), counts.AsSpan());
        test.Stream.Synchronize();
        Assert.That(drawn, Is.EqualTo(new[] { 3, 5 }));
        Assert.That(counts[11], Is.EqualTo(2));
    }

    [Test]
    public void LossOfAFarRow([Values("serial", "vector", "general")] string variant)
    {
        using var test = Open();
        using var logits = test.Device.AllocateBytes((FarStride + Width) * sizeof(float));
        using var gradient = Far(test);
        var values = new CounterRandom(8).Normals(Width, 4);
        foreach (var row in new[] { 0, FarStride })
            test.Stream.CopyToDevice<float>(values, logits, row * sizeof(float));
        Put(test, gradient, FarStride, Poison.Floats(Width));
        var nll = test.Output(1, 2, ElementType.Float32);
        new CrossEntropy(test.Device, Type, Width, variant).Run(test.Stream, TensorView.Of(logits, 0, ElementType.Float32, 2, Width, FarStride), test.Integers(3, 3), 30,
            test.Vector([1], ElementType.Float32), nll, View(gradient));
        AssertSame(test, gradient, Width);
        var losses = test.Read(nll);
        Close.Finite(losses);
        Assert.That(losses[1], Is.EqualTo(losses[0]));
    }

    [Test]
    public void AttentionGradientsOfTokensFarApart([Values("serial", "mma", "vector", "general")] string variant)
    {
        const int Heads = 2, Wide = (Heads + 2) * Width;
        using var test = Open();
        using var qkv = Far(test);
        using var result = Far(test);
        using var slope = Far(test);
        using var gradient = Far(test);
        foreach (var memory in new[] { qkv, result, slope })
        {
            var values = new CounterRandom(memory.Address).Bf16Normals(Wide);
            foreach (var element in new[] { 0, FarStride })
                Put(test, memory, element, values);
        }

        Put(test, gradient, FarStride, Poison.Floats(Wide));
        // Two rows of one token each: the same document twice.
        var rows = new SequenceCase([new(0, 0), new(1, 0)], [0, 0]).Upload(test);
        var op = new WindowAttentionBackward(test.Device, Type, Heads, Width, variant);
        op.Run(test.Stream, rows, View(qkv, Wide), 9, View(result, Heads * Width), View(slope, Heads * Width), test.Matrix(new float[2 * Heads], 2, Heads, ElementType.Float32),
            View(gradient, Wide), test.Workspace(op.WorkspaceBytes(2)));
        AssertSame(test, gradient, Wide);
    }

    private static void AssertSame(OpTest test, DeviceMemory memory, int count)
    {
        var near = Get(test, memory, 0, count);
        Assert.That(near, Has.Some.Not.NaN.And.Some.Not.Zero);
        Close.Exact(Get(test, memory, FarStride, count), near);
    }

    private static OpTest Open()
    {
        var device = TestDevices.Plain;
        if (device.MemoryInfo.Free < 4 * FarStride * Type.SizeOf())
            Assert.Ignore("too little device memory");
        return new OpTest(device);
    }

    private static DeviceMemory Far(OpTest test) => test.Device.AllocateBytes((FarStride + (4 * Width)) * Type.SizeOf());

    private static TensorView View(DeviceMemory memory, int columns = Width) => TensorView.Of(memory, 0, Type, 2, columns, FarStride);

    private static void Put(OpTest test, DeviceMemory memory, long element, float[] values) =>
        test.Stream.CopyToDevice<BFloat16>(Array.ConvertAll(values, BFloat16.FromSingle), memory, element * Type.SizeOf());

    private static float[] Get(OpTest test, DeviceMemory memory, long element, int count = Width)
    {
        var values = new BFloat16[count];
        test.Stream.CopyToHost(memory, element * Type.SizeOf(), values.AsSpan());
        return Array.ConvertAll(values, value => value.ToSingle());
    }
}
