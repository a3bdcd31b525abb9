namespace Griffin.Bench.Report;

internal static class ReportCommand
{
    public static int Run(IReadOnlyList<string> args) => args.Count;
}
