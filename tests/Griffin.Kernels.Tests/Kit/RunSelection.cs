using NUnit.Framework.Interfaces;
using NUnit.Framework.Internal;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>Which tests a run takes, by names chosen before it.</summary>
internal sealed class RunSelection(ITestFilter filter, IReadOnlySet<string> names, Func<string, bool> wanted) : ITestFilter
{
    /// <summary>The tests below a node that a filter passes.</summary>
    public static IEnumerable<ITest> Tests(ITest node, ITestFilter filter) => node.IsSuite
        ? node.Tests.SelectMany(child => Tests(child, filter))
        : filter.Pass(node) ? [node] : [];

    /// <summary>
    /// One of several parts of some tests: whole fixtures, since tests of one share their kernels, dealt out from the largest on. The same in every process.
    /// </summary>
    public static HashSet<string> PartOf(IEnumerable<ITest> tests, int part, int parts)
    {
        var loads = new int[parts];
        HashSet<string> names = new(StringComparer.Ordinal);
        foreach (var fixture in tests.GroupBy(FixtureOf).OrderByDescending(group => group.Count()).ThenBy(group => group.Key, StringComparer.Ordinal))
        {
            var least = Array.IndexOf(loads, loads.Min());
            loads[least] += fixture.Count();
            if (least == part)
                names.UnionWith(fixture.Select(test => test.FullName));
        }

        return names;
    }

    public bool Pass(ITest test) => test.IsSuite ? test.Tests.Any(Pass) : names.Contains(test.FullName) && wanted(test.FullName);

    public bool IsExplicitMatch(ITest test) => filter.IsExplicitMatch(test) && Pass(test);

    public TNode ToXml(bool recursive) => filter.ToXml(recursive);

    public TNode AddToXml(TNode parentNode, bool recursive) => filter.AddToXml(parentNode, recursive);

    private static string FixtureOf(ITest test)
    {
        for (var node = test; node is not null; node = node.Parent)
        {
            if (node is TestFixture)
                return node.FullName;
        }

        return test.FullName;
    }
}
