using System.CommandLine;

namespace Griffin.Cli.Verbs;

/// <summary>One verb of the command: its options as fields, its work in <see cref="RunAsync"/>.</summary>
internal abstract class Verb(string name, string description)
{
    private readonly List<Argument> _arguments = [];
    private readonly List<Option> _options = [];

    /// <summary>The command-line symbol of the verb.</summary>
    internal Command Build(CommonOptions common, CliStreams streams)
    {
        Command command = new(name, description);
        foreach (Argument argument in _arguments) command.Add(argument);
        foreach (Option option in _options) command.Add(option);
        command.SetAction((parsed, cancellationToken) => RunAsync(parsed, common.Read(parsed, streams), cancellationToken));
        return command;
    }

    /// <summary>Adds an option to the verb.</summary>
    protected TOption Add<TOption>(TOption option) where TOption : Option
    {
        _options.Add(option);
        return option;
    }

    /// <summary>Adds an argument to the verb.</summary>
    protected Argument<T> Add<T>(Argument<T> argument)
    {
        _arguments.Add(argument);
        return argument;
    }

    /// <summary>Does the work.</summary>
    /// <returns>An exit code.</returns>
    protected abstract Task<int> RunAsync(ParseResult parsed, CommonSettings settings, CancellationToken cancellationToken);
}
