using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class VariantTableTests
{
    private static readonly DeviceLimits ample = KernelCatalogue.AmpleLimits;

    private static readonly VariantTable<int> table = new(KernelSource.FromText("sum.cu", "// a sum"),
        new KernelVariant<int>("big", q => new($"sum<{q.T}, 4>", 1024) { SharedBytes = 120 * 1024, TileRows = 4, TileColumns = 100 }) { Fits = q => q.Shape % 4 == 0 },
        new KernelVariant<int>("lone", q => new($"sum_alone<{q.T}>", 32)) { Preferred = q => q.Kind == GpuDeviceKind.Emulator },
        new KernelVariant<int>("small", q => new($"sum<{q.T}, 1>", 256) { SharedBytes = 99 * 1024 }));

    private static VariantQuery<int> Ask(int shape, DeviceLimits? limits = null, GpuDeviceKind kind = GpuDeviceKind.Cuda) => new(shape, ElementType.BFloat16, limits ?? ample, kind);

    [Test]
    public void TheFirstThatFitsAndIsPreferredWins() => Assert.Multiple(() =>
    {
        Assert.That(table.Choose(Ask(8)).Variant.Name, Is.EqualTo("big"));
        Assert.That(table.Choose(Ask(7)).Variant.Name, Is.EqualTo("small"), "shape");
        Assert.That(table.Choose(Ask(7, kind: GpuDeviceKind.Emulator)).Variant.Name, Is.EqualTo("lone"), "kind");
        Assert.That(table.Choose(Ask(8, ample with { SharedBytesPerBlockOptIn = 99 * 1024 })).Variant.Name, Is.EqualTo("small"), "shared memory");
        Assert.That(table.Choose(Ask(8, ample with { MaxThreadsPerBlock = 512 })).Variant.Name, Is.EqualTo("small"), "threads");
        Assert.That(table.Choose(Ask(8, ample with { SharedBytesPerBlockOptIn = 48 * 1024 })).Variant.Name, Is.EqualTo("lone"), "the first that fits where none is preferred");
        Assert.That(table.Choose(Ask(8)).Plan.NameExpression, Is.EqualTo("sum<bf16, 4>"));
    });

    [Test]
    public void AForcedVariantIsTakenOrRefused() => Assert.Multiple(() =>
    {
        Assert.That(table.Choose(Ask(8), "lone").Variant.Name, Is.EqualTo("lone"));
        Assert.That(() => table.Choose(Ask(7), "big"), Throws.ArgumentException.With.Message.Contains("does not fit 7"));
        Assert.That(() => table.Choose(Ask(7), "huge"), Throws.ArgumentException.With.Message.Contains("big, lone, small"));
        Assert.That(() => new VariantTable<int>(table.Source, table.Variants[0]).Choose(Ask(7)), Throws.InstanceOf<NotSupportedException>());
    });

    [Test]
    public void PlansCountBlocks()
    {
        var plan = table.Choose(Ask(8)).Plan;
        Assert.That(plan.BlocksFor(9, 201), Is.EqualTo(3 * 3));
        Assert.That(plan.BlocksFor(8, 200), Is.EqualTo(2 * 2));
    }

    [Test]
    public void EveryOpIsFoundAndFitsTheSmallestDevice([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values] bool golden)
    {
        ModelDimensions model = golden
            ? new() { Width = 24, RnnWidth = 20, Heads = 2, HeadDim = 12, GateBlocks = 2, MlpWidth = 40, Vocabulary = 11, Window = 3, ConvTaps = 4 }
            : new() { Width = 2560, RnnWidth = 2560, Heads = 10, HeadDim = 256, GateBlocks = 10, MlpWidth = 7680, Vocabulary = 256_000, Window = 2048, ConvTaps = 4 };
        var entries = KernelCatalogue.All(model, type);
        var ops = typeof(KernelOp).Assembly.GetTypes().Where(op => op.IsAssignableTo(typeof(KernelOp)) && !op.IsAbstract).Select(op => op.Name);
        Assert.Multiple(() =>
        {
            Assert.That(entries.Select(entry => entry.Op).Distinct(), Is.EquivalentTo(ops), "every op lists its kernels");
            // Some files hold only variants that awkward sizes, or float32, do not fit.
            IEnumerable<string> files = entries.Select(entry => entry.Spec.Source.Name).Distinct();
            bool all = !golden && type == ElementType.BFloat16;
            Assert.That(files, all ? Is.EquivalentTo(KernelSource.BuiltInNames) : Is.SubsetOf(KernelSource.BuiltInNames), "every kernel file is listed");
            foreach (var op in entries.GroupBy(entry => entry.Op))
                Assert.That(op.Min(entry => entry.SharedBytes), Is.LessThanOrEqualTo(99 * 1024), $"{op.Key} has a variant for 99 KB of shared memory");
        });
    }
}
