using System.Runtime.InteropServices;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Tells files from the devices, pipes and sockets that share their name space, for which .NET has no public call.</summary>
internal static unsafe partial class FileKind
{
    private const int CurrentFolder = -100;
    private const uint TypeWanted = 1;
    private const int StatxBytes = 256;
    private const int ModeOffset = 28;
    private const int TypeMask = 0xF000;
    private const int Regular = 0x8000;

    /// <summary>Whether something that is no regular file has this name; links are followed. False where nothing has it.</summary>
    public static bool IsSpecial(string path)
    {
        if (!OperatingSystem.IsLinux()) return false;
        byte* status = stackalloc byte[StatxBytes];
        return Statx(CurrentFolder, path, 0, TypeWanted, status) == 0 && (*(ushort*)(status + ModeOffset) & TypeMask) != Regular;
    }

    [LibraryImport("libc", EntryPoint = "statx", StringMarshalling = StringMarshalling.Utf8)]
    [DefaultDllImportSearchPaths(DllImportSearchPath.SafeDirectories)]
    private static partial int Statx(int folder, string path, int flags, uint mask, byte* status);
}
