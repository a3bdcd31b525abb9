namespace Griffin.Kernels.Tests;

internal static class Program
{
    private static int Main() => 0;
}
