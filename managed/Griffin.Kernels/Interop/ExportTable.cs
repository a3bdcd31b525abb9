using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>The exports of one library: what the function tables are filled from.</summary>
/// <param name="find">Gives the address of an export, or 0.</param>
/// <param name="name">The library's name in messages.</param>
internal sealed class ExportTable(Func<string, nint> find, string name)
{
    /// <summary>The exports of a loaded library.</summary>
    public ExportTable(nint library, string name) : this(export => NativeLibrary.TryGetExport(library, export, out nint address) ? address : 0, name)
    {
    }

    /// <summary>The address of an export that must be there.</summary>
    /// <exception cref="EntryPointNotFoundException">It is not.</exception>
    public nint Required(string export) => find(export) is not 0 and nint address ? address : throw new EntryPointNotFoundException($"{name} lacks {export}");

    /// <summary>The address of an export, or 0.</summary>
    public nint Optional(string export) => find(export);
}
