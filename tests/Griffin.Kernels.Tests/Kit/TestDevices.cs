using Griffin.Cli;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>
/// The devices that tests run on: the emulator, checked or plain, unless the run asks for a GPU (<c>--device cuda</c> of the runner, or
/// GRIFFIN_TEST_DEVICE). On a GPU both kinds are that GPU. <c>--provider</c> of the runner, or GRIFFIN_TEST_PROVIDER, says how CUDA is reached.
/// </summary>
internal static class TestDevices
{
    private static readonly Lock gate = new();
    private static string choice = Environment.GetEnvironmentVariable("GRIFFIN_TEST_DEVICE") ?? "emulator";
    private static string providerName = Environment.GetEnvironmentVariable("GRIFFIN_TEST_PROVIDER") ?? Providers.Direct;
    private static GpuDevice? sharedChecked;
    private static GpuDevice? sharedPlain;
    private static GpuDevice? sharedHopper;
    private static GpuDevice? kept;

    /// <summary>True when tests run on the emulator.</summary>
    public static bool IsEmulator => choice == "emulator";

    /// <summary>A checked device shared by all tests of the run: do not dispose it.</summary>
    public static GpuDevice Checked
    {
        get
        {
            lock (gate)
                return Usable(ref sharedChecked, () => OpenChecked());
        }
    }

    /// <summary>A device without checks, for tests that are long: shared by all tests of the run, do not dispose it.</summary>
    public static GpuDevice Plain
    {
        get
        {
            lock (gate)
                return Usable(ref sharedPlain, OpenPlain);
        }
    }

    /// <summary>
    /// A device with warpgroup products and tensor copies, checked where it is emulated: shared by all tests of the run, do not dispose it. Skips the
    /// calling test, with the reason, when the run's GPU has none.
    /// </summary>
    public static GpuDevice Hopper
    {
        get
        {
            if (!IsEmulator)
            {
                if (!Plain.Limits.WarpgroupProducts || !Plain.Limits.TensorCopies)
                    Assert.Ignore("needs a GPU of compute capability 9.0 and NVRTC 12 or newer");
                return Plain;
            }

            lock (gate)
                return Usable(ref sharedHopper, () => OpenEmulator(HopperOptions));
        }
    }

    /// <summary>Options of a checked emulated device of compute capability 9.0.</summary>
    public static EmulatorOptions HopperOptions => new() { Checked = true, Seed = 1, ComputeCapability = (9, 0) };

    /// <summary>The name of the run's provider, as <c>--provider</c> of the command takes it.</summary>
    public static string ProviderName => providerName;

    /// <summary>
    /// Options that name the run's provider, for devices of a test's own. What was measured on a developer's machine must not choose what a test sees.
    /// </summary>
    public static GpuDeviceOptions Options => new() { Provider = Providers.Open(providerName), UseTuning = false };

    /// <summary>Seeds of shuffled schedules to repeat a test with; one on a GPU, which shuffles by itself.</summary>
    public static ulong[] Seeds => IsEmulator ? [1, 20, 300] : [0];

    /// <summary>Fixes the device of this run (auto, cuda, cuda:N or emulator) and its provider.</summary>
    public static void Choose(string device, string provider)
    {
        (choice, providerName) = (device, provider);
        if (device == "auto")
        {
            using var opened = GpuDevice.Open(device, Options);
            choice = opened.Kind == GpuDeviceKind.Emulator ? "emulator" : "cuda";
        }

        // A GPU's context takes long to make: held for the run, since tests close all of their devices.
        if (!IsEmulator)
            kept = OpenPlain();
    }

    /// <summary>Whether the run's GPU still does what it is told.</summary>
    public static bool Answers()
    {
        try
        {
            kept?.Synchronize();
            return true;
        }
        catch (GpuException)
        {
            return false;
        }
    }

    /// <summary>A checked device of the test's own.</summary>
    public static GpuDevice OpenChecked(ulong seed = 1, bool smallShared = false) => IsEmulator
        ? OpenEmulator(new EmulatorOptions { Checked = true, Seed = seed, ComputeCapability = smallShared ? (8, 6) : (8, 0) })
        : GpuDevice.Open(choice, Options);

    /// <summary>An emulated device of the test's own, through the run's provider.</summary>
    public static GpuDevice OpenEmulator(EmulatorOptions options) => GpuDevice.OpenEmulator(options, Options);

    /// <summary>A device without checks of the test's own.</summary>
    public static GpuDevice OpenPlain() => GpuDevice.Open(choice, Options);

    /// <summary>The line that says which device the run uses.</summary>
    public static string Describe() => providerName == Providers.Direct ? Plain.Description : $"{Plain.Description}, through {providerName}";

    /// <summary>Asserts that a device has as much memory as before. A GPU's figure counts modules and other processes too, and says nothing.</summary>
    public static void AssertFree(GpuDevice device, long before)
    {
        if (IsEmulator)
            Assert.That(device.MemoryInfo.Free, Is.EqualTo(before));
    }

    /// <summary>Skips the calling test, with the reason, when the run is on a GPU.</summary>
    public static void RequireEmulator(string reason = "needs the emulator")
    {
        if (!IsEmulator)
            Assert.Ignore(reason);
    }

    /// <summary>Skips the calling test, with the reason, when the run is on the emulator.</summary>
    public static void RequireGpu(string reason = "needs a GPU")
    {
        if (IsEmulator)
            Assert.Ignore(reason);
    }

    // A device that a failing kernel took down must not fail the tests after it.
    private static GpuDevice Usable(ref GpuDevice? shared, Func<GpuDevice> open)
    {
        try
        {
            shared?.Synchronize();
        }
        catch (GpuException)
        {
            shared!.Dispose();
            shared = null;
        }

        return shared ??= open();
    }

    /// <summary>Closes the shared devices; the next test that asks gets new ones.</summary>
    public static void CloseShared()
    {
        lock (gate)
        {
            sharedChecked?.Dispose();
            sharedPlain?.Dispose();
            sharedHopper?.Dispose();
            (sharedChecked, sharedPlain, sharedHopper) = (null, null, null);
        }
    }
}
