using System.Runtime.InteropServices;
using System.Text;

namespace Griffin.Kernels.Interop;

/// <summary>Zero-terminated UTF-8 text at the native border.</summary>
internal static unsafe class NativeText
{
    public static string? Read(byte* text) => Marshal.PtrToStringUTF8((nint)text);

    public static byte[] Write(string text)
    {
        byte[] bytes = new byte[Encoding.UTF8.GetByteCount(text) + 1];
        Encoding.UTF8.GetBytes(text, bytes);
        return bytes;
    }

    /// <summary>Calls <paramref name="body"/> with an array of pointers to the texts.</summary>
    public static int WithPointers(IReadOnlyList<string> texts, PointersBody body)
    {
        GCHandle[] pins = new GCHandle[texts.Count];
        byte*[] pointers = new byte*[texts.Count + 1];
        try
        {
            for (int i = 0; i < texts.Count; i++)
            {
                pins[i] = GCHandle.Alloc(Write(texts[i]), GCHandleType.Pinned);
                pointers[i] = (byte*)pins[i].AddrOfPinnedObject();
            }
            fixed (byte** array = pointers) return body(array);
        }
        finally
        {
            foreach (GCHandle pin in pins)
                if (pin.IsAllocated) pin.Free();
        }
    }

    public delegate int PointersBody(byte** pointers);
}
