using System.Buffers;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training;

/// <summary>
/// The <c>model</c> of a recipe: a preset's name, or an object in the vocabulary of config.json. In the object, <c>preset</c> may name a
/// preset that the other keys change.
/// </summary>
internal static class RecipeModel
{
    private const string PresetKey = "preset";

    // What config.json may say and a file in Hugging Face's layout need not.
    private static readonly string[] extensions = [PresetKey, "num_gate_blocks", "keys_visible", "embedding_scale_rounding"];

    /// <summary>Reads the value under <c>model</c>; null stands for no model.</summary>
    /// <exception cref="CheckpointException">There is no such preset, a key is unknown, or the shape makes no sense.</exception>
    internal static GriffinConfig? Read(JsonElement value, string source) => value.ValueKind switch
    {
        JsonValueKind.Null => null,
        JsonValueKind.String => Preset(value.GetString()!, source),
        JsonValueKind.Object => ReadObject(value, $"{source}: model"),
        _ => throw new CheckpointException(source, "model is neither a preset's name nor an object in the vocabulary of config.json"),
    };

    private static GriffinConfig ReadObject(JsonElement value, string source)
    {
        JsonKeys keys = new(value, source);
        GriffinConfig? preset = keys.OptionalText(PresetKey) is { } name ? Preset(name, source) : null;
        using JsonDocument usual = JsonDocument.Parse(Members(preset ?? GriffinPresets.Get("recurrentgemma-2b")));
        keys.RefuseOthers([.. extensions, .. usual.RootElement.EnumerateObject().Select(member => member.Name).Except(extensions)]);
        return ConfigFile.Parse(Merge(preset is null ? null : usual.RootElement, value), source);
    }

    private static GriffinConfig Preset(string name, string source) => GriffinPresets.TryGet(name, out GriffinConfig? config)
        ? config
        : throw new CheckpointException(source, $"no preset is called '{name}'; there are {string.Join(", ", GriffinPresets.Names)}");

    private static ReadOnlyMemory<byte> Members(GriffinConfig config) => WriteObject(json => ConfigFile.WriteMembers(json, config));

    /// <summary>The members of both objects; where both have one, the second's.</summary>
    private static ReadOnlyMemory<byte> Merge(JsonElement? first, JsonElement second) => WriteObject(json =>
    {
        foreach (JsonProperty member in first?.EnumerateObject() ?? default)
        {
            if (!second.TryGetProperty(member.Name, out _)) member.WriteTo(json);
        }
        foreach (JsonProperty member in second.EnumerateObject())
        {
            if (member.Name != PresetKey) member.WriteTo(json);
        }
    });

    private static ReadOnlyMemory<byte> WriteObject(Action<Utf8JsonWriter> members)
    {
        ArrayBufferWriter<byte> buffer = new();
        using (Utf8JsonWriter json = new(buffer))
        {
            json.WriteStartObject();
            members(json);
            json.WriteEndObject();
        }
        return buffer.WrittenMemory;
    }
}
