namespace Griffin.Kernels.Tests.Kit;

/// <summary>The source tree that the tests were built from; a published runner has none.</summary>
internal static class Repository
{
    /// <summary>Its root, or null.</summary>
    public static string? Root { get; } = Find();

    private static string? Find()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            if (File.Exists(Path.Combine(folder.FullName, "Griffin.Kernels.sln")))
                return folder.FullName;
        }

        return null;
    }
}
