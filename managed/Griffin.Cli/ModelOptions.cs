using System.CommandLine;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Cli;

/// <summary>Which checkpoint a verb runs.</summary>
internal sealed class ModelOptions
{
    private const string Shipped = "austen-tiny";

    /// <summary>The checkpoint.</summary>
    internal Option<string?> Model { get; } = new Option<string?>("--model", "-m")
    {
        Description = $"checkpoint folder or safetensors file (default: models/{Shipped}, found upwards from here or beside the program)",
        HelpName = "DIR",
    }.NotEmpty();

    /// <summary>The shape of a checkpoint that has no config.json.</summary>
    internal Option<string?> Preset { get; } = new("--preset") { Description = "shape of a checkpoint without config.json, as recurrentgemma-2b", HelpName = "NAME" };

    /// <summary>The checkpoint's path: the one given, or the shipped model's.</summary>
    internal string Path(ParseResult parsed) => parsed.GetValue(Model) ?? FindShipped();

    /// <summary>Opens the checkpoint.</summary>
    internal CheckpointReader Open(ParseResult parsed) =>
        CheckpointReader.Open(Path(parsed), parsed.GetValue(Preset) is { } preset ? FindPreset(preset, Preset.Name) : null);

    /// <summary>The shape of a checkpoint folder, or of a preset.</summary>
    internal static GriffinConfig ShapeOf(string? model, string? size)
    {
        if (model is null) return FindPreset(size!, "--size");
        if (size is not null) throw new CliException("give --model or --size, not both");
        string folder = File.Exists(model) ? System.IO.Path.GetDirectoryName(System.IO.Path.GetFullPath(model))! : model;
        return ConfigFile.Read(System.IO.Path.Combine(folder, ConfigFile.FileName));
    }

    /// <summary>The preset of that name.</summary>
    internal static GriffinConfig FindPreset(string name, string option) => GriffinPresets.TryGet(name, out GriffinConfig? config)
        ? config
        : throw new CliException($"{option} is '{name}': there are {string.Join(", ", GriffinPresets.Names)}");

    private static string FindShipped()
    {
        foreach (string start in (string[])[Directory.GetCurrentDirectory(), AppContext.BaseDirectory])
        {
            for (DirectoryInfo? folder = new(start); folder is not null; folder = folder.Parent)
            {
                string candidate = System.IO.Path.Combine(folder.FullName, "models", Shipped);
                if (Directory.Exists(candidate)) return candidate;
            }
        }
        throw new CliException($"no --model is given and models/{Shipped} is nowhere above this folder");
    }
}
