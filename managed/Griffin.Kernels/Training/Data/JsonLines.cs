using System.Text.Json;
using Griffin.Kernels.Models;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Training.Data;

/// <summary>
/// Files with a JSON object in each line that holds a document: <c>text</c>, a string, or <c>tokens</c>, a list of ids. Other keys and blank
/// lines mean nothing. A BOS before a document's ids and an EOS behind them are left out: packing puts them there.
/// </summary>
internal static class JsonLines
{
    internal static void Read(string path, DocumentSet documents, GriffinConfig config, Lazy<ITokenizer> tokenizer)
    {
        foreach ((int number, string line) in DataFile.ReadLines(path))
        {
            if (string.IsNullOrWhiteSpace(line)) continue;
            string place = $"{path} line {number}";
            using JsonDocument document = Parse(line, place);
            documents.Add(Tokens(document.RootElement, place, config, tokenizer), place);
        }
    }

    private static JsonDocument Parse(string line, string place)
    {
        try
        {
            return JsonDocument.Parse(line);
        }
        catch (JsonException error)
        {
            throw new TrainingInputException(place, $"is not valid JSON near byte {error.BytePositionInLine}: mend or remove the line", error);
        }
    }

    private static ReadOnlySpan<int> Tokens(JsonElement root, string place, GriffinConfig config, Lazy<ITokenizer> tokenizer)
    {
        if (root.ValueKind != JsonValueKind.Object) throw new TrainingInputException(place, "is no JSON object: {\"text\": …} or {\"tokens\": […]} is needed");
        bool hasText = root.TryGetProperty("text", out JsonElement text), hasTokens = root.TryGetProperty("tokens", out JsonElement tokens);
        if (hasText == hasTokens) throw new TrainingInputException(place, $"has {(hasText ? "both" : "neither")} \"text\" {(hasText ? "and" : "nor")} \"tokens\": one of them is needed");
        if (hasText)
        {
            return text.ValueKind == JsonValueKind.String
                ? tokenizer.Value.Encode(text.GetString()!)
                : throw new TrainingInputException(place, "\"text\" is no string");
        }
        if (tokens.ValueKind != JsonValueKind.Array) throw new TrainingInputException(place, "\"tokens\" is no list");
        int[] ids = new int[tokens.GetArrayLength()];
        int count = 0;
        foreach (JsonElement id in tokens.EnumerateArray())
        {
            if (id.ValueKind != JsonValueKind.Number || !id.TryGetInt32(out ids[count]))
                throw new TrainingInputException(place, $"element {count} of \"tokens\" is no token id");
            count++;
        }
        return DocumentEnds.Trim(ids, config);
    }
}

/// <summary>The tokens that begin and end a document.</summary>
internal static class DocumentEnds
{
    /// <summary>A document's ids without a BOS in front and an EOS behind.</summary>
    internal static ReadOnlySpan<int> Trim(ReadOnlySpan<int> ids, GriffinConfig config)
    {
        if (ids.Length > 0 && ids[0] == config.BosToken) ids = ids[1..];
        if (ids.Length > 0 && config.EosTokens.Contains(ids[^1])) ids = ids[..^1];
        return ids;
    }
}
