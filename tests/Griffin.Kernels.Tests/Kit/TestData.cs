namespace Griffin.Kernels.Tests.Kit;

/// <summary>Data files of the tests: copied beside the test assembly, so that a published runner finds them too.</summary>
internal static class TestData
{
    /// <summary>Root of the copied data.</summary>
    public static string Root => System.IO.Path.Combine(AppContext.BaseDirectory, "Data");

    /// <summary>Full path of a data file or folder, as <c>oracle/small/tokens.npy</c>.</summary>
    public static string Path(string relative) => System.IO.Path.Combine(Root, relative);

    /// <summary>The small model that others trained, with what their program computes from it.</summary>
    public static string AustenTiny => Path("austen-tiny");

    /// <summary>The model that the repository ships.</summary>
    public static string Shipped => Path("shipped");
}
