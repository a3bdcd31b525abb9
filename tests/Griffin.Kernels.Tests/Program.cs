using System.Reflection;
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
        usage: Griffin.Kernels.Tests [--device auto|cuda[:N]|emulator] [--provider direct|managedcuda] [--filter REGEX]... [--list] [--verbose]
          --device   where kernels run (default: auto: a GPU when there is one, else the emulator)
          --provider how CUDA is reached (default: direct)
          --filter   run only tests whose full name matches; may be repeated
          --list     print the names of the tests and stop
          --verbose  print every test as it ends, not only those that fail
        """;

    private static int Main(string[] args)
    {
        var device = "auto";
        var provider = TestDevices.ProviderName;
        var patterns = new List<string>();
        var (list, verbose) = (false, false);
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
        var root = runner.Load(Assembly.GetExecutingAssembly(), new Dictionary<string, object> { ["NumberOfTestWorkers"] = 0 });
        var filter = TestFilter.FromXml(FilterXml(patterns));
        if (list)
        {
            foreach (var name in Names(root, filter))
                Console.Out.WriteLine(name);
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

        var result = runner.Run(new ConsoleListener(verbose), filter);
        Console.Out.WriteLine($"{result.PassCount} passed, {result.FailCount} failed, {result.SkipCount + result.InconclusiveCount} skipped");
        return result.FailCount == 0 && result.ResultState.Status != TestStatus.Failed && result.PassCount > 0 ? 0 : 1;
    }

    private static string FilterXml(List<string> patterns) => patterns.Count == 0
        ? "<filter/>"
        : $"<filter><or>{string.Concat(patterns.Select(p => $"<test re='1'>{System.Security.SecurityElement.Escape(p)}</test>"))}</or></filter>";

    private static IEnumerable<string> Names(ITest test, ITestFilter filter) => test.IsSuite
        ? test.Tests.SelectMany(child => Names(child, filter))
        : filter.Pass(test) ? [test.FullName] : [];

    /// <summary>Prints failures and reasons of skipped tests as they happen.</summary>
    private sealed class ConsoleListener(bool verbose) : ITestListener
    {
        public void TestStarted(ITest test)
        {
        }

        public void TestFinished(ITestResult result)
        {
            var status = result.ResultState.Status;
            var ownFailure = result.ResultState.Site is not FailureSite.Child and not FailureSite.Parent;
            if (status == TestStatus.Failed && (!result.Test.IsSuite || ownFailure))
                Console.Out.WriteLine($"FAILED {result.FullName}\n{result.Message}\n{result.StackTrace}");
            else if (!result.Test.IsSuite && (verbose || status == TestStatus.Skipped))
                Console.Out.WriteLine($"{status,-8} {result.FullName} {(status == TestStatus.Skipped ? result.Message : $"{result.Duration:F2} s")}");
        }

        public void TestOutput(TestOutput output) => Console.Out.Write(output.Text);

        public void SendMessage(TestMessage message) => Console.Out.WriteLine(message.Message);
    }
}
