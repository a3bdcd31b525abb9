using System.Globalization;
using System.Xml.Linq;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Report;

namespace Griffin.Kernels.Tests.Training;

internal sealed class ReportTests
{
    private static readonly XNamespace svg = "http://www.w3.org/2000/svg";

    private static LineChart Chart(params (double X, double Y)[] points) =>
        new() { Title = "A & B <c>", XTitle = "steps", YTitle = "loss \"nats\"", Series = [new ChartSeries("Griffin", points)] };

    private static XElement Draw(LineChart chart) => XDocument.Parse(chart.ToSvg()).Root!;

    private static (double X, double Y)[][] Lines(XElement chart) =>
        [.. chart.Elements(svg + "polyline").Select(line => line.Attribute("points")!.Value.Split(' ').Select(point =>
        {
            double[] numbers = [.. point.Split(',').Select(number => double.Parse(number, CultureInfo.InvariantCulture))];
            return (numbers[0], numbers[1]);
        }).ToArray())];

    private static string[] Texts(XElement chart) => [.. chart.Elements(svg + "text").Select(text => text.Value)];

    [Test]
    public void A_chart_is_XML_with_titles_legend_and_ticks()
    {
        XElement chart = Draw(Chart((0, 0), (50, 3), (100, 6)));
        Assert.That(chart.Name, Is.EqualTo(svg + "svg"));
        Assert.That(Texts(chart), Is.SupersetOf(new[] { "A & B <c>", "steps", "loss \"nats\"", "Griffin", "0", "20", "40", "100", "1", "6" }));
        Assert.That(chart.Element(svg + "style")!.Value, Does.Contain("prefers-color-scheme: dark"));
    }

    [Test]
    public void Points_lie_where_the_axes_say()
    {
        (double X, double Y)[] line = Lines(Draw(Chart((0, 0), (25, 3), (100, 6)))).Single();
        XElement frame = Draw(Chart((0, 0), (25, 3), (100, 6))).Element(svg + "rect")!;
        double Of(string name) => double.Parse(frame.Attribute(name)!.Value, CultureInfo.InvariantCulture);
        (double left, double top, double width, double height) = (Of("x"), Of("y"), Of("width"), Of("height"));
        Assert.That(line.Select(point => (point.X - left) / width), Is.EqualTo(new[] { 0, 0.25, 1 }).Within(1e-3));
        Assert.That(line.Select(point => (top + height - point.Y) / height), Is.EqualTo(new[] { 0, 0.5, 1 }).Within(1e-3));
    }

    [Test]
    public void Logarithmic_axes_are_even_in_ratios()
    {
        XElement chart = Draw(Chart((1, 0.01), (10, 0.1), (100, 1), (10000, 100)) with { LogX = true, LogY = true });
        (double X, double Y)[] line = Lines(chart).Single();
        Assert.That((line[1].X - line[0].X, line[3].X - line[2].X), Is.EqualTo((line[2].X - line[1].X, 2 * (line[2].X - line[1].X))).Using<(double, double)>(Near));
        Assert.That((line[0].Y - line[1].Y, line[2].Y - line[3].Y), Is.EqualTo((line[1].Y - line[2].Y, 2 * (line[1].Y - line[2].Y))).Using<(double, double)>(Near));
        Assert.That(Texts(chart), Is.SupersetOf(new[] { "1", "10", "100", "1000", "10k", "0.01" }));
        static bool Near((double A, double B) one, (double A, double B) other) => Math.Abs(one.A - other.A) < 0.3 && Math.Abs(one.B - other.B) < 0.3;
    }

    [Test]
    public void Narrow_logarithmic_axes_have_ticks_between_decades() =>
        Assert.That(Texts(Draw(Chart((1, 3), (2, 30)) with { LogY = true })), Is.SupersetOf(new[] { "2", "5", "10", "20", "50" }));

    [Test]
    public void What_cannot_be_shown_breaks_the_line()
    {
        XElement chart = Draw(Chart((1, 1), (2, 2), (3, double.NaN), (4, 3), (5, 0), (6, 4), (7, 5)) with { LogY = true });
        Assert.That(Lines(chart).Select(line => line.Length), Is.EqualTo(new[] { 2, 2 }));
        Assert.That(chart.Elements(svg + "circle").Count(), Is.EqualTo(1), "a point alone is a dot");
        Assert.That(Draw(Chart((1, 1), (2, 2)) with { Markers = true }).Elements(svg + "circle").Count(), Is.EqualTo(2));
    }

