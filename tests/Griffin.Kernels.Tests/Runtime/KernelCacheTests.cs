using Griffin.Bench;
using Griffin.Kernels.Interop;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Runtime;

/// <summary>The disk cache, over a compiler that counts and a driver that does nothing: no device is needed.</summary>
public sealed class KernelCacheTests
{
    private static readonly KernelSpec spec = new(KernelSource.FromText("k.cu", "#include \"a.h\"\n__global__ void k() {}", new Dictionary<string, string> { ["a.h"] = "// a" }), "k", ["-DX=1"]);

    [Test]
    public async Task AFreshCompilerFindsWhatAnotherCompiled()
    {
        using TempFolder folder = new();
        CompiledKernel first = await Compile(folder.Path, out FakeNvrtc nvrtc).ConfigureAwait(false);
        CompiledKernel second = await Compile(folder.Path, out FakeNvrtc other).ConfigureAwait(false);
        Assert.Multiple(() =>
        {
            Assert.That(nvrtc.Compilations, Is.EqualTo(1));
            Assert.That(other.Compilations, Is.Zero);
            Assert.That((first.FromCache, second.FromCache), Is.EqualTo((false, true)));
            Assert.That(second.LoweredName, Is.EqualTo("lowered_k"));
            Assert.That(second.Image.ToArray(), Is.EqualTo(first.Image.ToArray()));
            Assert.That(second.Log, Is.EqualTo(first.Log));
        });
    }

