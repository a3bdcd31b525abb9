using Griffin.Bench.Predictions;
using Griffin.Bench.Rows;

namespace Griffin.Kernels.Tests.Bench;

[TestFixture]
internal sealed class PredictionTableTests
{
    /// <summary>What bench/NOTES.md says is predicted is what the model of each kernel says. Measured times are the results' and may be there or not.</summary>
    [Test]
    public void TheNotesShowWhatIsPredicted()
    {
        if (Repository.Root is not { } root)
        {
            Assert.Ignore("no source tree here");
            return;
        }

        var table = PredictionTable.Of(RowList.Load(RowList.DefaultPath, BenchScale.Full), new Dictionary<string, double>());
        string[] expected = [.. table.TrimEnd().Split('\n').Select(WithoutMeasurement)];
        string[] notes = [.. File.ReadAllLines(Path.Combine(root, "bench", "NOTES.md")).Select(WithoutMeasurement)];
        var first = Array.IndexOf(notes, expected[0]);
        Assert.That(first, Is.Not.Negative, "the table is not there");
        Assert.That(notes.Skip(first).TakeWhile(line => line.Length > 0), Is.EqualTo(expected), "print it anew: Griffin.Bench predict [RESULTS...]");
    }

    private static string WithoutMeasurement(string line)
    {
        var cells = line.Split('|');
        return cells.Length < 3 ? line : string.Join('|', cells[..^2]);
    }
}