    [Test]
    public void Odd_data_still_makes_a_chart()
    {
        Assert.Multiple(() =>
        {
            foreach (bool log in (bool[])[false, true])
            {
                foreach ((double, double)[] points in ((double, double)[][])[[], [(1, 1)], [(0, 0)], [(5, 5), (6, 5)], [(-3, -7), (-2, -7)], [(1, double.NaN)], [(1e-30, 1e30), (1, 1e-30)]])
                {
                    XElement chart = Draw(Chart(points) with { LogX = log, LogY = log });
                    Assert.That(chart.ToString(), Does.Not.Contain("NaN").And.Not.Contain("∞"));
                    Assert.That(Texts(chart), Has.Length.InRange(6, 60));
                }
            }
        });
    }

    [TestCase(1, 1)]
    [TestCase(4, 1)]
    [TestCase(9, 3)]
    public void The_legend_has_its_place_above_the_plot(int count, int lines)
    {
        XElement chart = Draw(Chart() with { Series = [.. Enumerable.Range(0, count).Select(i => new ChartSeries($"a model named {i}", [(0, 0), (1, 1)]))] });
        double top = double.Parse(chart.Element(svg + "rect")!.Attribute("y")!.Value, CultureInfo.InvariantCulture);
        (double X, double Y)[] names = [.. chart.Elements(svg + "text").Where(text => text.Value.StartsWith("a model", StringComparison.Ordinal)).Select(text =>
            (double.Parse(text.Attribute("x")!.Value, CultureInfo.InvariantCulture), double.Parse(text.Attribute("y")!.Value, CultureInfo.InvariantCulture)))];
        Assert.That(names, Is.Unique.And.Length.EqualTo(count));
        Assert.That(names.Select(name => name.Y).Distinct().Count(), Is.EqualTo(lines));
        Assert.That(names.Max(name => name.Y), Is.LessThan(top));
        Assert.That(names.Max(name => name.X), Is.LessThan(720 - 7 * 15));
    }

    [Test]
    public void Of_many_points_the_spikes_stay()
    {
        (double, double)[] points = [.. Enumerable.Range(0, 100_000).Select(i => ((double)i, i == 54_321 ? 50.0 : 1.0 + i % 2))];
        (double X, double Y)[] line = Lines(Draw(Chart(points))).Single();
        Assert.That(line, Has.Length.LessThan(3000));
        Assert.That(line.Count(point => point.Y < 100), Is.EqualTo(1));
        Assert.That(line.Select(point => point.X), Is.Ordered);
    }

    [Test]
    public void A_report_is_one_file_with_its_curves()
    {
        using TempFolder folder = new();
        StepReport[] steps = [.. Enumerable.Range(1, 40).Select(step => new StepReport(step, step * 100L, 5.0 / step, 1, 1e-3, 1, 1000 + step, null, step % 10 == 0 ? 1.5 : null))];
        TrainingReport.Build("run <1>", [("model", "a & b")], steps).Save(folder.File("report.html"));
        string page = File.ReadAllText(folder.File("report.html"));
        XElement html = XDocument.Parse(page.Replace("<!DOCTYPE html>", "").Replace("<meta charset=\"utf-8\">", "").Replace("<meta name=\"viewport\" content=\"width=device-width\">", "")).Root!;
        Assert.That(html.Descendants(svg + "title").Select(title => title.Value), Is.EqualTo(new[] { "Loss", "Learning rate", "Gradient norm", "Speed" }));
        Assert.That(html.Descendants("h1").Single().Value, Is.EqualTo("run <1>"));
        Assert.That(html.Descendants("td").Select(cell => cell.Value), Is.EqualTo(
            new[] { "model", "a & b", "steps", "40", "tokens", "4,000", "last loss", "0.1250 nats per token", "last held-out loss", "1.5000 nats per token" }));
        Assert.That(Lines(html.Descendants(svg + "svg").First()).Select(line => line.Length), Is.EqualTo(new[] { 40, 4 }));
        Assert.That(page, Does.Not.Contain("<script").And.Not.Contain("href=").And.Not.Contain("src="), "nothing is fetched");
        Assert.That(TrainingReport.Build("empty", [], []).ToString(), Does.Contain("The log holds no step."));
    }

    [Test]
    public void A_table_refuses_rows_of_another_width() =>
        Assert.That(() => new HtmlPage("x").AddTable(["a", "b"], [["1"]]), Throws.ArgumentException);
}
