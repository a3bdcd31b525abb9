using System.Globalization;
using Griffin.Bench.Rows;

namespace Griffin.Bench;

/// <summary>What a run of rows is to do.</summary>
public sealed record BenchOptions
{
    /// <summary>The command's own help.</summary>
    public const string Usage =
        """
        usage: Griffin.Bench [--device auto|cuda[:N]|emulator] [--rows REGEX] [--scale full|tiny] [--out FILE] [--budget 8m] [--row-time 3m] [--round N] [--list-file FILE] [--list | --check]
               Griffin.Bench report FILE... --out FOLDER
               Griffin.Bench predict [FILE...]        the table of bench/NOTES.md: an H100's predicted times, and the measured ones of results
               Griffin.Bench training-step [key=value...]
               Griffin.Bench host [BenchmarkDotNet's options]
          --rows       only rows whose id matches; the ceilings always
          --scale      tiny: every size cut down, for rehearsals
          --out        results are appended; rows that are in it already do not run again (default: griffin.jsonl)
          --budget     no row begins after so much time: 90s, 8m (default: none)
          --row-time   a row that takes longer ends the process: a kernel that hangs cannot be stopped otherwise (default: 3m)
          --round      numbers the rounds of a comparison
          --list       prints the rows' ids and stops
          --check      only checks the kernels against float64, each at its reduced shape, and writes no results
        """;

    /// <summary>Where kernels run.</summary>
    public string Device { get; init; } = "auto";

    /// <summary>A regular expression on ids.</summary>
    public string? Rows { get; init; }

    /// <summary>At which sizes.</summary>
    public BenchScale Scale { get; init; }

    /// <summary>The results file.</summary>
    public string Out { get; init; } = "griffin.jsonl";

    /// <summary>After this no row begins.</summary>
    public TimeSpan Budget { get; init; } = TimeSpan.MaxValue;

    /// <summary>A row that takes longer ends the process.</summary>
    public TimeSpan RowTime { get; init; } = TimeSpan.FromMinutes(3);

    /// <summary>The round of a comparison.</summary>
    public int? Round { get; init; }

    /// <summary>The list of rows.</summary>
    public string ListFile { get; init; } = RowList.DefaultPath;

    /// <summary>Whether to print ids only.</summary>
    public bool List { get; init; }

    /// <summary>Whether to check kernels and time nothing.</summary>
    public bool Check { get; init; }

    /// <summary>Reads a command line.</summary>
    /// <exception cref="FormatException">It is not understood.</exception>
    public static BenchOptions Parse(IReadOnlyList<string> args)
    {
        ArgumentNullException.ThrowIfNull(args);
        BenchOptions options = new();
        for (int i = 0; i < args.Count; i++)
        {
            if (args[i] is "--list" or "--check")
            {
                options = args[i] == "--list" ? options with { List = true } : options with { Check = true };
                continue;
            }

            if (i + 1 == args.Count) throw new FormatException($"{args[i]}: not understood");
            string value = args[i + 1];
            options = args[i++] switch
            {
                "--device" => options with { Device = value },
                "--rows" => options with { Rows = value },
                "--scale" => options with { Scale = ScaleOf(value) },
                "--out" => options with { Out = value },
                "--budget" => options with { Budget = ParseTime(value) },
                "--row-time" => options with { RowTime = ParseTime(value) },
                "--round" => options with { Round = int.Parse(value, CultureInfo.InvariantCulture) },
                "--list-file" => options with { ListFile = value },
                var other => throw new FormatException($"{other}: not understood"),
            };
        }

        return options;
    }

    /// <summary>A number of seconds or minutes: <c>90s</c>, <c>8m</c>.</summary>
    /// <exception cref="FormatException">It is neither.</exception>
    public static TimeSpan ParseTime(string text)
    {
        ArgumentException.ThrowIfNullOrEmpty(text);
        if (!double.TryParse(text[..^1], NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out double number)) throw new FormatException($"'{text}' is no time: 90s, 8m");
        return text[^1] switch
        {
            's' => TimeSpan.FromSeconds(number),
            'm' => TimeSpan.FromMinutes(number),
            _ => throw new FormatException($"'{text}' is no time: 90s, 8m"),
        };
    }

    private static BenchScale ScaleOf(string text) => text switch
    {
        "full" => BenchScale.Full,
        "tiny" => BenchScale.Tiny,
        _ => throw new FormatException($"'{text}' is no scale: full, tiny"),
    };
}
