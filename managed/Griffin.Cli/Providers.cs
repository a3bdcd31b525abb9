using Griffin.Kernels.Interop;

namespace Griffin.Cli;

/// <summary>The ways to CUDA that this build of the command has, by the name of <c>--provider</c>.</summary>
internal static class Providers
{
    /// <summary>The library's own binding.</summary>
    internal const string Direct = "direct";

    /// <summary>ManagedCuda, where the build was asked for it.</summary>
    internal const string ManagedCuda = "managedcuda";

    /// <summary>Why a provider is not in this build, in one line; null when it is.</summary>
    internal static string? Absence(string name) => name switch
    {
        Direct => null,
#if WITH_MANAGEDCUDA
        ManagedCuda => null,
#else
        ManagedCuda => $"the provider {ManagedCuda} is not in this build: build with -p:WithManagedCuda=true, which brings packages licensed under GPLv3 or commercially",
#endif
        _ => $"unknown provider '{name}'; use {Direct} or {ManagedCuda}",
    };

    /// <summary>Opens a provider; null stands for the library's own search.</summary>
    /// <exception cref="CliException">It is not in this build.</exception>
    internal static GpuProvider? Open(string name) => Absence(name) is { } absence ? throw new CliException(absence)
#if WITH_MANAGEDCUDA
        : name == ManagedCuda ? Griffin.Kernels.ManagedCuda.ManagedCudaProvider.Open()
#endif
        : null;
}
