using System.Buffers.Binary;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training.Data;

/// <summary>
/// Files of token ids: raw little-endian integers without a header, or a NumPy array. A document ends behind each EOS token; a BOS at a
/// document's beginning is left out, as packing puts it there.
/// </summary>
internal static class TokenFiles
{
    internal enum Kind
    {
        UInt16,
        UInt32,
        Npy,
    }

    internal static void Read(string path, DocumentSet documents, GriffinConfig config, Kind kind)
    {
        ReadOnlySpan<int> tokens = kind == Kind.Npy ? ReadNpy(path) : ReadRaw(path, kind == Kind.UInt16 ? sizeof(ushort) : sizeof(uint));
        int first = 0;
        for (int i = 0; i < tokens.Length; i++)
        {
            if (i + 1 < tokens.Length && !config.EosTokens.Contains(tokens[i])) continue;
            documents.Add(DocumentEnds.Trim(tokens[first..(i + 1)], config), first == 0 ? path : $"{path}, document from index {first}");
            first = i + 1;
        }
    }

    private static int[] ReadNpy(string path)
    {
        try
        {
            return NpyFile.ReadTokens(path);
        }
        catch (CheckpointException problem)
        {
            throw new TrainingInputException(problem.Message, problem);
        }
    }

    private static int[] ReadRaw(string path, int size)
    {
        ReadOnlySpan<byte> bytes = DataFile.ReadAll(path);
        if (bytes.Length % size != 0) throw new TrainingInputException(path, $"has {bytes.Length} bytes, which are no whole number of {size}-byte tokens: truncated, or of another size");
        int[] tokens = new int[bytes.Length / size];
        for (int i = 0; i < tokens.Length; i++)
        {
            uint token = size == sizeof(ushort) ? BinaryPrimitives.ReadUInt16LittleEndian(bytes[(i * size)..]) : BinaryPrimitives.ReadUInt32LittleEndian(bytes[(i * size)..]);
            tokens[i] = token <= int.MaxValue ? (int)token : throw new TrainingInputException(path, $"element {i} is {token}: no token id is that large");
        }
        return tokens;
    }
}
