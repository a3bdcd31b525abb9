using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>What changes from call to call: token ids, positions, row starts and slots, in one small device buffer filled by one copy.</summary>
internal sealed class CallInputs : IDisposable
{
    private readonly DeviceMemory _memory;
    private readonly StagingBuffer _staging;
    private readonly int _maxTokens;
    private readonly int _maxRows;

    public CallInputs(GpuDevice device, int maxTokens, int maxRows)
    {
        (_maxTokens, _maxRows) = (maxTokens, maxRows);
        int bytes = (2 * maxTokens + 3 * maxRows + 1) * sizeof(int);
        _staging = new StagingBuffer(device, bytes);
        try
        {
            _memory = device.AllocateBytes(bytes);
        }
        catch
        {
            _staging.Dispose();
            throw;
        }
    }

    public DeviceMemory Memory => _memory;

    public TensorView Tokens(int count) => Ints(0, count);

    public TensorView Positions(int count) => Ints(_maxTokens, count);

    /// <summary>Index of each row's last real token.</summary>
    public TensorView LastTokens(int rows) => Ints(2 * _maxTokens + 2 * _maxRows + 1, rows);

    public TensorView Slots(int rows) => Ints(2 * _maxTokens + _maxRows + 1, rows);

    public PackedRows Rows(int tokens, int rows, TensorView seen) =>
        new(Positions(tokens), Ints(2 * _maxTokens, rows + 1), Slots(rows), seen);

    /// <summary>Queues the copy of a call's inputs; the spans may be reused at once.</summary>
    public void Send(GpuStream stream, ReadOnlySpan<int> tokens, ReadOnlySpan<int> positions, ReadOnlySpan<int> rowStart, ReadOnlySpan<int> slots)
    {
        int bytes = (int)_memory.Bytes;
        Span<int> all = MemoryMarshal.Cast<byte, int>(_staging.Take(bytes));
        all.Clear();
        tokens.CopyTo(all);
        positions.CopyTo(all[_maxTokens..]);
        rowStart.CopyTo(all[(2 * _maxTokens)..]);
        slots.CopyTo(all[(2 * _maxTokens + _maxRows + 1)..]);
        Span<int> last = all[(2 * _maxTokens + 2 * _maxRows + 1)..];
        for (int row = 0; row < slots.Length; row++)
        {
            // A row of padding alone has no last token; its logits are those of its last pad.
            int end = PackedCall.LastToken(positions[rowStart[row]..rowStart[row + 1]]);
            last[row] = end < 0 ? rowStart[row + 1] - 1 : rowStart[row] + end;
        }

        _staging.Send(stream, _memory, 0, bytes);
    }

    public void Dispose()
    {
        _memory.Dispose();
        _staging.Dispose();
    }

    private TensorView Ints(int start, int count) => TensorView.Of(_memory, start * (long)sizeof(int), ElementType.Int32, 1, count);
}
