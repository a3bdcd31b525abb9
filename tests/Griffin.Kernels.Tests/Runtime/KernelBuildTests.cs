using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>What a compilation consists of, and its key.</summary>
public sealed class KernelBuildTests
{
    private static readonly Dictionary<string, string> headers = new()
    {
        ["a.h"] = "#pragma once\n  #  include <b.h> // nested\n",
        ["b.h"] = "#include \"a.h\"\n",
        ["unused.h"] = "#error never\n",
    };

    private static readonly KernelSpec spec = new(new("k.cu", "#include \"a.h\"\nvoid k();", headers), "k<1>", ["-DX=1", "-DY=2"]);

    [Test]
    public void EveryIngredientChangesTheKey()
    {
        string[] keys =
        [
            Key(spec),
            Key(spec with { NameExpression = "k<2>" }),
            Key(spec with { Options = ["-DY=2", "-DX=1"] }),
            Key(spec with { Options = ["-DX=1-DY=2"] }),
            Key(spec with { Options = ["-DX=1", "-DY=2", "-DZ"] }),
            Key(WithSource(spec.Source with { Name = "l.cu" })),
            Key(WithSource(spec.Source with { Text = spec.Source.Text + " " })),
            Key(WithHeader("a.h", headers["a.h"] + " ")),
            Key(WithHeader("b.h", headers["b.h"] + " ")),
            Key(spec, architecture: "sm_86"),
            Key(spec, architecture: "compute_80"),
            Key(spec, identity: "fake 2"),
            Key(spec, extra: "--griffin-checked"),
        ];
        Assert.That(keys, Is.Unique);
        Assert.That(keys, Has.All.Length.EqualTo(64));
    }

    [Test]
    public void WhatCannotChangeTheBitsDoesNotChangeTheKey() =>
        Assert.That(Key(WithHeader("unused.h", "something else")), Is.EqualTo(Key(spec)));

    [Test]
    public void HeadersAreReachedThroughHeaders()
    {
        (IReadOnlyList<KeyValuePair<string, string>> reached, bool complete) = IncludeScanner.Reach(spec.Source);
        Assert.That(reached.Select(header => header.Key), Is.EqualTo(new[] { "a.h", "b.h" }));
        Assert.That(complete);
    }

    [TestCase("#include \"missing.h\"")]
    [TestCase("#include MACRO")]
    public void AnIncludeThatIsNotKnownMakesTheListIncomplete(string line) =>
        Assert.That(IncludeScanner.Reach(new("k.cu", line + "\n", headers)).Complete, Is.False);

    [TestCase("// include \"missing.h\"")]
    [TestCase("#includes")]
    [TestCase("")]
    public void OtherLinesDoNot(string line) => Assert.That(IncludeScanner.Reach(new("k.cu", line + "\n", headers)).Complete);

    [TestCase(8, 0, "sm_80")]
    [TestCase(8, 6, "sm_86")]
    [TestCase(9, 0, "sm_90")]
    [TestCase(8, 9, "compute_86")]
    [TestCase(12, 0, "compute_90")]
    public void TheArchitectureIsExactOrTheNewestBelowAsPtx(int major, int minor, string expected) =>
        Assert.That(KernelBuild.ArchitectureFor(new FakeNvrtc(), (major, minor)), Is.EqualTo(expected));

    [TestCase(9, 0, 90, new[] { 80, 86, 90 })]
    [TestCase(12, 0, 90, new[] { 80, 86, 90 })]
    [TestCase(12, 0, 120, new[] { 90, 120 })]
    [TestCase(9, 0, 87, new[] { 80, 86, 87 })]   // NVRTC before 11.8: kernels there have no sm_90 instructions, whatever the device
    public void TheArchitecturesNumberIsWhatKernelsSee(int major, int minor, int expected, int[] known) =>
        Assert.That(KernelBuild.NumberOf(KernelBuild.ArchitectureFor(new FakeNvrtc { Known = known }, (major, minor))), Is.EqualTo(expected));

    [TestCase("sm_90a", 90)]
    [TestCase("compute_100f", 100)]
    public void TheNumberIsReadWithoutItsLetter(string architecture, int expected) => Assert.That(KernelBuild.NumberOf(architecture), Is.EqualTo(expected));

    [Test]
    public void PtxIsAskedForWhereACubinCannotBe()
    {
        CompiledKernel cubin = new KernelBuild(new FakeNvrtc(), spec, "sm_80", []).Compile();
        CompiledKernel ptx = new KernelBuild(new FakeNvrtc(), spec, "compute_90", []).Compile();
        Assert.That((cubin.IsPtx, ptx.IsPtx), Is.EqualTo((false, true)));
        Assert.That(System.Text.Encoding.UTF8.GetString(ptx.Image.Span), Does.StartWith("PTX"));
    }

    [Test]
    public void OptionsKeepTheirOrderAfterTheLibrarysOwn()
    {
        FakeNvrtc nvrtc = new();
        new KernelBuild(nvrtc, spec, "sm_80", ["--last"]).Compile();
        Assert.That(nvrtc.LastOptions, Is.EqualTo(new[] { "--std=c++17", "--fmad=false", "--gpu-architecture=sm_80", "-DX=1", "-DY=2", "--last" }));
        Assert.That(nvrtc.HeadersSeen, Is.EqualTo(2));
    }

    [Test]
    public void AFailureCarriesSourceOptionsAndLog()
    {
        KernelCompilationException thrown = Assert.Throws<KernelCompilationException>(() => new KernelBuild(new FakeNvrtc { Refuses = true }, spec, "sm_80", []).Compile())!;
        Assert.Multiple(() =>
        {
            Assert.That(thrown.Source, Is.EqualTo("k.cu"));
            Assert.That(thrown.Options, Does.Contain("-DX=1"));
            Assert.That(thrown.Log, Does.Contain("error: refused"));
            Assert.That(thrown.Message, Does.Contain("k.cu").And.Contain("k<1>").And.Contain("error: refused"));
        });
    }

    [Test]
    public void NoCompilerBehindTheInterfaceIsSaidInOneLine()
    {
        KernelCompilationException thrown = Assert.Throws<KernelCompilationException>(() => new KernelBuild(new FakeNvrtc(""), spec, "sm_80", []).Compile())!;
        Assert.That(thrown.Message, Does.Contain("no C++ compiler was found").And.Not.Contain("\n"));
    }

    [Test]
    public void BuiltInSourcesReachOnlyBuiltInHeaders()
    {
        Assert.That(KernelSource.BuiltInNames, Is.Not.Empty);
        foreach (string name in KernelSource.BuiltInNames)
            Assert.That(IncludeScanner.Reach(KernelSource.BuiltIn(name)).Complete, name);
        Assert.Throws<ArgumentException>(() => KernelSource.BuiltIn("no_such_kernel.cu"));
    }

    private static KernelSpec WithSource(KernelSource source) => spec with { Source = source };

    private static KernelSpec WithHeader(string name, string text) => WithSource(spec.Source with { Headers = new Dictionary<string, string>(headers) { [name] = text } });

    private static string Key(KernelSpec kernel, string architecture = "sm_80", string identity = "fake 1", string? extra = null) =>
        new KernelBuild(new FakeNvrtc(identity), kernel, architecture, extra is null ? [] : [extra]).Key;
}
