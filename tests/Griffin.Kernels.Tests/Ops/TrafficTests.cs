using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using static Griffin.Kernels.Tests.Ops.TrafficLaws;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>
/// What the kernels of this folder's elementwise and sequence ops ask of memory, against the least that their contracts name: streamed tensors at
/// most 1.05 times their size, in whole sectors; shared operands at most what the tile reads.
/// </summary>
[TestFixture]
internal sealed class TrafficTests
{
    private const int Rows = 130;

    private GpuDevice _device = null!;

    [OneTimeSetUp]
    public void OpenCountingDevice()
    {
        TestDevices.RequireEmulator("counts accesses");
        _device = TestDevices.OpenEmulator(new EmulatorOptions { CountAccesses = true });
    }

    [OneTimeTearDown]
    public void CloseDevice() => _device?.Dispose();

    [Test]
    public void Embedding([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<Embedding>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (table, y) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Output(Rows, width, type));
            var op = new Embedding(_device, type, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, test.Integers([.. Enumerable.Range(0, Rows)]), table, 1, y));
            AssertStreamed(launch, table, read: true, variant);
            AssertStreamed(launch, y, read: false, variant);
        }
    }

    [Test]
    public void CrossEntropy([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<CrossEntropy>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (logits, gradient) = (test.Matrix(new float[Rows * width], Rows, width, ElementType.Float32), test.Output(Rows, width, type));
            var (targets, nll, scale) = (test.Integers(new int[Rows]), test.Output(1, Rows, ElementType.Float32), test.Vector([1], ElementType.Float32));
            var op = new CrossEntropy(_device, type, width, variant);
            AssertStreamed(Count(test, () => op.Run(test.Stream, logits, targets, 30, scale, nll, TensorView.Empty)), logits, read: true, variant);
            AssertStreamed(Count(test, () => op.Run(test.Stream, logits, targets, 30, scale, nll, gradient)), gradient, read: false, variant);
        }
    }

    [Test]
    public void RmsNorm([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        // One thread alone makes requests of 16 bytes: the law is about warps.
        foreach (var variant in OpTest.VariantsOf<RmsNorm>(OpTest.Dimensions(width), type).Where(name => name != "serial"))
        {
            using var test = new OpTest(_device);
            var (x, delta) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Matrix(new float[Rows * width], Rows, width, type));
            var (sum, y, scale) = (test.Output(Rows, width, type), test.Output(Rows, width, type), test.Vector(new float[width], type));
            var op = new RmsNorm(_device, type, width, variant);
            var launch = Count(test, () => op.RunResidual(test.Stream, x, delta, TensorView.Empty, scale, sum, y, 1e-6f));
            AssertStreamed(launch, x, read: true, variant);
            AssertStreamed(launch, sum, read: false, variant);
            if (variant == "wide")
                AssertStreamed(launch, sum, read: true, variant);
            AssertStreamed(launch, delta, read: true, variant);
            AssertStreamed(launch, y, read: false, variant);
            AssertShared(launch, scale, Rows, variant);
        }
    }

    [Test]
    public void GeluMultiply([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<GeluMultiply>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (gateUp, y, bias) = (test.Matrix(new float[Rows * 2 * width], Rows, 2 * width, type), test.Output(Rows, width, type), test.Vector(new float[2 * width], type));
            var op = new GeluMultiply(_device, type, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, gateUp, bias, y));
            AssertStreamed(launch, gateUp, read: true, variant);
            AssertStreamed(launch, y, read: false, variant);
            AssertShared(launch, bias, (Rows + 3) / 4, variant);
        }
    }

    [Test]
    public void RmsNormBackward([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width, [Values] bool accumulate)
    {
        const int rows = 640;   // 40 parts
        // One thread alone makes requests of 16 bytes: the law is about warps.
        foreach (var variant in OpTest.VariantsOf<RmsNormBackward>(OpTest.Dimensions(width), type).Where(name => name != "serial"))
        {
            using var test = new OpTest(_device);
            TensorView Zeros() => test.Matrix(new float[rows * width], rows, width, type);
            var (x, dy, dx, scale) = (Zeros(), Zeros(), Zeros(), test.Vector(new float[width], type));
            var op = new RmsNormBackward(_device, type, width, variant);
            var (dscale, workspace) = (test.Matrix(new float[width], 1, width, ElementType.Float32), test.Workspace(op.WorkspaceBytes(rows)));
            var launches = CountAll(test, () => op.Run(test.Stream, x, scale, dy, dx, accumulate, dscale, 1e-6f, workspace));
            var twice = variant == "wide";
            AssertStreamed(launches[0], x, read: true, variant, twice ? 2 : 1);
            AssertStreamed(launches[0], dy, read: true, variant, twice ? 2 : 1);
            AssertStreamed(launches[0], dx, read: false, variant);
            if (accumulate)
                AssertStreamed(launches[0], dx, read: true, variant);
            else
                Assert.That(launches[0][dx.Owner].BytesRead, Is.Zero, variant);
            AssertShared(launches[0], scale, twice ? 2 * rows : rows / 16, variant);
            if (!twice)
                AssertPartials(launches, workspace, rows / 16, variant);
        }
    }

    [Test]
    public void GeluMultiplyBackward([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<GeluMultiplyBackward>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (gateUp, bias) = (test.Matrix(new float[Rows * 2 * width], Rows, 2 * width, type), test.Vector(new float[2 * width], type));
            var (dy, gradient) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Output(Rows, 2 * width, type));
            var op = new GeluMultiplyBackward(_device, type, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, gateUp, bias, dy, gradient));
            AssertStreamed(launch, gateUp, read: true, variant);
            AssertStreamed(launch, dy, read: true, variant);
            AssertStreamed(launch, gradient, read: false, variant);
            AssertShared(launch, bias, (Rows + 3) / 4, variant);
        }
    }

    [Test]
    public void ColumnSum([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<ColumnSum>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (x, sum) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Matrix(new float[width], 1, width, ElementType.Float32));
            var op = new ColumnSum(_device, type, width, variant);
            var workspace = test.Workspace(op.WorkspaceBytes(Rows));
            var launches = CountAll(test, () => op.Run(test.Stream, x, sum, workspace));
            AssertStreamed(launches[0], x, read: true, variant);
            AssertPartials(launches, workspace, (Rows + 31) / 32, variant);
        }
    }

    [Test]
    public void SoftCap([Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<SoftCap>(OpTest.Dimensions(width), ElementType.Float32))
        {
            using var test = new OpTest(_device);
            var logits = test.Matrix(new float[Rows * width], Rows, width, ElementType.Float32);
            var op = new SoftCap(_device, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, logits, 30));
            AssertStreamed(launch, logits, read: true, variant);
            AssertStreamed(launch, logits, read: false, variant);
        }
    }

    [Test]
    public void Conv1D([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        const int taps = 4;
        foreach (var variant in OpTest.VariantsOf<Conv1D>(OpTest.Dimensions(width, taps), type))
        {
            using var test = new OpTest(_device);
            var rows = new SequenceCase([new(0, SequenceCase.From(0, Rows))], [0]).Upload(test);
            var (x, y) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Output(Rows, width, type));
            var (weight, bias) = (test.Matrix(new float[width * taps], width, taps, type), test.Vector(new float[width], type));
            var op = new Conv1D(_device, type, width, taps, variant);
            var state = new StateMemory(test, 1, (int)op.StateBytes);
            var launch = Count(test, () => op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, y, state.State));
            AssertStreamed(launch, x, read: true, variant, variant == "general" ? taps : 1);
            AssertStreamed(launch, y, read: false, variant);
            AssertShared(launch, bias, (Rows + 63) / 64, variant);
            AssertShared(launch, weight, variant == "general" ? Rows : (Rows + 63) / 64, variant);
        }
    }

    [Test]
    public void Conv1DBackward([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        const int taps = 4, tokens = 256;
        foreach (var variant in OpTest.VariantsOf<Conv1DBackward>(OpTest.Dimensions(width, taps), type))
        {
            using var test = new OpTest(_device);
            var rows = new SequenceCase([new(0, SequenceCase.From(0, tokens))], [0]).Upload(test);
            TensorView Zeros() => test.Matrix(new float[tokens * width], tokens, width, type);
            var (x, dy, dx, weight) = (Zeros(), Zeros(), Zeros(), test.Matrix(new float[width * taps], width, taps, type));
            var (dweight, dbias) = (test.Matrix(new float[width * taps], width, taps, ElementType.Float32), test.Vector(new float[width], ElementType.Float32));
            var op = new Conv1DBackward(_device, type, width, taps, variant);
            var workspace = test.Workspace(op.WorkspaceBytes(tokens));
            var launches = CountAll(test, () => op.Run(test.Stream, rows, x, TensorView.Empty, weight, dy, dx, dweight, dbias, workspace));
            Assert.That(launches, Has.Count.EqualTo(3), variant);
            AssertStreamed(launches[0], x, read: true, variant, variant == "general" ? taps : 1);
            AssertStreamed(launches[0], dy, read: true, variant, variant == "general" ? (2 * taps) + 1 : 1);
            AssertStreamed(launches[0], dx, read: false, variant);
            AssertShared(launches[0], weight, variant == "general" ? tokens : tokens / 64, variant);
            Assert.That(launches[0][workspace.Owner].BytesWritten, Is.EqualTo(workspace.Length), variant);
            Assert.That(launches[1][workspace.Owner].BytesRead + launches[2][workspace.Owner].BytesRead, Is.EqualTo(workspace.Length), variant);
        }
    }

    [Test]
    public void RgLru([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(256, 263)] int width)
    {
        const int tokens = 300;
        using var hopper = TestDevices.OpenEmulator(new EmulatorOptions { CountAccesses = true, ComputeCapability = (9, 0) });
        foreach (var variant in OpTest.VariantsOf<RgLru>(OpTest.Dimensions(width), type))
        {
            var device = variant == Griffin.Kernels.Ops.RgLru.Cluster ? hopper : _device;
            using var test = new OpTest(device);
            var rows = new SequenceCase([new(0, SequenceCase.From(0, tokens))], [0]).Upload(test);
            var (z, y, gates) = (test.Matrix(new float[tokens * width], tokens, width, type), test.Matrix(new float[tokens * width], tokens, width, type), test.Matrix(new float[tokens * 2 * width], tokens, 2 * width, type));
            var (output, lambda) = (test.Output(tokens, width, type), test.Vector(new float[width], type));
            var op = new RgLru(device, type, width, variant);
            var state = new StateMemory(test, 1, (int)op.StateBytes);
            var chunked = variant.StartsWith(Griffin.Kernels.Ops.RgLru.Chunked, StringComparison.Ordinal);
            var workspace = test.Workspace(op.WorkspaceBytes(tokens, 1));
            var launches = CountAll(test, () => op.Run(test.Stream, rows, z, gates, y, TensorView.Empty, lambda, output, state.State, workspace));
            Assert.That(launches, Has.Count.EqualTo(chunked ? 3 : 1), variant);
            AssertStreamed(launches[^1], y, read: true, variant);
            AssertStreamed(launches[^1], output, read: false, variant);
            // Chunks pass over z and the gates twice, once in each of two launches.
            foreach (var launch in chunked ? [launches[0], launches[2]] : launches)
            {
                AssertStreamed(launch, z, read: true, variant);
                AssertStreamed(launch, gates, read: true, variant);
                AssertLambda(launch, lambda, tokens, variant, ScanTiles.Warps * 16 / type.SizeOf());
            }

            AssertNoConflicts(launches, variant);
        }
    }

    [Test]
    public void RgLruBackward([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(256, 263)] int width)
    {
        const int tokens = 300;
        foreach (var variant in OpTest.VariantsOf<RgLruBackward>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            TensorView Zeros(int columns) => test.Matrix(new float[tokens * columns], tokens, columns, type);
            var rows = new SequenceCase([new(0, SequenceCase.From(0, tokens))], [0]).Upload(test);
            var (z, y, gates, hidden, dout, lambda) = (Zeros(width), Zeros(width), Zeros(2 * width), Zeros(width), Zeros(width), test.Vector(new float[width], type));
            var (dz, dgates, dy, dlambda) = (Zeros(width), Zeros(2 * width), Zeros(width), test.Vector(new float[width], ElementType.Float32));
            var op = new RgLruBackward(_device, type, width, variant);
            var chunked = variant.StartsWith(Griffin.Kernels.Ops.RgLru.Chunked, StringComparison.Ordinal);
            var tiles = variant is Griffin.Kernels.Ops.RgLru.Ring or Griffin.Kernels.Ops.RgLru.LookBack;
            var workspace = test.Workspace(op.WorkspaceBytes(tokens, 1));
            var launches = CountAll(test, () => op.Run(test.Stream, rows, z, gates, y, TensorView.Empty, lambda, hidden, dout, dz, dgates, dy, dlambda, workspace));
            Assert.That(launches, Has.Count.EqualTo(chunked ? 4 : 2), variant);   // the last adds up the parts of dlambda
            var launch = launches[^2];
            foreach (var read in new[] { z, y, gates, dout })
                AssertStreamed(launch, read, read: true, variant);
            foreach (var written in new[] { dz, dgates, dy })
                AssertStreamed(launch, written, read: false, variant);
            // A token's h is its follower's as well; of a tile, only the first token's.
            var tileTokens = ScanTiles.Warps * 8 / type.SizeOf();
            var hiddenRows = tiles ? tokens + (tokens / tileTokens) : 2 * tokens;
            Assert.That(launch[hidden.Owner].BytesRead, Is.InRange(tokens * width * type.SizeOf(), hiddenRows * width * type.SizeOf()), $"{variant}: bytes of hidden");
            AssertLambda(launch, lambda, tokens, variant, tileTokens, readers: tiles ? 1 : 2);
            AssertNoConflicts(launches, variant);
        }
    }

    // Λ so many times per part of a row: a chunk, or a tile, of which each warp reads it.
    private static void AssertLambda(LaunchCounters launch, TensorView lambda, int tokens, string variant, int tileTokens, int readers = 1)
    {
        var times = variant switch
        {
            Griffin.Kernels.Ops.RgLru.Ring => ScanTiles.Warps + 1,
            Griffin.Kernels.Ops.RgLru.LookBack => (ScanTiles.Warps + 1) * ((tokens / tileTokens) + 1),
            Griffin.Kernels.Ops.RgLru.Cluster => (ScanTiles.Warps + 1) * ScanTiles.ClusterTiles * ((tokens / (ScanTiles.ClusterTiles * tileTokens)) + 1),
            _ => readers * (variant.StartsWith(Griffin.Kernels.Ops.RgLru.Chunked, StringComparison.Ordinal) ? (tokens / ScanTiles.ChunkTokens) + 1 : 1),
        };
        AssertShared(launch, lambda, times, variant);
    }

    private static void AssertNoConflicts(IReadOnlyList<LaunchCounters> launches, string variant) =>
        Assert.That(launches.Sum(launch => launch.BankConflicts), Is.Zero, $"{variant}: bank conflicts");

    [Test]
    public void Conv1DStep([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        const int taps = 4;
        foreach (var variant in OpTest.VariantsOf<Conv1DStep>(OpTest.Dimensions(width, taps), type))
        {
            using var test = new OpTest(_device);
            var (rows, state) = (Steps(test), new StateMemory(test, Rows, (taps - 1) * width * type.SizeOf()));
            var (x, y) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Output(Rows, width, type));
            var (weight, bias) = (test.Matrix(new float[width * taps], width, taps, type), test.Vector(new float[width], type));
            var op = new Conv1DStep(_device, type, width, taps, variant);
            var launch = Count(test, () => op.Run(test.Stream, rows, x, TensorView.Empty, weight, bias, y, state.State));
            AssertStreamed(launch, x, read: true, variant);
            AssertStreamed(launch, y, read: false, variant);
            AssertStateOnce(launch, state, (taps - 1) * width * type.SizeOf(), variant);
            AssertShared(launch, weight, Rows, variant);
            AssertShared(launch, bias, Rows, variant);
        }
    }

    [Test]
    public void RgLruStep([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<RgLruStep>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (rows, state) = (Steps(test), new StateMemory(test, Rows, width * sizeof(float)));
            var (z, y, gates) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Matrix(new float[Rows * width], Rows, width, type), test.Matrix(new float[Rows * 2 * width], Rows, 2 * width, type));
            var (output, lambda) = (test.Output(Rows, width, type), test.Vector(new float[width], type));
            var op = new RgLruStep(_device, type, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, rows, z, gates, y, TensorView.Empty, lambda, output, state.State));
            foreach (var streamed in new[] { z, gates, y })
                AssertStreamed(launch, streamed, read: true, variant);
            AssertStreamed(launch, output, read: false, variant);
            AssertStateOnce(launch, state, width * sizeof(float), variant);
            AssertShared(launch, lambda, Rows, variant);
        }
    }

    // One token for each of as many slots, in the middle of their documents.
    private static PackedRows Steps(OpTest test) =>
        new SequenceCase([.. Enumerable.Range(0, Rows).Select(row => new SequenceRow(Rows - 1 - row, 9))], [.. Enumerable.Repeat(9, Rows)]).Upload(test);

    private static void AssertStateOnce(LaunchCounters launch, StateMemory state, int bytesPerSlot, string variant)
    {
        var (counted, bytes) = (launch[state.State.Pool], (long)Rows * bytesPerSlot);
        Assert.That(bytes, Is.GreaterThanOrEqualTo(64 * 1024), "the law is about 64 KB and more");
        Assert.That((counted.BytesRead, counted.BytesWritten), Is.EqualTo((bytes, bytes)), $"{launch.Kernel} ({variant}): bytes of the state");
    }

    [Test]
    public void EmbeddingBackward([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1024, 1031)] int width)
    {
        foreach (var variant in OpTest.VariantsOf<EmbeddingBackward>(OpTest.Dimensions(width), type))
        {
            using var test = new OpTest(_device);
            var (dx, dtable) = (test.Matrix(new float[Rows * width], Rows, width, type), test.Matrix(new float[Rows / 2 * width], Rows / 2, width, ElementType.Float32));
            int[] tokens = [.. Enumerable.Range(0, Rows).Select(row => row % (Rows / 2))], order = new int[Rows];
            Griffin.Kernels.Ops.EmbeddingBackward.Sort(tokens, order);
            var (deviceTokens, deviceOrder) = (test.Integers(tokens), test.Integers(order));
            var op = new EmbeddingBackward(_device, type, width, variant);
            var launch = Count(test, () => op.Run(test.Stream, deviceTokens, deviceOrder, dx, 1, dtable));
            AssertStreamed(launch, dx, read: true, variant);
            AssertStreamed(launch, dtable, read: true, variant);
            AssertStreamed(launch, dtable, read: false, variant);
        }
    }

    [Test]
    public void GradientNorm()
    {
        foreach (var variant in OpTest.VariantsOf<GradientNorm>(OpTest.Dimensions(1), ElementType.Float32))
        {
            using var test = new OpTest(_device);
            const int count = 16 * 8192;
            var (gradients, result) = (test.Vector(new float[count], ElementType.Float32), test.Output(1, 1, ElementType.Float32));
            var workspace = test.Workspace(Griffin.Kernels.Ops.GradientNorm.WorkspaceBytes(count));
            var op = new GradientNorm(_device, variant);
            var launches = CountAll(test, () => op.Run(test.Stream, gradients, result, workspace));
            AssertStreamed(launches[0], gradients, read: true, variant);
            AssertPartials(launches, workspace, 16, variant);
            Assert.That(workspace.Length, Is.LessThanOrEqualTo(count * sizeof(float) / 16));
        }
    }

    [Test]
    public void AdamW([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        // Single threads with long stretches make requests of 16 bytes: the law is about warps.
        foreach (var variant in OpTest.VariantsOf<AdamW>(OpTest.Dimensions(1), type).Where(name => name != "long"))
        {
            using var test = new OpTest(_device);
            const int count = 16 * 8192;
            TensorView Zeros() => test.Vector(new float[count], ElementType.Float32);
            var (weights, master, gradient, first, second) = (test.Output(1, count, type), Zeros(), Zeros(), Zeros(), Zeros());
            var (flags, norm, settings) = (test.Bytes(new byte[count / 64]), test.Vector([1], ElementType.Float32), test.Vector([1, 0, 0, 1, 0, 0, 1, 1], ElementType.Float32));
            var op = new AdamW(_device, type, variant);
            var launch = Count(test, () => op.Run(test.Stream, weights, master, gradient, first, second, flags, norm, settings));
            AssertStreamed(launch, weights, read: false, variant);
            AssertStreamed(launch, gradient, read: true, variant);
            foreach (var updated in new[] { master, first, second })
            {
                AssertStreamed(launch, updated, read: true, variant);
                AssertStreamed(launch, updated, read: false, variant);
            }
        }
    }

    // The parts of a reduction over rows fill the workspace, written by the first launch and read once by the last.
    private static void AssertPartials(IReadOnlyList<LaunchCounters> launches, TensorView workspace, int parts, string variant)
    {
        var (written, read) = (launches[0][workspace.Owner], launches[1][workspace.Owner]);
        Assert.That((launches.Count, written.BytesRead, written.BytesWritten), Is.EqualTo((2, 0, workspace.Length)), $"{launches[0].Kernel} ({variant}): {parts} parts");
        Assert.That((read.BytesRead, read.BytesWritten), Is.EqualTo((workspace.Length, 0)), $"{launches[1].Kernel} ({variant}): {parts} parts");
        Assert.That(workspace.Length % parts, Is.Zero);
    }
}
