using System.Net;
using System.Text;
using Griffin.Kernels.Checkpoints;

namespace Griffin.Kernels.Training.Report;

/// <summary>A page of headings, tables and charts in one file that needs no other.</summary>
public sealed class HtmlPage
{
    private readonly StringBuilder _body = new();
    private readonly string _title;

    /// <summary>Begins a page.</summary>
    /// <param name="title">Its title and first heading.</param>
    public HtmlPage(string title)
    {
        ArgumentNullException.ThrowIfNull(title);
        _title = title;
        _body.Append("<h1>").Append(Escape(title)).Append("</h1>\n");
    }

    /// <summary>Adds a paragraph.</summary>
    public HtmlPage AddText(string text)
    {
        _body.Append("<p>").Append(Escape(text)).Append("</p>\n");
        return this;
    }

    /// <summary>Adds a table.</summary>
    /// <param name="header">Its columns' titles.</param>
    /// <param name="rows">Its rows, each with a cell for every column.</param>
    public HtmlPage AddTable(IReadOnlyList<string> header, IEnumerable<IReadOnlyList<string>> rows)
    {
        ArgumentNullException.ThrowIfNull(header);
        ArgumentNullException.ThrowIfNull(rows);
        _body.Append("<table>\n<tr>").AppendJoin("", header.Select(cell => $"<th>{Escape(cell)}</th>")).Append("</tr>\n");
        foreach (IReadOnlyList<string> row in rows)
        {
            if (row.Count != header.Count) throw new ArgumentException($"A row has {row.Count} cells, the table {header.Count} columns.", nameof(rows));
            _body.Append("<tr>").AppendJoin("", row.Select(cell => $"<td>{Escape(cell)}</td>")).Append("</tr>\n");
        }
        _body.Append("</table>\n");
        return this;
    }

    /// <summary>Adds a chart.</summary>
    public HtmlPage AddChart(LineChart chart)
    {
        ArgumentNullException.ThrowIfNull(chart);
        _body.Append("<figure>\n").Append(chart.ToSvg()).Append("</figure>\n");
        return this;
    }

    /// <summary>The whole page.</summary>
    public override string ToString() => $$"""
        <!DOCTYPE html>
        <html lang="en">
        <head>
        <meta charset="utf-8">
        <meta name="viewport" content="width=device-width">
        <title>{{Escape(_title)}}</title>
        <style>
        :root { color-scheme: light dark; }
        body { font: 15px sans-serif; max-width: 760px; margin: 2em auto; padding: 0 1em; }
        figure { margin: 1.5em 0; }
        svg { max-width: 100%; height: auto; }
        table { border-collapse: collapse; }
        th, td { text-align: left; padding: 0.2em 1em 0.2em 0; border-bottom: 1px solid #8884; }
        </style>
        </head>
        <body>
        {{_body}}</body>
        </html>

        """.ReplaceLineEndings("\n");

    /// <summary>Writes the page; the file appears whole or not at all.</summary>
    /// <param name="path">The file.</param>
    /// <exception cref="IOException">The file cannot be written.</exception>
    public void Save(string path)
    {
        using AtomicFile file = AtomicFile.Create(path);
        file.Stream.Write(Encoding.UTF8.GetBytes(ToString()));
        file.Commit();
    }

    private static string Escape(string text) => WebUtility.HtmlEncode(text);
}
