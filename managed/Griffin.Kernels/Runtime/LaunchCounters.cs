using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>What one launch did to one allocation. A sector is 32 aligned bytes; a request is one instruction of one warp.</summary>
/// <param name="Address">Start of the allocation.</param>
/// <param name="Bytes">Size of the allocation.</param>
/// <param name="BytesRead">Bytes that all threads read.</param>
/// <param name="BytesWritten">Bytes that all threads wrote.</param>
/// <param name="RequestSectorsRead">Distinct sectors of each read request, summed over the requests.</param>
/// <param name="RequestSectorsWritten">Distinct sectors of each write request, summed over the requests.</param>
/// <param name="SectorsRead">Distinct sectors that the launch read.</param>
/// <param name="SectorsWritten">Distinct sectors that the launch wrote.</param>
public sealed record AllocationCounters(ulong Address, long Bytes, long BytesRead, long BytesWritten,
    long RequestSectorsRead, long RequestSectorsWritten, long SectorsRead, long SectorsWritten);

/// <summary>What one launch did, as the emulator counted it. There is no cache in these counts, and they do not depend on the schedule.</summary>
/// <param name="Kernel">The kernel's name expression, cut to 255 bytes.</param>
/// <param name="Grid">Blocks.</param>
/// <param name="Block">Threads of a block.</param>
/// <param name="DynamicSharedBytes">Dynamic shared memory of a block.</param>
/// <param name="SharedBytesRead">Shared memory read, over all blocks.</param>
/// <param name="SharedBytesWritten">Shared memory written, over all blocks.</param>
/// <param name="BankConflicts">Passes through shared memory beyond the first of each request.</param>
/// <param name="Barriers">Block-wide barriers passed, over all blocks.</param>
/// <param name="MatrixMultiplyAdds">Multiply-adds of matrix instructions.</param>
/// <param name="Allocations">One entry per allocation touched, by address; the first 24 where there are more.</param>
public sealed record LaunchCounters(string Kernel, Dim3 Grid, Dim3 Block, int DynamicSharedBytes, long SharedBytesRead, long SharedBytesWritten,
    long BankConflicts, long Barriers, long MatrixMultiplyAdds, IReadOnlyList<AllocationCounters> Allocations)
{
    /// <summary>The counts of one allocation; all zero when the launch did not touch it.</summary>
    public AllocationCounters this[DeviceMemory memory]
    {
        get
        {
            ArgumentNullException.ThrowIfNull(memory);
            return Allocations.FirstOrDefault(allocation => allocation.Address == memory.Address) ?? new(memory.Address, memory.Bytes, 0, 0, 0, 0, 0, 0);
        }
    }

    internal static unsafe IReadOnlyList<LaunchCounters> Take(EmulatorControl emulator, int ordinal)
    {
        EmulatorControl.LaunchRecord[] records = emulator.TakeCounters(ordinal);
        LaunchCounters[] counters = new LaunchCounters[records.Length];
        for (int i = 0; i < records.Length; i++)
            fixed (EmulatorControl.LaunchRecord* record = &records[i]) counters[i] = From(record);
        return counters;
    }

    private static unsafe LaunchCounters From(EmulatorControl.LaunchRecord* record)
    {
        AllocationCounters[] allocations = new AllocationCounters[Math.Min((int)record->AllocationCount, EmulatorControl.LaunchRecord.MaxAllocations)];
        for (int i = 0; i < allocations.Length; i++)
        {
            EmulatorControl.AllocationRecord one = record->Allocations[i];
            allocations[i] = new(one.Address, (long)one.Bytes, (long)one.BytesRead, (long)one.BytesWritten,
                (long)one.RequestSectorsRead, (long)one.RequestSectorsWritten, (long)one.SectorsRead, (long)one.SectorsWritten);
        }
        return new(NativeText.Read(record->Kernel) ?? "", Size(record->Grid), Size(record->Block), (int)record->DynamicSharedBytes,
            (long)record->SharedBytesRead, (long)record->SharedBytesWritten, (long)record->BankConflicts, (long)record->Barriers,
            (long)record->MatrixMultiplyAdds, allocations);
    }

    private static unsafe Dim3 Size(uint* sizes) => new((int)sizes[0], (int)sizes[1], (int)sizes[2]);
}
