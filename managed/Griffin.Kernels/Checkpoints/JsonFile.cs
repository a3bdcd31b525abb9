using System.Text.Json;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Parsing of small JSON files with one-line errors.</summary>
internal static class JsonFile
{
    internal static JsonDocument Parse(ReadOnlyMemory<byte> utf8, string source)
    {
        try
        {
            return JsonDocument.Parse(utf8, new JsonDocumentOptions { AllowDuplicateProperties = false });
        }
        catch (JsonException error)
        {
            throw new CheckpointException(source, $"is not valid JSON ({Position(error)})", error);
        }
    }

    /// <summary>Reads a whole file.</summary>
    internal static byte[] ReadBytes(string path, string adviceIfMissing = "")
    {
        try
        {
            return File.ReadAllBytes(path);
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            throw new CheckpointException(path, $"no such file{adviceIfMissing}", error);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CheckpointException(path, $"cannot be read ({error.Message})", error);
        }
    }

    internal static JsonElement RootObject(JsonDocument document, string source) => document.RootElement.ValueKind == JsonValueKind.Object
        ? document.RootElement
        : throw new CheckpointException(source, $"holds a JSON {document.RootElement.ValueKind.ToString().ToLowerInvariant()} where an object is needed");

    /// <summary>Where and what, without the parser's advice about its own options.</summary>
    private static string Position(JsonException error)
    {
        string what = error.Message.Split(" LineNumber", 2)[0].Split(" Path:", 2)[0].ReplaceLineEndings(" ").TrimEnd('.', ' ');
        return error.LineNumber is { } line ? $"line {line + 1}: {what}" : what;
    }
}

/// <summary>Typed look-ups in one JSON object; each failure is one line naming file, key and value.</summary>
internal sealed class JsonKeys(JsonElement root, string source)
{
    internal CheckpointException Error(string problem) => new(source, problem);

    /// <summary>Whether the key is there, null included.</summary>
    internal bool Has(string key) => root.TryGetProperty(key, out _);

    internal JsonKeys? Object(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Object } value => new JsonKeys(value, source),
        { } value => throw Wrong(key, value, "an object"),
    };

    internal int Positive(string key) => OptionalPositive(key) ?? throw Error($"{key} is missing: it cannot be guessed");

    internal int? OptionalPositive(string key, string? remark = null) => OptionalInteger(key) is not { } value
        ? null
        : value > 0 ? value : throw Error($"{key} is {value}: it must be positive{(remark is null ? "" : $"; {remark}")}");

    internal int? OptionalInteger(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value when value.TryGetInt32(out int number) => number,
        { } value => throw Wrong(key, value, "a whole number"),
    };

    internal long? OptionalLong(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value when value.TryGetInt64(out long number) => number,
        { } value => throw Wrong(key, value, "a whole number"),
    };

    internal ulong? OptionalUnsigned(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value when value.TryGetUInt64(out ulong number) => number,
        { } value => throw Wrong(key, value, "a whole number from 0"),
    };

    internal double? OptionalNumber(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.Number } value => value.GetDouble(),
        { } value => throw Wrong(key, value, "a number"),
    };

    internal bool? OptionalBoolean(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.True } => true,
        { ValueKind: JsonValueKind.False } => false,
        { } value => throw Wrong(key, value, "true or false"),
    };

    /// <summary>The string under the key; null also when the value is a number, which another look-up reads.</summary>
    internal string? OptionalString(string key) => Find(key) switch
    {
        null or { ValueKind: JsonValueKind.Number } => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } value => throw Wrong(key, value, "a string"),
    };

    /// <summary>The string under the key; anything else but null is refused.</summary>
    internal string? OptionalText(string key) => Find(key) switch
    {
        null => null,
        { ValueKind: JsonValueKind.String } value => value.GetString(),
        { } value => throw Wrong(key, value, "a string"),
    };

    internal IReadOnlyList<string>? OptionalStrings(string key)
    {
        if (Find(key) is not { } value) return null;
        if (value.ValueKind != JsonValueKind.Array || value.EnumerateArray().Any(item => item.ValueKind != JsonValueKind.String))
            throw Wrong(key, value, "a list of strings");
        return [.. value.EnumerateArray().Select(item => item.GetString()!)];
    }

    internal Models.ValueList<int> IntegerOrList(string key)
    {
        if (Find(key) is not { } value) return [];
        if (value.ValueKind != JsonValueKind.Array) return [OptionalInteger(key)!.Value];
        List<int> numbers = [];
        foreach (JsonElement item in value.EnumerateArray())
        {
            if (item.ValueKind != JsonValueKind.Number || !item.TryGetInt32(out int number)) throw Wrong(key, value, "a whole number or a list of them");
            numbers.Add(number);
        }
        return Models.ValueList.Create<int>(numbers.ToArray());
    }

    /// <summary>Refuses keys that nothing reads: most often they are misspelt.</summary>
    internal void RefuseOthers(IReadOnlyCollection<string> known)
    {
        foreach (JsonProperty member in root.EnumerateObject())
        {
            if (!known.Contains(member.Name)) throw Error($"the key '{member.Name}' is not known; there are {string.Join(", ", known)}");
        }
    }

    /// <summary>Refuses any value but <paramref name="expected"/>; an absent key is fine.</summary>
    internal void Require(string key, string expected, string reason)
    {
        if (Find(key) is not { } value) return;
        if (value.ValueKind != JsonValueKind.String || value.GetString() != expected)
            throw Error($"{key} is {Short(value)}, not \"{expected}\": {reason}");
    }

    private JsonElement? Find(string key) =>
        root.TryGetProperty(key, out JsonElement value) && value.ValueKind != JsonValueKind.Null ? value : null;

    private CheckpointException Wrong(string key, JsonElement value, string wanted) => Error($"{key} is {Short(value)}: {wanted} is needed");

    private static string Short(JsonElement value)
    {
        string text = value.GetRawText().ReplaceLineEndings(" ");
        return text.Length <= 40 ? text : string.Concat(text.AsSpan(0, 40), "…");
    }
}
