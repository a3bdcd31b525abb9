using System.Globalization;

namespace Griffin.Kernels.Training.Report;

/// <summary>One axis of a chart: which numbers it spans, where its ticks are, and where a number lies.</summary>
internal sealed class ChartAxis
{
    private const int WantedTicks = 6;

    private readonly bool _log;
    private readonly double _low, _high;

    /// <summary>Plans an axis that spans all values it can show, to the next tick.</summary>
    /// <param name="values">What will be shown; on a logarithmic axis only what is positive counts, and never what is not finite.</param>
    /// <param name="log">Whether the axis is logarithmic.</param>
    internal ChartAxis(IEnumerable<double> values, bool log)
    {
        _log = log;
        double least = double.PositiveInfinity, most = double.NegativeInfinity;
        foreach (double value in values.Where(CanShow)) (least, most) = (Math.Min(least, value), Math.Max(most, value));
        if (least > most) (least, most) = log ? (1, 10) : (0, 1);
        (_low, _high, Ticks) = log ? PlanLog(least, most) : PlanLinear(least, most);
    }

    /// <summary>The numbers that have a line and a label.</summary>
    internal IReadOnlyList<double> Ticks { get; }

    /// <summary>Whether a number has a place on this kind of axis.</summary>
    internal bool CanShow(double value) => double.IsFinite(value) && (!_log || value > 0);

    /// <summary>Where a number lies: 0 at the low end, 1 at the high one.</summary>
    internal double Place(double value) => _log
        ? (Math.Log10(value) - Math.Log10(_low)) / (Math.Log10(_high) - Math.Log10(_low))
        : (value - _low) / (_high - _low);

    /// <summary>A tick's label.</summary>
    internal static string Label(double value)
    {
        double size = Math.Abs(value);
        (double unit, string suffix) = size switch
        {
            >= 1e15 => (0, ""),
            >= 1e12 => (1e12, "T"),
            >= 1e9 => (1e9, "G"),
            >= 1e6 => (1e6, "M"),
            >= 1e4 => (1e3, "k"),
            > 0 and < 1e-3 => (0, ""),
            _ => (1, ""),
        };
        return unit == 0 ? value.ToString("0.###e0", CultureInfo.InvariantCulture) : (value / unit).ToString("0.######", CultureInfo.InvariantCulture) + suffix;
    }

    private static (double Low, double High, IReadOnlyList<double> Ticks) PlanLinear(double least, double most)
    {
        if (least == most)
        {
            double room = least == 0 ? 1 : Math.Abs(least) / 10;
            (least, most) = (least - room, most + room);
        }
        double step = NiceStep((most - least) / WantedTicks);
        double first = Math.Floor(least / step), last = Math.Ceiling(most / step);
        List<double> ticks = [];
        for (double tick = first; tick <= last; tick++) ticks.Add(tick * step);
        return (ticks[0], ticks[^1], ticks);
    }

    /// <summary>The next of 1, 2, 5 times a power of ten.</summary>
    private static double NiceStep(double step)
    {
        double power = Math.Pow(10, Math.Floor(Math.Log10(step))), times = step / power;
        return power * (times <= 1.0000001 ? 1 : times <= 2.0000001 ? 2 : times <= 5.0000001 ? 5 : 10);
    }

    private static (double Low, double High, IReadOnlyList<double> Ticks) PlanLog(double least, double most)
    {
        int decades = (int)Math.Ceiling(Math.Log10(most / least));
        double[] marks = decades <= 2 ? [1, 2, 5] : [1];
        int stride = Math.Max(1, decades / WantedTicks);
        List<double> all = [];
        int first = (int)Math.Floor(Math.Log10(least)) - 1, last = (int)Math.Ceiling(Math.Log10(most)) + stride;
        for (int decade = first; decade <= last; decade += stride) all.AddRange(marks.Select(mark => mark * Math.Pow(10, decade)));
        double low = all.Last(mark => mark <= least * 1.0000001), high = all.First(mark => mark >= most / 1.0000001 && mark > low);
        return (low, high, [.. all.Where(mark => mark >= low && mark <= high)]);
    }
}
