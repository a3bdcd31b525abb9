using System.CommandLine;
using Griffin.Cli.Verbs;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;

namespace Griffin.Cli;

/// <summary>The whole command: parsing, one-line errors, and the verbs.</summary>
internal static class GriffinCommand
{
    /// <summary>Runs a command line.</summary>
    /// <param name="args">The arguments.</param>
    /// <param name="streams">Where to write.</param>
    /// <param name="cancellationToken">Ends the work in good order.</param>
    /// <returns>An exit code.</returns>
    internal static async Task<int> RunAsync(string[] args, CliStreams streams, CancellationToken cancellationToken = default)
    {
        try
        {
            RootCommand root = Build(streams);
            // "@" and clustered letters mean themselves: prompts may begin with anything.
            ParseResult parsed = root.Parse(args, new ParserConfiguration { ResponseFileTokenReplacer = null, EnablePosixBundling = false });
            if (parsed.Errors.Count > 0 || parsed.Action is null) throw new CliException(Problem(root, parsed));
            InvocationConfiguration invocation = new()
            {
                Output = streams.Output,
                Error = streams.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            };
            return await parsed.InvokeAsync(invocation, cancellationToken);
        }
        catch (Exception error)
        {
            (int code, string line) = Describe(error);
            await streams.Error.WriteLineAsync($"griffin: {line}");
            return code;
        }
    }

    private static RootCommand Build(CliStreams streams)
    {
        CommonOptions common = new();
        RootCommand root = new("Runs Griffin, Hawk and RecurrentGemma models with CUDA kernels compiled at run time, on a GPU or on the emulator.");
        common.AddTo(root);
        foreach (Verb verb in (Verb[])[new DoctorVerb(), new GenerateVerb(), new LogitsVerb(), new ScoreVerb(), new InitVerb(), new TrainVerb(), new ExperimentVerb(), new KernelsVerb(), new TuneVerb()])
            root.Add(verb.Build(common, streams));
        return root;
    }

    /// <summary>The first thing wrong with a command line.</summary>
    private static string Problem(RootCommand root, ParseResult parsed)
    {
        string verbs = string.Join(", ", root.Subcommands.Select(command => command.Name));
        string? unmatched = parsed.UnmatchedTokens.Count > 0 ? parsed.UnmatchedTokens[0] : null;
        if (parsed.CommandResult.Command == root)
        {
            return unmatched is null ? $"say a verb: {verbs}"
                : unmatched.StartsWith('-') ? $"unknown option '{unmatched}' before a verb; the verbs are {verbs}"
                : $"unknown verb '{unmatched}'; there are {verbs}";
        }
        if (unmatched is not null)
        {
            string what = unmatched.StartsWith('-') ? "unknown option" : "nothing takes the argument";
            return $"{what} '{unmatched}' of {parsed.CommandResult.Command.Name}; see griffin {parsed.CommandResult.Command.Name} --help";
        }
        return FirstLine(parsed.Errors[0].Message).TrimEnd('.');
    }

    /// <summary>The exit code and the one line of an error. Nothing here prints a stack trace, whatever went wrong.</summary>
    private static (int Code, string Line) Describe(Exception error) => error switch
    {
        CliException refused => (refused.ExitCode, FirstLine(error.Message)),
        OperationCanceledException => (ExitCode.Cancelled, "cancelled"),
        ArgumentException argument => (ExitCode.Failure, FirstLine(WithoutParameter(argument))),
        CheckpointException or IOException or UnauthorizedAccessException or DeviceUnavailableException or GpuException or KernelCompilationException
            or NotSupportedException or TrainingInputException or TrainingStoppedException => (ExitCode.Failure, FirstLine(error.Message)),
        OutOfMemoryException => (ExitCode.Failure, "not enough memory"),
        AggregateException { InnerExceptions: [Exception inner, ..] } => Describe(inner),
        _ => (ExitCode.Failure, $"unexpected {error.GetType().Name}: {FirstLine(error.Message)}"),
    };

    /// <summary>The message without the name of the method parameter, which means nothing here.</summary>
    private static string WithoutParameter(ArgumentException error) => error.ParamName is { } name
        ? error.Message.Replace($" (Parameter '{name}')", "", StringComparison.Ordinal)
        : error.Message;

    private static string FirstLine(string message) => message.AsSpan().Trim().EnumerateLines() is var lines && lines.MoveNext() ? lines.Current.ToString() : "";
}
