using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using static Griffin.Kernels.Tests.Ops.TrafficLaws;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>What the gates' backward kernels, and the variants of single threads, ask of memory.</summary>
[TestFixture]
internal sealed class GateGradientTrafficTests
{
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
    public void Tiles_read_their_operands_once_a_tile_and_without_bank_conflicts([Values(64, 128)] int tile, [Values(1, 2)] int tiles)
    {
        var (variant, b) = ($"mma-{tile}x{tile}", tile * tiles);
        const ElementType type = ElementType.BFloat16;
        const int rows = 640, blocks = 2;
        var width = blocks * b;
        using var test = new OpTest(_device);
        TensorView Zeros(int columns) => test.Matrix(new float[rows * columns], rows, columns, type);
        TensorView Weights(ElementType of) => test.Matrix(new float[width * b], width, b, of);
        var (z, dgates, dz, input, recurrence) = (Zeros(width), Zeros(2 * width), Zeros(width), Weights(type), Weights(type));
        var (dInput, dRecurrence) = (Weights(ElementType.Float32), Weights(ElementType.Float32));
        var op = new BlockDiagonalGatesBackward(_device, type, width, blocks, variant: variant);
        var workspace = test.Workspace(op.WorkspaceBytes(rows));
        var launches = CountAll(test, () => op.Run(test.Stream, z, input, recurrence, dgates, dz, dInput, dRecurrence, workspace));

        Assert.That(launches, Has.Count.EqualTo(4));
        var (toWeights, toInput) = (launches[0], launches[3]);
        AssertStreamed(toWeights, z, read: true, variant, tiles * 2); // once for each gate
        AssertStreamed(toWeights, dgates, read: true, variant, tiles);
        Assert.That(toWeights[workspace.Owner].BytesWritten, Is.EqualTo(workspace.Length));
        Assert.That(launches[1][workspace.Owner].BytesRead + launches[2][workspace.Owner].BytesRead, Is.EqualTo(workspace.Length));
        AssertStreamed(toInput, dgates, read: true, variant, tiles);
        AssertStreamed(toInput, dz, read: true, variant);
        AssertStreamed(toInput, dz, read: false, variant);
        Assert.That(toWeights[workspace.Owner].RequestSectorsWritten * 32, Is.EqualTo(workspace.Length), "whole sectors");
        AssertShared(toInput, input, rows / tile, variant);
        AssertShared(toInput, recurrence, rows / tile, variant);
        Assert.That(launches.Select(launch => launch.BankConflicts), Is.All.Zero);
    }

    [TestCase(16, 64)]
    [TestCase(120, 64)]
    [TestCase(128, 128)]
    public void The_width_of_a_block_chooses_the_tile(int b, int tile)
    {
        const ElementType type = ElementType.BFloat16;
        const int rows = 3;
        using var test = new OpTest(_device);
        var (z, w, dw) = (test.Output(rows, b, type), test.Output(b, b, type), test.Output(b, b, ElementType.Float32));
        var op = new BlockDiagonalGatesBackward(_device, type, b, 1, useBlas: false);
        var launches = CountAll(test, () => op.Run(test.Stream, z, w, w, test.Output(rows, 2 * b, type), test.Output(rows, b, type), dw,
            test.Output(b, b, ElementType.Float32), test.Workspace(op.WorkspaceBytes(rows))));
        Assert.That(launches.Select(launch => launch.Kernel).Where(name => name.StartsWith("gates_", StringComparison.Ordinal)),
            Is.EqualTo(new[] { $"gates_weight_gradient_mma<{tile}, {tile / 2}, 32>", $"gates_input_gradient_mma<{tile}, {tile / 2}, 32>" }));
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
