using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Nvrtc;

/// <summary>
/// The machine code says what the sources meant: no memory of a thread's own, no double precision, 16-byte accesses, asynchronous copies and matrix
/// instructions, as many as a tile has products.
/// </summary>
[TestFixture]
internal sealed class InstructionTests
{
    private const string Version = "12.4";
    private static readonly string[] unwanted = ["LDL", "STL", "DADD", "DMUL", "DFMA", "DSETP"];

    // Files whose "vector" variants read and write nothing but 16-byte pieces of what they stream.
    private static readonly string[] streams =
    [
        "column_sum.cu", "conv1d.cu", "conv1d_backward.cu", "conv1d_step.cu", "embedding.cu", "embedding_backward.cu", "gelu_multiply.cu",
        "gelu_multiply_backward.cu", "partial_sums.cu", "rg_lru.cu", "rg_lru_backward.cu", "rg_lru_step.cu", "ring_append.cu", "rms_norm.cu",
        "rms_norm_backward.cu", "rotary_embedding.cu", "rotary_step.cu", "soft_cap.cu",
    ];

    public static IEnumerable<string> Files => KernelSource.BuiltInNames;

    [OneTimeSetUp]
    public void RequireTools()
    {
        NvrtcLibraries.Open(Version);
        Disassembly.Require();
    }

