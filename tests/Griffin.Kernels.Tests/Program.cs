using System.Diagnostics;
using System.Globalization;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.RegularExpressions;
using Griffin.Cli;
using Griffin.Kernels.Runtime;
using NUnit.Framework.Api;
using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Griffin.Kernels.Tests;

/// <summary>
/// Runs the tests without the test platform, so that one self-contained folder can be carried to a machine with a GPU and no .NET.
/// <c>dotnet test</c> does not come here.
/// </summary>
internal static class Program
{
    private const string Usage =
        """
        usage: Griffin.Kernels.Tests [--device auto|cuda[:N]|emulator] [--provider direct|managedcuda] [--filter REGEX]... [--first REGEX] [--part I/N]
                                     [--journal FILE] [--test-seconds N] [--list] [--verbose]
          --device   where kernels run (default: auto: a GPU when there is one, else the emulator)
          --provider how CUDA is reached (default: direct)
          --filter   run only tests whose full name matches; may be repeated
          --first    run tests whose full name matches before the others
          --part     run only the I-th of N parts: whole fixtures, for N processes that share a machine
          --journal  note every test in FILE, and leave out those that it has: a run that a test ended goes on behind it when it is started anew
          --test-seconds  end the process when a test takes longer: a kernel that hangs cannot be stopped otherwise
          --list     print the names of the tests and stop
          --verbose  print every test as it ends, not only those that fail
        The exit code is 0, 1 when tests failed, 2 when nothing could run, and 75 when a fault took the GPU: start the run anew, on its journal, to go on.
        """;

    private const int StartAnew = 75;

    private static int Main(string[] args)
    {
        var device = "auto";
        var provider = TestDevices.ProviderName;
        var patterns = new List<string>();
        var (list, verbose) = (false, false);
        var (first, journalPath) = (default(string), default(string));
        var (part, parts, seconds) = (1, 1, 0);
        for (var i = 0; i < args.Length; i++)
        {
            switch (args[i])
            {
                case "--device" when i + 1 < args.Length:
                    device = args[++i];
                    break;
                case "--provider" when i + 1 < args.Length:
                    provider = args[++i];
                    break;
                case "--filter" when i + 1 < args.Length:
                    patterns.Add(args[++i]);
                    break;
                case "--first" when i + 1 < args.Length:
                    first = args[++i];
                    break;
                case "--part" when i + 1 < args.Length && TryPart(args[i + 1], out part, out parts):
                    i++;
                    break;
                case "--journal" when i + 1 < args.Length:
                    journalPath = args[++i];
                    break;
                case "--test-seconds" when i + 1 < args.Length && int.TryParse(args[i + 1], NumberStyles.None, CultureInfo.InvariantCulture, out seconds):
                    i++;
                    break;
                case "--list":
                    list = true;
                    break;
                case "--verbose":
                    verbose = true;
                    break;
                default:
                    Console.Error.WriteLine(args[i] is "--help" or "-h" ? Usage : $"{args[i]}: not understood\n{Usage}");
                    return args[i] is "--help" or "-h" ? 0 : 2;
            }
        }

        var runner = new NUnitTestAssemblyRunner(new DefaultTestAssemblyBuilder());
        // Events on the thread of the test: when one has ended, nothing of the next has run.
        var root = runner.Load(Assembly.GetExecutingAssembly(), new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0, ["SynchronousEvents"] = true });
        var filter = TestFilter.FromXml(FilterXml(patterns));
        var names = RunSelection.PartOf(RunSelection.Tests(root, filter), part - 1, parts);
        if (list)
        {
            foreach (var test in RunSelection.Tests(root, filter).Where(test => names.Contains(test.FullName)))
                Console.Out.WriteLine(test.FullName);
            return 0;
        }

        try
        {
            TestDevices.Choose(device, provider);
            Console.Error.WriteLine(TestDevices.Describe());
        }
        catch (Exception e) when (e is DeviceUnavailableException or CliException)
        {
            Console.Error.WriteLine(e.Message);
            return 2;
        }

