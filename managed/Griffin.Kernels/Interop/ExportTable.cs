using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>The exports of one loaded library.</summary>
/// <param name="library">The library's handle.</param>
/// <param name="name">Its name in messages.</param>
internal sealed class ExportTable(nint library, string name)
{
    /// <summary>The address of an export that must be there.</summary>
    /// <exception cref="EntryPointNotFoundException">It is not.</exception>
    public nint Required(string export) =>
        NativeLibrary.TryGetExport(library, export, out nint address) ? address : throw new EntryPointNotFoundException($"{name} lacks {export}");

    /// <summary>The address of an export, or 0.</summary>
    public nint Optional(string export) => NativeLibrary.TryGetExport(library, export, out nint address) ? address : 0;
}