    [TestCaseSource(nameof(Files))]
    public void No_kernel_spills_or_computes_in_double_precision(string file)
    {
        var entries = CatalogueModels.Entries.Where(entry => entry.Spec.Source.Name == file).ToList();
        Assert.That(entries, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var entry in entries)
            {
                var code = On(entry, entry.Spec.Architecture ?? "sm_90");
                foreach (var operation in unwanted)
                    Assert.That(code.Count(operation), Is.Zero, $"{entry.Spec.NameExpression}: {operation}\n{code}");
            }
        });
    }

    [TestCaseSource(nameof(streams))]
    public void Vector_variants_move_16_bytes_at_a_time(string file)
    {
        var entries = CatalogueModels.Entries.Where(entry => entry.Spec.Source.Name == file && entry.Variant.EndsWith("vector", StringComparison.Ordinal)).ToList();
        Assert.That(entries, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var entry in entries)
            {
                var code = On(entry, "sm_90");
                Assert.That(code.Count("LDG.128"), Is.Positive, $"{entry.Spec.NameExpression}: loads\n{code}");
                Assert.That(code.Count("STG"), Is.Positive.And.EqualTo(code.Count("STG.128")), $"{entry.Spec.NameExpression}: stores\n{code}");
            }
        });
    }

    // Warp tile of rows x columns x terms: rows/16 · columns/8 · terms/16 products of m16n8k16.
    [TestCase("matmul_mma<MatMulTiles<128, 128, 64, 32>, bf16>", 4 * 4 * 2)]
    [TestCase("matmul_mma<MatMulTiles<128, 128, 64, 32>, bf16, true>", 4 * 4 * 2)]
    [TestCase("matmul_mma<MatMulTiles<64, 64, 32, 32>, bf16>", 2 * 4 * 2)]
    [TestCase("matmul_mma<MatMulTiles<16, 64, 16, 16>, bf16>", 1 * 2 * 2)]
    [TestCase("residual_matmul_mma<MatMulTiles<128, 128, 64, 32>>", 4 * 4 * 2)]
    [TestCase("residual_matmul_mma<MatMulTiles<64, 64, 32, 32>>", 2 * 4 * 2)]
    [TestCase("matmul_input_gradient_mma<128, 128, 64, 32>", 4 * 4 * 2)]
    [TestCase("matmul_weight_gradient_mma<128, 128, 64, 32>", 4 * 4 * 2)]
    [TestCase("gates_mma<128, 3>", 4 * 4 * 2)]
    [TestCase("gates_mma<64, 3>", 2 * 4 * 2)]
    [TestCase("gates_input_gradient_mma<128, 64, 32>", 4 * 4 * 2)]
    [TestCase("gates_input_gradient_mma<64, 32, 32>", 2 * 4 * 2)]
    [TestCase("gates_weight_gradient_mma<128, 64, 32>", 4 * 4 * 2)]
    [TestCase("gates_weight_gradient_mma<64, 32, 32>", 2 * 4 * 2)]
    [TestCase("recurrent_mixer<256, 2>", 4 * 4 * 2)]
    [TestCase("window_attention_mma<256, 32>", (4 * 16) + (32 * 2))] // scores of 16 rows with 32 keys, then their values
    [TestCase("window_attention_mma<64, 64>", (8 * 4) + (8 * 4))]
    [TestCase("decode_attention_mma<256, 10, 32>", (2 * 8) + (2 * 8 * 2))]
    [TestCase("decode_attention_mma<256, 10, 64>", (4 * 8) + (2 * 8 * 4))] // scores of 32 keys over half the channels, then values under weights of two parts
    [TestCase("window_attention_backward_queries_mma<256, 64, 32>", (2 * 4 * 16) + (32 * 2))] // scores and slopes, then dq
    [TestCase("window_attention_backward_keys_mma<256, 128, 16>", (2 * 2 * 16) + (2 * 16))] // scores and slopes, then dk and dv of half the channels
    public void Matrix_kernels_have_as_many_products_as_their_tile(string kernel, int products)
    {
        var entry = CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == kernel);
        Assert.Multiple(() =>
        {
            foreach (var architecture in new[] { "sm_80", "sm_90" })
            {
                var code = On(entry, architecture);
                var found = code.Count("HMMA.16816.F32.BF16");
                Assert.That(found, Is.Positive.And.EqualTo(code.Count("HMMA")), $"{architecture}: bfloat16 products with float32 sums\n{code}");
                Assert.That(found % products, Is.Zero, $"{architecture}: {found} products, {products} a tile");
                Assert.That(code.Count("LDSM"), Is.Positive, $"{architecture}: fragments by ldmatrix\n{code}");
            }
        });
    }

    [TestCase("matmul_mma<MatMulTiles<128, 128, 64, 32>, bf16>")]
    [TestCase("residual_matmul_mma<MatMulTiles<128, 128, 64, 32>>")]
    [TestCase("matmul_input_gradient_mma<128, 128, 64, 32>")]
    [TestCase("matmul_weight_gradient_mma<128, 128, 64, 32>")]
    [TestCase("gates_mma<128, 3>")]
    [TestCase("gates_input_gradient_mma<128, 64, 32>")]
    [TestCase("gates_weight_gradient_mma<128, 64, 32>")]
    [TestCase("recurrent_mixer<256, 2>")]
    [TestCase("window_attention_mma<256, 32>")]
    [TestCase("window_attention_backward_queries_mma<256, 64, 32>")]
    [TestCase("window_attention_backward_keys_mma<256, 128, 16>")]
    [TestCase("decode_attention<bf16, 256, 10, 32, 8>")]
    [TestCase("decode_attention_mma<256, 10, 64>")]
    [TestCase("rg_lru_ring<bf16>")]
    [TestCase("rg_lru_look_back<bf16>")]
    [TestCase("rg_lru_backward_ring<bf16>")]
    [TestCase("rg_lru_backward_look_back<bf16>")]
    public void Tiles_are_copied_asynchronously_past_the_first_level_cache_16_bytes_at_a_time(string kernel)
    {
        var code = On(CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == kernel), "sm_90");
        Assert.That(code.Count("LDGSTS.BYPASS.128"), Is.Positive.And.EqualTo(code.Count("LDGSTS")), code.ToString());
    }

    /// <summary>What a stream may launch early waits by itself from sm_90 on, says that the next kernel may begin, and does neither before sm_90, which has no such instruction.</summary>
    [Test]
    public void Kernels_that_say_they_wait_do()
    {
        var entries = CatalogueModels.Entries.Where(entry => entry.Waits).ToList();
        Assert.That(entries.Select(entry => entry.Op).Distinct().Count(), Is.GreaterThanOrEqualTo(10));
        Assert.Multiple(() =>
        {
            foreach (var entry in entries)
            {
                var code = On(entry, "sm_90");
                Assert.That(code.Count("ACQBULK"), Is.EqualTo(1), $"{entry.Spec.NameExpression}: waits once\n{code}");
                Assert.That(code.Count("PREEXIT"), Is.EqualTo(1), $"{entry.Spec.NameExpression}: lets the next one begin\n{code}");
            }

            Assert.That(On(entries[0], "sm_80").Count("ACQBULK"), Is.Zero, entries[0].Spec.NameExpression);
        });
    }

    /// <summary>Weights are asked for ahead of the wait, and nothing is written ahead of it.</summary>
    [TestCase("residual_product<SkinnyMma<1, 1, 2>>", "LDG.128", 4)]
    [TestCase("gated_product<SkinnyMma<2, 2, 1>>", "LDG.128", 4)]
    [TestCase("sampling_head<SkinnyMma<2, 8, 1>>", "LDG.128", 4)]
    [TestCase("norm_product<SkinnyFma<bf16, 8, 1>>", "LDG.128", 4)]
    [TestCase("recurrent_step_mma<1>", "LDGSTS.128", 1)]
    public void Weights_are_under_way_before_the_wait(string kernel, string load, int loads)
    {
        var ahead = On(CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == kernel), "sm_90").Before("ACQBULK");
        Assert.That(ahead.Count(load), Is.GreaterThanOrEqualTo(loads), ahead.ToString());
        Assert.That(ahead.Count("STG"), Is.Zero, ahead.ToString());
    }

    // Scores of 80 keys before the loop and within it, their values within it and behind it; copies of 16 bytes; registers handed from the warps that copy to
    // those that multiply. Of the four waits for products, the third is that for the values: what stands before it in the loop runs beside them.
    [TestCase("window_attention_warpgroup<256, 80>", 256)]
    [TestCase("window_attention_warpgroup<64, 80>", 64)]
    public void Warpgroup_attention_multiplies_while_it_takes_exponentials(string kernel, int headDim)
    {
        var code = On(CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == kernel), CompiledKernels.Hopper);
        Assert.Multiple(() =>
        {
            Assert.That(code.Count("HGMMA.64x80x16.F32.BF16"), Is.EqualTo(2 * headDim / 16));
            Assert.That(code.Count($"HGMMA.64x{headDim}x16.F32.BF16"), Is.EqualTo(2 * 5));
            Assert.That(code.Count("LDGSTS.E.BYPASS.128"), Is.Positive.And.EqualTo(code.Count("LDGSTS")));
            Assert.That(code.Count("USETMAXREG"), Is.EqualTo(2));
            var exponentials = code.CountsBetween("WARPGROUP.DEPBAR", "MUFU.EX2");
            Assert.That(exponentials, Has.Count.EqualTo(5));
            Assert.That(exponentials[2], Is.GreaterThanOrEqualTo(40), "two queries' 20 keys each");
        });
    }

    [Test]
    public void Hopper_kernels_multiply_by_warpgroups()
    {
        var entries = CatalogueModels.Entries.Where(entry => entry.Spec.Architecture == CompiledKernels.Hopper && !entry.Spec.NameExpression.StartsWith("rg_lru_cluster<", StringComparison.Ordinal)).ToList();
        Assert.That(entries, Is.Not.Empty);
        Assert.Multiple(() =>
        {
            foreach (var entry in entries)
            {
                var code = On(entry, CompiledKernels.Hopper);
                Assert.That(code.Count("HGMMA.F32.BF16"), Is.Positive.And.EqualTo(code.Count("HGMMA")), $"{entry.Spec.NameExpression}\n{code}");
                Assert.That(code.Count("HMMA"), Is.Zero, entry.Spec.NameExpression);
            }
        });
    }

    /// <summary>The scan by clusters: three barriers of the cluster, other blocks' shared memory read in pairs, inputs by asynchronous copies.</summary>
    [Test]
    public void Clusters_meet_and_read_each_other([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        var code = On(CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == $"rg_lru_cluster<{type.CudaName()}>"), CompiledKernels.Hopper);
        Assert.Multiple(() =>
        {
            Assert.That((code.Count("UCGABAR_ARV"), code.Count("UCGABAR_WAIT")), Is.EqualTo((3, 3)), code.ToString());
            Assert.That(code.Count("LD.E.64"), Is.Positive, code.ToString());
            Assert.That(code.Count("LDGSTS.E.BYPASS.128"), Is.Positive.And.EqualTo(code.Count("LDGSTS")), code.ToString());
        });
    }

    /// <summary>Products of many rows on Hopper: operands by tensor copies, registers moved from the copying warps to the multiplying ones, whole sectors stored.</summary>
    [TestCase("matmul_warpgroup<bf16>")]
    [TestCase("gated_matmul_warpgroup<false>")]
    [TestCase("residual_matmul_warpgroup<WarpgroupTiles>")]
    public void Hopper_products_copy_tensors(string kernel)
    {
        var code = On(CatalogueModels.Entries.Single(entry => entry.Spec.NameExpression == kernel), CompiledKernels.Hopper);
        Assert.Multiple(() =>
        {
            Assert.That(code.Count("UTMALDG"), Is.EqualTo(2), code.ToString());
            Assert.That(code.Count("LDGSTS"), Is.Zero, code.ToString());
            Assert.That(code.Count("HGMMA"), Is.EqualTo(4), code.ToString());
            Assert.That(code.Count("USETMAXREG"), Is.EqualTo(2), code.ToString());
            Assert.That(code.Count("SYNCS"), Is.Positive, code.ToString());
            Assert.That(code.Count("STG.E.128"), Is.Positive, code.ToString());
        });
    }

    private static Disassembly On(CatalogueEntry entry, string architecture) => Disassembly.Of(CompiledKernels.Of(Version, entry, architecture));
}
