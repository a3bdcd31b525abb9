using System.Globalization;
using System.Net;
using System.Text;

namespace Griffin.Kernels.Training.Report;

/// <summary>One line of a chart.</summary>
/// <param name="Name">Its name in the legend.</param>
/// <param name="Points">Its points in drawing order; where one cannot be shown, the line is broken.</param>
public sealed record ChartSeries(string Name, IReadOnlyList<(double X, double Y)> Points);

/// <summary>A line chart as SVG, readable on a light and on a dark ground.</summary>
public sealed record LineChart
{
    private const int Width = 720, Height = 400, Left = 78, Right = 16, TitleBottom = 34, Bottom = 56, LegendLine = 18;
    private const int MostPoints = 2 * (Width - Left - Right);

    // Colours that differ for colour-blind eyes too (Okabe and Ito), dark enough for white and light enough for black.
    private static readonly string[] colours = ["#0072b2", "#d55e00", "#009e73", "#cc79a7", "#b58900", "#56b4e9", "#8a6fd1", "#7f7f7f"];

    /// <summary>What stands above.</summary>
    public required string Title { get; init; }

    /// <summary>What the horizontal axis measures.</summary>
    public required string XTitle { get; init; }

    /// <summary>What the vertical axis measures.</summary>
    public required string YTitle { get; init; }

    /// <summary>The lines.</summary>
    public required IReadOnlyList<ChartSeries> Series { get; init; }

    /// <summary>Whether the horizontal axis is logarithmic.</summary>
    public bool LogX { get; init; }

    /// <summary>Whether the vertical axis is logarithmic.</summary>
    public bool LogY { get; init; }

    /// <summary>Whether each point has a dot.</summary>
    public bool Markers { get; init; }

    /// <summary>Draws the chart: one <c>svg</c> element, good as a file of its own and inside HTML.</summary>
    public string ToSvg()
    {
        ChartAxis x = new(Series.SelectMany(series => series.Points).Select(point => point.X), LogX);
        ChartAxis y = new(Series.SelectMany(series => series.Points).Select(point => point.Y), LogY);
        StringBuilder svg = new();
        svg.AppendLine(Invariant($"<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {Width} {Height}\" width=\"{Width}\" height=\"{Height}\" role=\"img\" class=\"chart\">"));
        svg.AppendLine(Invariant($"<title>{Escape(Title)}</title>"));
        svg.AppendLine("""
            <style>
            .chart { color: #1b1b1b; background: #ffffff; font: 12px sans-serif; }
            .chart text { fill: currentColor; }
            .chart .grid { stroke: currentColor; stroke-opacity: 0.15; }
            .chart .frame { stroke: currentColor; stroke-opacity: 0.6; fill: none; }
            .chart .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
            @media (prefers-color-scheme: dark) { .chart { color: #e6e6e6; background: #16181c; } }
            </style>
            """);
        AppendText(svg, Width / 2.0, 22, "middle", Title, "font-size=\"15\"");
        AppendAxes(svg, x, y);
        for (int i = 0; i < Series.Count; i++) AppendSeries(svg, Series[i], colours[i % colours.Length], x, y);
        AppendLegend(svg);
        return svg.AppendLine("</svg>").Replace("\r\n", "\n").ToString();
    }

    /// <summary>Where the plot begins: below the title and the legend.</summary>
    private int Top => TitleBottom + LegendLine * (Legend().Select(item => item.Line).DefaultIfEmpty(-1).Max() + 1) + 6;

    private static double XOf(ChartAxis x, double value) => Left + x.Place(value) * (Width - Left - Right);

    private double YOf(ChartAxis y, double value) => Height - Bottom - y.Place(value) * (Height - Top - Bottom);

