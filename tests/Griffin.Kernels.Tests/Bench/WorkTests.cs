using Griffin.Bench.Limits;
using Griffin.Bench.Rows;

namespace Griffin.Kernels.Tests.Bench;

/// <summary>The formulas against the figures that the specification derives from them: 3.0 TB/s, 800 TFLOP/s.</summary>
[TestFixture]
internal sealed class WorkTests
{
    private static readonly Ceilings ceilings = new(3.0e12, 3.0e12, 8.0e14);

    private static readonly RowList rows = RowList.Load(RowList.DefaultPath, BenchScale.Full);

    private static BenchRow Row(string id) => rows.Rows.Single(row => row.Id == id);

    [TestCase("rms_norm.forward/m8192_w2560/bf16", 28)]
    [TestCase("residual_rms_norm.forward/m8192_w2560/bf16", 56)]
    [TestCase("rms_norm.forward/m8192_w4096/bf16", 45)]
    [TestCase("conv1d.forward/b1_t8192_w2560/bf16", 28)]
    [TestCase("linear_scan.forward/b1_t8192_w2560/bf16", 42)]
    [TestCase("rg_lru.forward/b1_t8192_w2560/bf16", 70)]
    [TestCase("rg_lru.forward/b1_t8192_w4096/bf16", 112)]
    [TestCase("rg_lru.backward/b1_t8192_w2560/bf16", 140)]
    [TestCase("rg_lru_mixer.forward/b1_t8192_w2560_g10/bf16", 43)]
    [TestCase("block_diagonal_gates.forward/m8192_w2560_g10/bf16", 42)]
    [TestCase("gelu_multiply.forward/m8192_w7680/bf16", 126)]
    [TestCase("gelu_multiply.forward/m8192_w12288/bf16", 201)]
    [TestCase("gate_up_gelu.forward/m8192_n15360_k2560/bf16", 805)]
    [TestCase("matmul.forward/m8192_n2560_k7680/bf16", 403)]
    [TestCase("matmul.forward/m8192_n5120_k2560/bf16", 268)]
    [TestCase("matmul.forward/m8192_n2560_k2560/bf16", 134)]
    [TestCase("matmul.forward/m1_n256000_k2560/bf16", 437)]
    [TestCase("matmul.forward/m1_n15360_k2560/bf16", 26)]
    [TestCase("window_attention.forward/b1_t8192_h10/bf16", 188)]
    [TestCase("window_attention.forward/b1_t8192_h16/bf16", 301)]
    [TestCase("adam_w.step/p2683000000/bf16", 25_041)]
    [TestCase("prefill.forward/2b_b1_t8192/bf16", 43_000)]
    [TestCase("prefill.forward/9b_b1_t8192/bf16", 158_000)]
    [TestCase("linear_cross_entropy.forward_backward/m8192_v256000_w2560/bf16", 40_265)]
    public void TheLeastTimeIsTheSpecifications(string id, double microseconds)
    {
        var work = RowWork.Of(Row(id), rows)!.Value;
        Assert.That(work.Seconds(ceilings) * 1e6, Is.EqualTo(microseconds).Within(1.5).Percent);
    }

    [TestCase("2b", 1, 5.38)]
    [TestCase("2b", 16, 5.65)]
    [TestCase("2b", 64, 6.50)]
    [TestCase("2b", 256, 9.90)]
    [TestCase("9b", 1, 17.19)]
    [TestCase("9b", 16, 17.60)]
    [TestCase("9b", 64, 18.91)]
    public void ADecodeStepReadsWeightsAndStates(string model, int batch, double gigabytes)
    {
        var work = ModelWork.DecodeStep(rows.Models[model], batch, 2048, 2);
        Assert.That(work.Bytes * 1e-9, Is.EqualTo(gigabytes).Within(0.5).Percent);
        Assert.That(work.ReadsOnly);
    }

    [Test]
    public void ATrainingStepIsThreeForwardPassesWithTheHead() =>
        Assert.That(ModelWork.TrainingStep(rows.Models["2b"], 1, 8192).Flops, Is.EqualTo(135e12).Within(0.5).Percent);

    [Test]
    public void StepsAddUp()
    {
        var model = rows.Models["1.3b-mqa"];
        var (one, all) = (ModelWork.DecodeStep(model, 16, 0, 2), ModelWork.Decode(model, 16, 0, 2, 2));
        Assert.That(all.Bytes, Is.EqualTo(one.Bytes + ModelWork.DecodeStep(model, 16, 1, 2).Bytes));
    }

    [Test]
    public void PairsStopAtTheWindow()
    {
        Assert.That(AttentionWork.Pairs(4, 2), Is.EqualTo(1 + 2 + 2 + 2));
        Assert.That(AttentionWork.Pairs(3, 8), Is.EqualTo(1 + 2 + 3));
        Assert.That(AttentionWork.Pairs(3, 3), Is.EqualTo(AttentionWork.Pairs(3, 4)));
    }

    [Test]
    public void OnlyReadingIsHeldAgainstTheReadCeiling()
    {
        var slow = ceilings with { ReadBytes = 1e12 };
        Assert.That(new Work(1e9, 0, ReadsOnly: true).Seconds(slow), Is.EqualTo(1e-3));
        Assert.That(new Work(1e9, 0).Seconds(slow), Is.EqualTo(1e9 / 3e12));
        Assert.That(new Work(0, 8e14).Percent(slow, 2), Is.EqualTo(50));
    }

    [Test]
    public void EveryRowHasALimitButTheThroughputs()
    {
        foreach (var row in rows.Rows)
            Assert.That(RowWork.Of(row, rows) is { } work && work.Seconds(ceilings) > 0, Is.EqualTo(row.Op != "throughput"), row.Id);
    }
}
