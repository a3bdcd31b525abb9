using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Kit;

/// <summary>States of one layer in a pool: slots apart from each other, with a gap between, all of it NaN until written.</summary>
internal sealed class StateMemory
{
    private const int Offset = 64;

    private readonly OpTest _test;
    private readonly DeviceMemory _memory;
    private readonly int _bytes;
    private readonly int _stride;
    private readonly byte[] _before;

    public StateMemory(OpTest test, int slots, int bytesPerSlot)
    {
        (_test, _bytes) = (test, bytesPerSlot);
        _stride = ((bytesPerSlot + 15) / 16 * 16) + 32;
        _memory = test.Allocate(Offset + ((long)_stride * slots));
        _before = Poison.Bytes((int)_memory.Bytes);
        test.Stream.CopyToDevice<byte>(_before, _memory);
    }

    /// <summary>What ops take.</summary>
    public LayerState State => new(_memory, _memory.Address + Offset, _stride);

    /// <summary>Sets one slot before the op runs.</summary>
    public void Write(int slot, ReadOnlySpan<float> values, ElementType type)
    {
        byte[] bytes = type == ElementType.Float32
            ? MemoryMarshal.AsBytes(values).ToArray()
            : MemoryMarshal.AsBytes<BFloat16>(Array.ConvertAll(values.ToArray(), BFloat16.FromSingle)).ToArray();
        bytes.CopyTo(_before, Offset + (slot * _stride));
        _test.Stream.CopyToDevice<byte>(bytes, _memory, Offset + ((long)slot * _stride));
    }

    /// <summary>One slot's values.</summary>
    public float[] Read(int slot, ElementType type)
    {
        var bytes = new byte[_bytes];
        _test.Stream.CopyToHost(_memory, Offset + ((long)slot * _stride), bytes.AsSpan());
        return type == ElementType.Float32
            ? MemoryMarshal.Cast<byte, float>(bytes).ToArray()
            : Array.ConvertAll(MemoryMarshal.Cast<byte, BFloat16>(bytes).ToArray(), value => value.ToSingle());
    }

    /// <summary>Fails if anything but the given slots has changed, gaps included.</summary>
    public void AssertOnlyChanged(IEnumerable<int> slots)
    {
        var after = new byte[_memory.Bytes];
        _test.Stream.CopyToHost(_memory, 0, after.AsSpan());
        foreach (var slot in slots)
            _before.AsSpan(Offset + (slot * _stride), _bytes).CopyTo(after.AsSpan(Offset + (slot * _stride)));
        Assert.That(after.AsSpan().SequenceEqual(_before), "state memory outside the rows' slots has changed");
    }
}
