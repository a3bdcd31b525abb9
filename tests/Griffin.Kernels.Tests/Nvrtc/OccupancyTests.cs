using Griffin.Bench.Predictions;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>What NVIDIA's compilers need lets as many blocks share a multiprocessor as bench/Griffin.Bench/Predictions/occupancy.tsv claims.</summary>
[TestFixture]
internal sealed class OccupancyTests
{
    [TestCase("11.8")]
    [TestCase("12.4")]
    public void Kernels_share_a_multiprocessor_as_claimed(string version)
    {
        NvrtcLibraries.Open(version);
        Assert.Multiple(() =>
        {
            foreach (var name in Occupancy.Claims.Kernels)
            {
                var entry = CatalogueModels.Entries.FirstOrDefault(entry => entry.Spec.NameExpression == name);
                Assert.That(entry, Is.Not.Null, $"{name}: no such kernel");
                if (entry is null) continue;
                Assert.That(entry.Threads, Is.EqualTo(Occupancy.Claims.Of(name).Threads), name);
                foreach (var chip in new[] { Chip.Sm80, Chip.Sm90 })
                {
                    if (entry.Spec.Architecture is { } only && (version == "11.8" || !only.StartsWith(chip.Architecture, StringComparison.Ordinal)))
                        continue;
                    var needed = CompiledKernels.Of(version, entry, entry.Spec.Architecture ?? chip.Architecture).Resources;
                    var blocks = chip.BlocksOf(entry.Threads, needed.Registers, needed.StaticSharedBytes + entry.SharedBytes);
                    Assert.That(blocks, Is.GreaterThanOrEqualTo(Occupancy.Claims.On(chip, name)), $"{name}: blocks on a multiprocessor, {chip.Architecture}");
                }
            }
        });
    }

    // Figures of NVIDIA's occupancy calculator.
    [TestCase(256, 32, 0, 8)]
    [TestCase(256, 64, 0, 4)]
    [TestCase(256, 65, 0, 3)]
    [TestCase(256, 255, 0, 1)]
    [TestCase(1024, 32, 0, 2)]
    [TestCase(32, 16, 0, 32)]
    [TestCase(128, 32, 100 * 1024, 2)]
    [TestCase(128, 32, 48 * 1024, 4)]
    [TestCase(160, 32, 0, 12)]
    public void Blocks_of_a_multiprocessor_on_an_H100(int threads, int registers, int sharedBytes, int blocks) =>
        Assert.That(Chip.Sm90.BlocksOf(threads, registers, sharedBytes), Is.EqualTo(blocks));

    [TestCase(128, 32, 100 * 1024, 1)]
    [TestCase(256, 64, 0, 4)]
    public void Blocks_of_a_multiprocessor_on_an_A100(int threads, int registers, int sharedBytes, int blocks) =>
        Assert.That(Chip.Sm80.BlocksOf(threads, registers, sharedBytes), Is.EqualTo(blocks));
}
