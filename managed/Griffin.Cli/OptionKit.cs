using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using System.Numerics;
using Griffin.Kernels.Models;

namespace Griffin.Cli;

/// <summary>Options whose wrong values are answered in one line that says what is right.</summary>
internal static class OptionKit
{
    /// <summary>A number between two bounds.</summary>
    internal static Option<T?> Number<T>(string name, string description, T least, T most) where T : struct, INumber<T>, IMinMaxValue<T> =>
        new(name)
        {
            Description = description,
            HelpName = IsWhole<T>() ? "N" : "X",
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                if (T.TryParse(text, NumberStyles.Float & ~NumberStyles.AllowLeadingWhite & ~NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture, out T value)
                    && value >= least && value <= most)
                {
                    return value;
                }
                string range = most == T.MaxValue ? $"from {least}" : $"from {least} to {most}";
                string kind = IsWhole<T>() ? "a whole number" : "a number";
                result.AddError(string.Create(CultureInfo.InvariantCulture, $"{name} is '{text}': {kind} {range} is needed"));
                return null;
            },
        };

    private static bool IsWhole<T>() => typeof(T) != typeof(float) && typeof(T) != typeof(double);

    /// <summary>Refuses the empty word for a path.</summary>
    internal static TOption NotEmpty<TOption>(this TOption option) where TOption : Option
    {
        option.Validators.Add(result =>
        {
            if (result.Tokens.Count > 0 && result.Tokens[0].Value.Length == 0) result.AddError($"{option.Name} is empty: give a path");
        });
        return option;
    }

    /// <summary>One of some words.</summary>
    internal static Option<string?> Word(string name, string description, params string[] words) =>
        new(name)
        {
            Description = description,
            HelpName = string.Join('|', words),
            CustomParser = result =>
            {
                string text = result.Tokens[0].Value;
                if (!words.Contains(text)) result.AddError($"{name} is '{text}': it must be {string.Join(" or ", words)}");
                return text;
            },
        };

    /// <summary>Some files.</summary>
    internal static Option<string[]?> Files(string name, string description) =>
        new Option<string[]?>(name) { Description = description, HelpName = "FILE...", AllowMultipleArgumentsPerToken = true, Arity = ArgumentArity.OneOrMore }.NotEmpty();

    /// <summary>The full paths of the files on the command line; null when the option is not there.</summary>
    internal static ValueList<string>? Paths(ParseResult parsed, Option<string[]?> option) => parsed.GetResult(option) is null
        ? null
        : ValueList.Create<string>([.. parsed.GetValue(option)!.Select(Path.GetFullPath)]);

    /// <summary>A list of whole numbers, as 5,7,11.</summary>
    internal static Option<int[]?> Integers(string name, string description, int least) =>
        new(name)
        {
            Description = description,
            HelpName = "5,7,11",
            CustomParser = result => ParseList(name, result, least),
        };

    /// <summary>The list on the command line; null when the option is not there, where the parser itself would say empty.</summary>
    internal static int[]? GivenOrNull(this ParseResult parsed, Option<int[]?> option) => parsed.GetResult(option) is null ? null : parsed.GetValue(option);

    private static int[]? ParseList(string name, ArgumentResult result, int least)
    {
        string text = result.Tokens[0].Value;
        string[] parts = text.Split(',', StringSplitOptions.TrimEntries);
        if (text.Trim().Length == 0)
        {
            result.AddError($"{name} is empty: give at least one number, as in 5,7,11");
            return null;
        }
        int[] values = new int[parts.Length];
        for (int i = 0; i < values.Length; i++)
        {
            if (int.TryParse(parts[i], NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out values[i]) && values[i] >= least) continue;
            result.AddError($"{name} holds '{parts[i]}': whole numbers from {least} are needed, as in 5,7,11");
            return null;
        }
        return values;
    }
}
