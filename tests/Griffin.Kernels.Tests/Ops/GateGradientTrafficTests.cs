using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using static Griffin.Kernels.Tests.Ops.TrafficLaws;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>What the gates' backward kernels, and the variants of single threads, ask of memory.</summary>
[TestFixture]
internal sealed class GateGradientTrafficTests
{
    private const int Tile = 64;
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
    public void Tiles_read_their_operands_once_a_tile_and_without_bank_conflicts([Values(64, 128)] int b)
    {
        const ElementType type = ElementType.BFloat16;
        const int rows = 640, blocks = 2;
        var width = blocks * b;
        using var test = new OpTest(_device);
        TensorView Zeros(int columns) => test.Matrix(new float[rows * columns], rows, columns, type);
        TensorView Weights(ElementType of) => test.Matrix(new float[width * b], width, b, of);
        var (z, dgates, dz, input, recurrence) = (Zeros(width), Zeros(2 * width), Zeros(width), Weights(type), Weights(type));
        var (dInput, dRecurrence) = (Weights(ElementType.Float32), Weights(ElementType.Float32));
        var op = new BlockDiagonalGatesBackward(_device, type, width, blocks, variant: "mma");
        var workspace = test.Workspace(op.WorkspaceBytes(rows));
        var launches = CountAll(test, () => op.Run(test.Stream, z, input, recurrence, dgates, dz, dInput, dRecurrence, workspace));

        Assert.That(launches, Has.Count.EqualTo(4));
        var (toWeights, toInput, tiles) = (launches[0], launches[3], b / Tile);
        AssertStreamed(toWeights, z, read: true, "mma", tiles * 2); // once for each gate
        AssertStreamed(toWeights, dgates, read: true, "mma", tiles);
        Assert.That(toWeights[workspace.Owner].BytesWritten, Is.EqualTo(workspace.Length));
        Assert.That(launches[1][workspace.Owner].BytesRead + launches[2][workspace.Owner].BytesRead, Is.EqualTo(workspace.Length));
        AssertStreamed(toInput, dgates, read: true, "mma", tiles);
        // Fragments: four lanes side by side, 16 bytes of each of eight rows, half a sector; the other half comes with the next fragment.
        AssertBytes(toInput, dz, read: true, "mma");
        AssertBytes(toInput, dz, read: false, "mma");
        Assert.That(toInput[dz.Owner].RequestSectorsWritten * 32, Is.EqualTo(2 * toInput[dz.Owner].BytesWritten));
        AssertShared(toInput, input, rows / Tile, "mma");
        AssertShared(toInput, recurrence, rows / Tile, "mma");
        Assert.That(launches.Select(launch => launch.BankConflicts), Is.All.Zero);
    }

    [Test]
    public void Single_threads_move_no_more_than_warps_do([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        const int rows = 130, width = 1024, count = 16 * 8192;
        using var test = new OpTest(_device);
        TensorView Zeros() => test.Matrix(new float[rows * width], rows, width, type);
        var (x, delta, sum, y, scale) = (Zeros(), Zeros(), Zeros(), Zeros(), test.Vector(new float[width], type));
        var norm = CountAll(test, () => new RmsNorm(_device, type, width, "serial").RunResidual(test.Stream, x, delta, TensorView.Empty, scale, sum, y, 1e-6f)).Single();
        AssertBytes(norm, x, read: true, "serial");
        AssertBytes(norm, delta, read: true, "serial");
        AssertBytes(norm, sum, read: false, "serial");
        AssertBytes(norm, y, read: false, "serial");
        AssertShared(norm, scale, rows, "serial");

        var backward = new RmsNormBackward(_device, type, width, "serial");
        var (dy, dx, dscale) = (Zeros(), Zeros(), test.Vector(new float[width], ElementType.Float32));
        var normBackward = CountAll(test, () => backward.Run(test.Stream, x, scale, dy, dx, false, dscale, 1e-6f, test.Workspace(backward.WorkspaceBytes(rows))))[0];
        AssertBytes(normBackward, x, read: true, "serial", 2);
        AssertBytes(normBackward, dy, read: true, "serial", 2);
        AssertBytes(normBackward, dx, read: false, "serial");

        TensorView Flat(ElementType of) => test.Vector(new float[count], of);
        var (weights, master, gradient, first, second) = (Flat(type), Flat(ElementType.Float32), Flat(ElementType.Float32), Flat(ElementType.Float32), Flat(ElementType.Float32));
        var (flags, size, settings) = (test.Bytes(new byte[count / 64]), test.Vector([1], ElementType.Float32), test.Vector([1, 0, 0, 1, 0, 0, 1, 1], ElementType.Float32));
        var step = CountAll(test, () => new AdamW(_device, type, "long").Run(test.Stream, weights, master, gradient, first, second, flags, size, settings)).Single();
        AssertBytes(step, gradient, read: true, "long");
        AssertBytes(step, weights, read: false, "long");
        foreach (var updated in new[] { master, first, second })
        {
            AssertBytes(step, updated, read: true, "long");
            AssertBytes(step, updated, read: false, "long");
        }
    }
}
