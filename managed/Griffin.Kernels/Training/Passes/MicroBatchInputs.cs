using System.Runtime.InteropServices;
using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Training.Passes;

/// <summary>What changes from micro-batch to micro-batch, in one small device buffer filled by one copy, so that a captured graph serves them all.</summary>
internal sealed class MicroBatchInputs : IDisposable
{
    private readonly OwnedResources _owned = new();
    private readonly StagingBuffer _staging;
    private readonly int _tokens;
    private readonly int _rows;

    public MicroBatchInputs(GpuDevice device, int rows, int length)
    {
        (_rows, _tokens) = (rows, checked(rows * length));
        Length = length;
        int bytes = checked((int)BytesFor(rows, length));
        try
        {
            _staging = _owned.Add(new StagingBuffer(device, bytes));
            Memory = _owned.Add(device.AllocateBytes(bytes));
        }
        catch
        {
            _owned.Dispose();
            throw;
        }
    }

    /// <summary>Device bytes for so many rows of so many tokens.</summary>
    public static long BytesFor(int rows, int length) => (4L * rows * length + 3L * rows + 2) * sizeof(int);

    public DeviceMemory Memory { get; }

    public int Length { get; }

    public TensorView Tokens => Ints(0, _tokens);

    public TensorView Positions => Ints(_tokens, _tokens);

    public TensorView Targets => Ints(2 * _tokens, _tokens);

    /// <summary>Indices of the tokens, sorted by id.</summary>
    public TensorView Order => Ints(3 * _tokens, _tokens);

    /// <summary>The factor of every scored token's gradient.</summary>
    public TensorView Scale => TensorView.Of(Memory, (4L * _tokens + 3L * _rows + 1) * sizeof(int), ElementType.Float32, 1, 1);

    /// <summary>The rows, all fresh.</summary>
    public PackedRows Rows => new(Positions, Ints(4 * _tokens, _rows + 1), Ints(4 * _tokens + _rows + 1, _rows), Ints(4 * _tokens + 2 * _rows + 1, _rows));

    /// <summary>Queues the copy of a micro-batch, which may be reused at once.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="batch">The micro-batch.</param>
    /// <param name="scale">The factor of every scored token's gradient.</param>
    public void Send(GpuStream stream, MicroBatch batch, float scale)
    {
        if (batch.Rows != _rows || batch.Length != Length)
            throw new ArgumentException($"A micro-batch of {batch.Rows} rows of {batch.Length} tokens came where {_rows} rows of {Length} were planned.", nameof(batch));
        int bytes = (int)Memory.Bytes;
        Span<int> all = MemoryMarshal.Cast<byte, int>(_staging.Take(bytes));
        batch.Tokens.CopyTo(all);
        batch.Positions.CopyTo(all[_tokens..]);
        batch.Targets.CopyTo(all[(2 * _tokens)..]);
        EmbeddingBackward.Sort(batch.Tokens, all.Slice(3 * _tokens, _tokens));
        for (int row = 0; row <= _rows; row++) all[4 * _tokens + row] = row * Length;
        Span<int> slots = all[(4 * _tokens + _rows + 1)..];
        for (int row = 0; row < _rows; row++) (slots[row], slots[_rows + row]) = (row, 0);
        all[^1] = BitConverter.SingleToInt32Bits(scale);
        _staging.Send(stream, Memory, 0, bytes);
    }

    public void Dispose() => _owned.Dispose();

    private TensorView Ints(int start, int count) => TensorView.Of(Memory, start * (long)sizeof(int), ElementType.Int32, 1, count);
}
