namespace Griffin.Kernels.Tests.Cli;

/// <summary>Interrupts the command as soon as it has written something.</summary>
internal sealed class InterruptingWriter(string enough, CancellationTokenSource cancelled) : StringWriter
{
    public override void Write(string? value)
    {
        base.Write(value);
        if (ToString().Contains(enough, StringComparison.Ordinal)) cancelled.Cancel();
    }

    public override void WriteLine(string? value) => Write($"{value}\n");
}
