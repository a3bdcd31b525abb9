using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;

namespace Griffin.Kernels.Interop;

/// <summary>A launch attribute whose value is a flag, laid out as <c>CUlaunchAttribute</c>.</summary>
[StructLayout(LayoutKind.Explicit, Size = 72)]
internal unsafe struct LaunchAttribute
{
    private const int ProgrammaticStreamSerializationNumber = 6;

    [FieldOffset(0)]
    private int _number;

    [FieldOffset(8)]
    private int _flag;

    /// <summary>
    /// Lets a kernel begin while the kernels before it in the stream still run (<c>CU_LAUNCH_ATTRIBUTE_PROGRAMMATIC_STREAM_SERIALIZATION</c>).
    /// One attribute for the life of the process, so that a launch allocates nothing.
    /// </summary>
    public static nint ProgrammaticStreamSerialization { get; } = MakeProgrammaticStreamSerialization();

    private static nint MakeProgrammaticStreamSerialization()
    {
        LaunchAttribute* attribute = (LaunchAttribute*)RuntimeHelpers.AllocateTypeAssociatedMemory(typeof(LaunchAttribute), sizeof(LaunchAttribute));
        *attribute = new() { _number = ProgrammaticStreamSerializationNumber, _flag = 1 };
        return (nint)attribute;
    }
}
