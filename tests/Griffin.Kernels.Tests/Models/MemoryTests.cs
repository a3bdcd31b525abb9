using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Models;

/// <summary>What models and sequences take on the device: the published counts, and nothing more after a session is made.</summary>
[TestFixture]
public sealed class MemoryTests
{
    [TestCase("recurrentgemma-2b", 184_320L + 276_480 + 16_785_408, 2_682_862_080L)]
    [TestCase("recurrentgemma-9b", 425_984L + 638_976 + 25_178_112, 8_579_977_216L)]
    public void State_and_weights_of_the_released_sizes_are_the_published_counts(string preset, long stateBytes, long parameters)
    {
        var config = GriffinPresets.Get(preset);
        Assert.That(new StateLayout(config, ElementType.BFloat16, globalCapacity: 1).SlotBytes, Is.EqualTo(stateBytes));
        Assert.That(new WeightLayout(config, ElementType.BFloat16).Bytes, Is.InRange(2 * parameters, 2 * parameters * 1.02));
    }

    [Test]
    [AssertNoLeaks]
    public void Calls_and_steps_take_no_device_memory()
    {
        using var device = TestDevices.OpenPlain();
        using var run = new ModelRun(device, new OracleData("small").Folder, ElementType.BFloat16);
        using var state = run.Session.States.Rent();
        using var decoder = run.Session.CreateDecoder([state], [SamplerSettings.Greedy]);
        decoder.Feed(0, 1);
        decoder.Step();
        var (free, _) = device.MemoryInfo;
        var handles = LiveHandles.Count;
        run.Forward(state, [1, 2, 3, 4, 5]);
        run.Steps(state, [6, 7]);
        for (var i = 0; i < 8; i++)
            decoder.Step();
        TestDevices.AssertFree(device, free);
        Assert.That(LiveHandles.Count, Is.EqualTo(handles));
    }

    /// <summary>What a model and a session report is what the device has less of, to the byte.</summary>
    [Test]
    public void The_device_lacks_what_the_session_reports()
    {
        TestDevices.RequireEmulator("a GPU accounts for memory in large blocks, modules and cuBLAS among them");
        const int Slots = 5;
        using var device = TestDevices.OpenPlain();
        var (before, _) = device.MemoryInfo;
        using var run = new ModelRun(device, new OracleData("small").Folder, ElementType.BFloat16, session: new SessionOptions { Slots = Slots, MaxBatch = 2, ChunkTokens = 32 });
        run.Forward([1, 2, 3]);
        var states = run.Session.States;
        var reported = run.Model.WeightBytes + run.Session.WorkspaceBytes + (Slots * (states.BytesPerSequence + states.SamplerBytesPerSequence));
        var table = run.Model.Kernels.Attention!.Phases.Owner.Bytes;   // rotary frequencies: all that is not reported
        Assert.That(table, Is.LessThanOrEqualTo(1024));
        Assert.That(before - device.MemoryInfo.Free, Is.EqualTo(reported + table));
    }
}