    [Test]
    public async Task OneKernelRequestedTwiceCompilesOnce()
    {
        FakeNvrtc nvrtc = new();
        using GpuDevice device = Open(nvrtc, null, new());
        await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => device.Compiler.Request(spec))).ConfigureAwait(false);
        Assert.That(nvrtc.Compilations, Is.EqualTo(1));
    }

    [Test]
    public async Task KernelsCompileInParallelUpToTheLimit()
    {
        int running = 0, most = 0;
        using Barrier both = new(2);
        FakeNvrtc nvrtc = new()
        {
            WhileCompiling = () =>
            {
                int now = Interlocked.Increment(ref running);
                InterlockedMax(ref most, now);
                Assert.That(both.SignalAndWait(TimeSpan.FromSeconds(30)), "two run at the same time");
                Interlocked.Decrement(ref running);
            },
        };
        using GpuDevice device = GpuDevice.Open("cuda", new() { Provider = Provider(nvrtc), UseDiskCache = false, ParallelCompiles = 2 });
        await Task.WhenAll(Enumerable.Range(0, 6).Select(i => device.Compiler.Request(spec with { NameExpression = $"k<{i}>" }))).ConfigureAwait(false);
        Assert.That((nvrtc.Compilations, most), Is.EqualTo((6, 2)));
    }

    private static void InterlockedMax(ref int target, int value)
    {
        for (int seen = Volatile.Read(ref target); seen < value; seen = Volatile.Read(ref target))
            Interlocked.CompareExchange(ref target, value, seen);
    }

    [Test]
    public void TheFolderIsItsOwnersAlone()
    {
        if (OperatingSystem.IsWindows()) Assert.Ignore("file modes are a Unix matter");
        using TempFolder folder = new();
        string inside = folder.File("cache");
        Compile(inside, out _).GetAwaiter().GetResult();
        Assert.That(Mode(inside), Is.EqualTo(OwnerOnly), "made so");
        SetMode(inside, OwnerOnly | UnixFileMode.GroupWrite | UnixFileMode.OtherRead);
        Compile(inside, out _).GetAwaiter().GetResult();
        Assert.That(Mode(inside), Is.EqualTo(OwnerOnly), "made so again");
    }

    [TestCase(0)]
    [TestCase(4)]
    [TestCase(20)]
    [TestCase(45)]
    public async Task ADamagedByteIsAMissWithOneWarning(int position)
    {
        using TempFolder folder = new();
        await Compile(folder.Path, out _).ConfigureAwait(false);
        string file = Directory.GetFiles(folder.Path).Single();
        byte[] bytes = await File.ReadAllBytesAsync(file).ConfigureAwait(false);
        bytes[position] ^= 0x40;
        await File.WriteAllBytesAsync(file, bytes).ConfigureAwait(false);
        await ExpectOneMiss(folder.Path).ConfigureAwait(false);
    }

    [TestCase(0)]
    [TestCase(7)]
    [TestCase(41)]
    [TestCase(-1)]
    public async Task ATruncatedFileIsAMissWithOneWarning(int length)
    {
        using TempFolder folder = new();
        await Compile(folder.Path, out _).ConfigureAwait(false);
        string file = Directory.GetFiles(folder.Path).Single();
        byte[] bytes = await File.ReadAllBytesAsync(file).ConfigureAwait(false);
        await File.WriteAllBytesAsync(file, bytes[..(length < 0 ? bytes.Length + length : length)]).ConfigureAwait(false);
        await ExpectOneMiss(folder.Path).ConfigureAwait(false);
    }

    [Test]
    public async Task AnEntryUnderAnotherNameIsAMiss()
    {
        using TempFolder folder = new();
        await Compile(folder.Path, out _).ConfigureAwait(false);
        string file = Directory.GetFiles(folder.Path).Single();
        byte[] right = await File.ReadAllBytesAsync(file).ConfigureAwait(false);
        KernelSpec changed = spec with { Options = ["-DX=2"] };
        await Compile(folder.Path, out _, kernel: changed).ConfigureAwait(false);
        string other = Directory.GetFiles(folder.Path).Single(path => path != file);
        await File.WriteAllBytesAsync(other, right).ConfigureAwait(false);
        CompiledKernel again = await Compile(folder.Path, out FakeNvrtc nvrtc, kernel: changed).ConfigureAwait(false);
        Assert.That((again.FromCache, nvrtc.Compilations), Is.EqualTo((false, 1)));
    }

    [Test]
    public async Task AnUnusableFolderIsOneWarningAndCompiles()
    {
        using TempFolder folder = new();
        string file = folder.File("file");
        await File.WriteAllTextAsync(file, "in the way").ConfigureAwait(false);
        ListLogger logger = new();
        FakeNvrtc nvrtc = new();
        using GpuDevice device = Open(nvrtc, Path.Combine(file, "cache"), logger);
        await device.Compiler.Request(spec).ConfigureAwait(false);
        await device.Compiler.Request(spec with { NameExpression = "other" }).ConfigureAwait(false);
        Assert.That(nvrtc.Compilations, Is.EqualTo(2));
        Assert.That(logger.Warnings, Has.Count.EqualTo(1));
        Assert.That(logger.Warnings[0], Does.Contain(file));
    }

    [Test]
    public async Task AFolderThatVanishesIsOneWarningAndCompiles()
    {
        using TempFolder folder = new();
        string inside = folder.File("cache");
        ListLogger logger = new();
        FakeNvrtc nvrtc = new();
        using GpuDevice device = Open(nvrtc, inside, logger);
        Directory.Delete(inside, recursive: true);
        await device.Compiler.Request(spec).ConfigureAwait(false);
        await device.Compiler.Request(spec with { NameExpression = "other" }).ConfigureAwait(false);
        Assert.That(nvrtc.Compilations, Is.EqualTo(2));
        Assert.That(logger.Warnings, Has.Count.EqualTo(1));
    }

    [Test]
    public async Task TemporaryFilesOfAnotherProcessDoNoHarmAndOldOnesGo()
    {
        using TempFolder folder = new();
        string fresh = folder.File("a.tmp"), stale = folder.File("b.tmp");
        await File.WriteAllTextAsync(fresh, "being written").ConfigureAwait(false);
        await File.WriteAllTextAsync(stale, "left behind").ConfigureAwait(false);
        File.SetLastWriteTimeUtc(stale, DateTime.UtcNow.AddDays(-2));
        await Compile(folder.Path, out FakeNvrtc nvrtc).ConfigureAwait(false);
        Assert.That(nvrtc.Compilations, Is.EqualTo(1));
        Assert.That((File.Exists(fresh), File.Exists(stale)), Is.EqualTo((true, false)));
        Assert.That(Directory.GetFiles(folder.Path, "*.tmp"), Has.Length.EqualTo(1), "the writer leaves none of its own");
    }

    [Test]
    public async Task AnImageThatTheDriverRefusesIsCompiledAnew()
    {
        TestDevices.RequireEmulator();
        using TempFolder folder = new();
        ListLogger logger = new();
        using GpuDevice device = GpuDevice.Open("emulator", TestDevices.Options with { CacheFolder = folder.Path, Logger = logger });
        KernelBuild build = new(device.Provider.Nvrtc, TestKernels.Affine, device.Compiler.Architecture, []);
        new KernelCache(folder.Path, logger).Write(build.Key, new(TestKernels.Affine, "affine", new byte[100], IsPtx: false, "", FromCache: false));
        CompiledKernel compiled = await device.Compiler.Request(TestKernels.Affine).ConfigureAwait(false);
        Assert.That(compiled.FromCache, Is.False);
        Assert.That(logger.Warnings, Has.Count.EqualTo(1));
        Assert.That(logger.Warnings[0], Does.Contain("affine").And.Contain("compiled anew"));
    }

    [Test]
    public async Task ASourceThatMayReadTheDiskIsNotCached()
    {
        using TempFolder folder = new();
        KernelSpec open = spec with { Source = KernelSource.FromText("k.cu", "#include \"elsewhere.h\"\n__global__ void k() {}") };
        await Compile(folder.Path, out _, kernel: open).ConfigureAwait(false);
        Assert.That(Directory.GetFiles(folder.Path), Is.Empty);
    }

    [Test]
    public async Task TheEnvironmentNamesTheFolder()
    {
        using TempFolder folder = new();
        string? before = Environment.GetEnvironmentVariable("GRIFFIN_CACHE");
        try
        {
            Environment.SetEnvironmentVariable("GRIFFIN_CACHE", folder.Path);
            using GpuDevice device = GpuDevice.Open("cuda", new() { Provider = Provider(new FakeNvrtc()) });
            Assert.That(device.Compiler.CacheFolder, Is.EqualTo(folder.Path));
            await device.Compiler.Request(spec).ConfigureAwait(false);
            Assert.That(Directory.GetFiles(folder.Path), Has.Length.EqualTo(1));
        }
        finally
        {
            Environment.SetEnvironmentVariable("GRIFFIN_CACHE", before);
        }
    }

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute;

    private static UnixFileMode Mode(string folder) => OperatingSystem.IsWindows() ? default : File.GetUnixFileMode(folder);

    private static void SetMode(string folder, UnixFileMode mode)
    {
        if (!OperatingSystem.IsWindows()) File.SetUnixFileMode(folder, mode);
    }

    private static async Task ExpectOneMiss(string folder)
    {
        ListLogger logger = new();
        CompiledKernel again = await Compile(folder, out FakeNvrtc nvrtc, logger).ConfigureAwait(false);
        Assert.That((again.FromCache, nvrtc.Compilations), Is.EqualTo((false, 1)));
        Assert.That(logger.Warnings, Has.Count.EqualTo(1));
        Assert.That(logger.Warnings[0], Does.Contain("damaged"));
        CompiledKernel healed = await Compile(folder, out _).ConfigureAwait(false);
        Assert.That(healed.FromCache, "the entry was written anew");
    }

    private static Task<CompiledKernel> Compile(string folder, out FakeNvrtc nvrtc, ListLogger? logger = null, KernelSpec? kernel = null)
    {
        FakeNvrtc compiler = nvrtc = new();
        return CompileWith(compiler, folder, logger ?? new(), kernel ?? spec);
    }

    private static async Task<CompiledKernel> CompileWith(FakeNvrtc nvrtc, string folder, ListLogger logger, KernelSpec kernel)
    {
        using GpuDevice device = Open(nvrtc, folder, logger);
        return await device.Compiler.Request(kernel).ConfigureAwait(false);
    }

    private static GpuDevice Open(FakeNvrtc nvrtc, string? folder, ListLogger logger) =>
        GpuDevice.Open("cuda", new() { Provider = Provider(nvrtc), CacheFolder = folder, UseDiskCache = folder is not null, Logger = logger });

    private static GpuProvider Provider(FakeNvrtc nvrtc) => new("fake", StubCuda.CreateDriver(), nvrtc, null, new());
}
