using Spectre.Console;

namespace Griffin.Cli;

/// <summary>Tables as plain text, as wide as their content: results go to files and pipes too.</summary>
internal static class TextTables
{
    private const int WidestLine = 4096;

    internal static void Write(TextWriter output, Table table)
    {
        IAnsiConsole console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(output),
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        console.Profile.Width = WidestLine;
        console.Write(table);
    }
}
