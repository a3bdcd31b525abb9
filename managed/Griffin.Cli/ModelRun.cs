using System.CommandLine;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Cli;

/// <summary>A model loaded on a device for one run of a verb.</summary>
internal sealed class ModelRun : IDisposable
{
    private ModelRun(GpuDevice device, GriffinModel model) => (Device, Model) = (device, model);

    internal GpuDevice Device { get; }

    internal GriffinModel Model { get; }

    /// <summary>Opens the device, says which one, and loads the weights while the kernels compile.</summary>
    internal static ModelRun Load(CheckpointReader checkpoint, CommonSettings settings, CancellationToken cancellationToken)
    {
        GpuDevice device = settings.OpenDevice();
        try
        {
            GriffinModelOptions options = new() { Precision = settings.Precision };
            GriffinModel model = settings.Work.Run(progress => GriffinModel.Load(
                device, checkpoint, options, new ProgressAdapter<ModelProgress>(progress, Stage), cancellationToken));
            return new ModelRun(device, model);
        }
        catch
        {
            device.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        Model.Dispose();
        Device.Dispose();
    }

    /// <summary>A model's progress in the words of this command.</summary>
    internal static StageProgress Stage(ModelProgress report) =>
        new(report.Stage == "kernels" ? "compiling kernels" : "loading weights", report.Done, report.Total);
}