    private void AppendAxes(StringBuilder svg, ChartAxis x, ChartAxis y)
    {
        foreach (double tick in x.Ticks)
        {
            double at = XOf(x, tick);
            svg.AppendLine(Invariant($"<line class=\"grid\" x1=\"{at:F1}\" y1=\"{Top}\" x2=\"{at:F1}\" y2=\"{Height - Bottom}\"/>"));
            AppendText(svg, at, Height - Bottom + 17, "middle", ChartAxis.Label(tick));
        }
        foreach (double tick in y.Ticks)
        {
            double at = YOf(y, tick);
            svg.AppendLine(Invariant($"<line class=\"grid\" x1=\"{Left}\" y1=\"{at:F1}\" x2=\"{Width - Right}\" y2=\"{at:F1}\"/>"));
            AppendText(svg, Left - 7, at + 4, "end", ChartAxis.Label(tick));
        }
        svg.AppendLine(Invariant($"<rect class=\"frame\" x=\"{Left}\" y=\"{Top}\" width=\"{Width - Left - Right}\" height=\"{Height - Top - Bottom}\"/>"));
        AppendText(svg, (Left + Width - Right) / 2.0, Height - 14, "middle", XTitle);
        double middle = (Top + Height - Bottom) / 2.0;
        AppendText(svg, 18, middle, "middle", YTitle, Invariant($"transform=\"rotate(-90 18 {middle:F1})\""));
    }

    private void AppendSeries(StringBuilder svg, ChartSeries series, string colour, ChartAxis x, ChartAxis y)
    {
        List<(double X, double Y)> run = [];
        foreach ((double px, double py) in series.Points.Append((double.NaN, double.NaN)))
        {
            if (x.CanShow(px) && y.CanShow(py))
            {
                run.Add((XOf(x, px), YOf(y, py)));
                continue;
            }
            if (run.Count > 0) AppendRun(svg, Thin(run), colour, dots: Markers || run.Count == 1);
            run.Clear();
        }
    }

    private static void AppendRun(StringBuilder svg, List<(double X, double Y)> run, string colour, bool dots)
    {
        if (run.Count > 1)
        {
            string points = string.Join(' ', run.Select(point => Invariant($"{point.X:F1},{point.Y:F1}")));
            svg.AppendLine(Invariant($"<polyline class=\"line\" stroke=\"{colour}\" points=\"{points}\"/>"));
        }
        if (!dots) return;
        foreach ((double px, double py) in run) svg.AppendLine(Invariant($"<circle cx=\"{px:F1}\" cy=\"{py:F1}\" r=\"3\" fill=\"{colour}\"/>"));
    }

    /// <summary>Of more points than can be seen, the lowest and the highest of each small group, so that no spike is lost.</summary>
    private static List<(double X, double Y)> Thin(List<(double X, double Y)> run)
    {
        if (run.Count <= MostPoints) return run;
        int group = (run.Count + MostPoints / 2 - 1) / (MostPoints / 2);
        return [.. run.Chunk(group).SelectMany(points =>
        {
            (double X, double Y) low = points.MinBy(point => point.Y), high = points.MaxBy(point => point.Y);
            return low.X <= high.X ? [low, high] : new[] { high, low };
        })];
    }

    private void AppendLegend(StringBuilder svg)
    {
        foreach ((int series, double left, int line) in Legend())
        {
            int at = TitleBottom + LegendLine * line + LegendLine / 2;
            svg.AppendLine(Invariant($"<line class=\"line\" stroke=\"{colours[series % colours.Length]}\" x1=\"{left:F1}\" y1=\"{at}\" x2=\"{left + 22:F1}\" y2=\"{at}\"/>"));
            AppendText(svg, left + 28, at + 4, "start", Series[series].Name);
        }
    }

    /// <summary>The places of the legend's items, beside one another as long as they fit by a generous guess of their width.</summary>
    private List<(int Series, double Left, int Line)> Legend()
    {
        List<(int, double, int)> items = [];
        double left = Left;
        int line = 0;
        for (int series = 0; series < Series.Count; series++)
        {
            double width = 48 + 7 * Series[series].Name.Length;
            if (left > Left && left + width > Width - Right) (left, line) = (Left, line + 1);
            items.Add((series, left, line));
            left += width;
        }
        return items;
    }

    private static void AppendText(StringBuilder svg, double x, double y, string anchor, string text, string attributes = "") =>
        svg.AppendLine(Invariant($"<text x=\"{x:F1}\" y=\"{y:F1}\" text-anchor=\"{anchor}\"{(attributes.Length > 0 ? " " : "")}{attributes}>{Escape(text)}</text>"));

    private static string Escape(string text) => WebUtility.HtmlEncode(text);

    private static string Invariant(FormattableString text) => text.ToString(CultureInfo.InvariantCulture);
}