        var journal = new RunJournal(journalPath);
        foreach (var name in journal.Interrupted)
            Console.Out.WriteLine($"FAILED {name}\nthe run ended in this test");
        using var stop = PosixSignalRegistration.Create(PosixSignal.SIGTERM, _ => journal.Stop());
        using var listener = new ConsoleListener(verbose, journal, seconds);
        var failed = false;
        foreach (var isFirst in first is null ? [false] : new[] { true, false })
        {
            var selection = new RunSelection(filter, names, name => !journal.Has(name) && (first is null || Regex.IsMatch(name, first) == isFirst));
            if (selection.Pass(root))
                failed |= runner.Run(listener, selection).ResultState.Status == TestStatus.Failed;
        }

        var passed = journal.Count(TestStatus.Passed) + journal.Count(TestStatus.Warning);
        var failures = journal.Count(TestStatus.Failed);
        Console.Out.WriteLine($"{passed} passed, {failures} failed, {journal.Count(TestStatus.Skipped) + journal.Count(TestStatus.Inconclusive)} skipped");
        return failures == 0 && !failed && passed > 0 ? 0 : 1;
    }

    private static bool TryPart(string text, out int part, out int parts)
    {
        (part, parts) = (0, 0);
        return text.Split('/') is [var first, var second] && int.TryParse(first, NumberStyles.None, CultureInfo.InvariantCulture, out part)
            && int.TryParse(second, NumberStyles.None, CultureInfo.InvariantCulture, out parts) && part >= 1 && part <= parts;
    }

    private static string FilterXml(List<string> patterns) => patterns.Count == 0
        ? "<filter/>"
        : $"<filter><or>{string.Concat(patterns.Select(p => $"<test re='1'>{System.Security.SecurityElement.Escape(p)}</test>"))}</or></filter>";

    /// <summary>Prints failures and reasons of skipped tests as they happen, notes what has run, and ends a process that cannot go on.</summary>
    private sealed class ConsoleListener : ITestListener, IDisposable
    {
        private readonly TextWriter _out = Console.Out;   // during a test that is the test's own
        private readonly bool _verbose;
        private readonly RunJournal _journal;
        private readonly TimeSpan _most;
        private readonly Timer _watchdog;
        private volatile string _running = "";

        public ConsoleListener(bool verbose, RunJournal journal, int seconds)
        {
            (_verbose, _journal) = (verbose, journal);
            _most = seconds > 0 ? TimeSpan.FromSeconds(seconds) : Timeout.InfiniteTimeSpan;
            _watchdog = new Timer(_ =>
            {
                _out.WriteLine($"{_running} did not end in {seconds} s: the run ends here; start it anew to go on");
                Process.GetCurrentProcess().Kill();
            });
        }

        public void Dispose() => _watchdog.Dispose();

        public void TestStarted(ITest test)
        {
            if (test.IsSuite)
                return;
            _running = test.FullName;
            _journal.Begin(test.FullName);
            _watchdog.Change(_most, Timeout.InfiniteTimeSpan);
        }

        public void TestFinished(ITestResult result)
        {
            var status = result.ResultState.Status;
            var ownFailure = result.ResultState.Site is not FailureSite.Child and not FailureSite.Parent;
            if (status == TestStatus.Failed && (!result.Test.IsSuite || ownFailure))
                _out.WriteLine($"FAILED {result.FullName}\n{result.Message}\n{result.StackTrace}");
            else if (!result.Test.IsSuite && (_verbose || status == TestStatus.Skipped))
                _out.WriteLine($"{status,-8} {result.FullName} {(status == TestStatus.Skipped ? result.Message : $"{result.Duration:F2} s")}");
            if (result.Test.IsSuite)
                return;
            _watchdog.Change(Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
            _journal.End(result.FullName, status);
            if (status != TestStatus.Failed || TestDevices.IsEmulator || (!result.Message.Contains(nameof(DeviceLostException), StringComparison.Ordinal) && TestDevices.Answers()))
                return;
            // CUDA gives a process that has lost its context no other one that works.
            _out.WriteLine("the GPU is lost to this process: the run ends here; start it anew to go on");
            Environment.Exit(StartAnew);
        }

        public void TestOutput(TestOutput output) => _out.Write(output.Text);

        public void SendMessage(TestMessage message) => _out.WriteLine(message.Message);
    }
}
