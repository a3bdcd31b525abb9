using System.Text.Json;
using Griffin.Kernels.Checkpoints;

namespace Griffin.Kernels.Training;

/// <summary>Where a run stands, beside its weights and moments. Data and random numbers are functions of these numbers.</summary>
/// <param name="Step">Optimiser steps done.</param>
/// <param name="MicroBatches">Micro-batches taken from the source: the data cursor.</param>
/// <param name="Tokens">Tokens scored.</param>
/// <param name="DataIdentity">Identity of the source.</param>
internal sealed record RunState(long Step, long MicroBatches, long Tokens, string DataIdentity)
{
    private const string FileName = "run.json";

    public void Write(string folder)
    {
        using AtomicFile file = AtomicFile.Create(Path.Combine(folder, FileName));
        using (Utf8JsonWriter json = new(file.Stream, new JsonWriterOptions { Indented = true, NewLine = "\n" }))
        {
            json.WriteStartObject();
            json.WriteNumber("step", Step);
            json.WriteNumber("micro_batches", MicroBatches);
            json.WriteNumber("tokens", Tokens);
            json.WriteString("data", DataIdentity);
            json.WriteEndObject();
        }

        file.Commit();
    }

    /// <exception cref="CheckpointException">The file is missing or damaged.</exception>
    public static RunState Read(string folder)
    {
        string path = Path.Combine(folder, FileName);
        using JsonDocument document = JsonFile.Parse(JsonFile.ReadBytes(path, ": the folder is no training checkpoint"), path);
        JsonElement root = JsonFile.RootObject(document, path);
        return new RunState(Number("step"), Number("micro_batches"), Number("tokens"), new JsonKeys(root, path).OptionalString("data") ?? throw new CheckpointException(path, "data is missing"));

        long Number(string key) => root.TryGetProperty(key, out JsonElement value) && value.ValueKind == JsonValueKind.Number && value.TryGetInt64(out long number) && number >= 0
            ? number
            : throw new CheckpointException(path, $"{key} is no count");
    }
}
