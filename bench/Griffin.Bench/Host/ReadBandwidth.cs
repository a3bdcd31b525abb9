using System.Diagnostics;
using System.Globalization;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Griffin.Bench;

/// <summary>How fast this machine's cores read memory that no cache holds: the floor under the emulator's decoding, which streams every weight once a token.</summary>
internal static unsafe class ReadBandwidth
{
    private const long Bytes = 2L << 30;
    private const int Rounds = 8;

    /// <summary>Prints gigabytes (10⁹ bytes) a second, the best of some rounds with one thread a core.</summary>
    public static void Run()
    {
        int threads = Environment.ProcessorCount;
        long part = Bytes / threads / (8 * Vector<byte>.Count) * (8 * Vector<byte>.Count);
        byte* memory = (byte*)NativeMemory.AlignedAlloc((nuint)Bytes, 4096);
        try
        {
            NativeMemory.Fill(memory, (nuint)Bytes, 1);
            double best = double.PositiveInfinity;
            ulong[] sums = new ulong[threads];
            for (int round = 0; round < Rounds; round++)
            {
                long start = Stopwatch.GetTimestamp();
                Parallel.For(0, threads, new ParallelOptions { MaxDegreeOfParallelism = threads }, i => sums[i] = Sum(memory + (i * part), part));
                best = Math.Min(best, Stopwatch.GetElapsedTime(start).TotalSeconds);
            }
            if (sums.Any(sum => sum != sums[0])) throw new InvalidDataException("equal parts of memory gave different sums");
            Console.Out.WriteLine((part * threads / best / 1e9).ToString("F2", CultureInfo.InvariantCulture));
        }
        finally
        {
            NativeMemory.AlignedFree(memory);
        }
    }

    // Eight sums, so that no read waits for an addition.
    private static ulong Sum(byte* memory, long bytes)
    {
        Vector<ulong> a = default, b = default, c = default, d = default, e = default, f = default, g = default, h = default;
        int step = Vector<byte>.Count;
        for (byte* p = memory; p < memory + bytes; p += 8 * step)
        {
            a += Vector.Load((ulong*)p);
            b += Vector.Load((ulong*)(p + step));
            c += Vector.Load((ulong*)(p + (2 * step)));
            d += Vector.Load((ulong*)(p + (3 * step)));
            e += Vector.Load((ulong*)(p + (4 * step)));
            f += Vector.Load((ulong*)(p + (5 * step)));
            g += Vector.Load((ulong*)(p + (6 * step)));
            h += Vector.Load((ulong*)(p + (7 * step)));
        }
        return Vector.Sum(a + b + (c + d) + (e + f + (g + h)));
    }
}
