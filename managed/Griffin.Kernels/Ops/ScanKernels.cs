using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>How a scan over packed rows deals with time.</summary>
internal enum ScanForm
{
    /// <summary>A thread walks a row.</summary>
    Sequential,

    /// <summary>Chunks of time in three launches, which read part of the inputs twice.</summary>
    Chunked,

    /// <summary>A block walks a row, tile by tile.</summary>
    Ring,

    /// <summary>A block for every tile; carries travel by look-back.</summary>
    LookBack,

    /// <summary>A cluster of blocks for every so many tiles; carries travel through their shared memory.</summary>
    Cluster,
}

/// <summary>Numbers of scan_chunks.cuh and scan_tile.cuh.</summary>
internal static class ScanTiles
{
    /// <summary>Tokens of a chunk.</summary>
    public const int ChunkTokens = 128;

    /// <summary>Warps of a block that takes tiles.</summary>
    public const int Warps = 8;

    /// <summary>Threads of such a block.</summary>
    public const int Threads = 32 * Warps;

    /// <summary>Channels of a tile.</summary>
    public const int Channels = 64;

    /// <summary>Tiles, and blocks, of a cluster.</summary>
    public const int ClusterTiles = 8;

    /// <summary>Places of the chunks, or tiles, of a call; a few of them stay unused.</summary>
    public static long Places(int tokens, int rows, int chunk) => (long)(tokens / chunk) + rows;

    /// <summary>
    /// The best form for a call on a GPU, as predicted. Two blocks of channels and more for every multiprocessor keep it busy with rows walked in time, if
    /// they share out evenly: nine tenths of the busiest one's work on average. Else time is cut, which costs little. Rows of a few tokens are not worth a tile.
    /// </summary>
    /// <param name="limits">The device's.</param>
    /// <param name="tokens">Tokens of the call.</param>
    /// <param name="rows">Rows of the call.</param>
    /// <param name="width">Channels.</param>
    /// <param name="resident">Blocks of the kernels that run on a multiprocessor at a time.</param>
    public static ScanForm FormFor(DeviceLimits limits, int tokens, int rows, int width, int resident)
    {
        if (tokens < (long)Warps * rows) return ScanForm.Sequential;
        long blocks = rows * (((long)width + Channels - 1) / Channels), places = (long)resident * limits.MultiprocessorCount;
        // All at once, the multiprocessor with the most blocks decides; in several rounds, the last round does.
        long unit = blocks <= places ? limits.MultiprocessorCount : places, rounded = ((blocks - 1) / unit + 1) * unit;
        return blocks >= 2L * limits.MultiprocessorCount && 10 * blocks >= 9 * rounded ? ScanForm.Ring : ScanForm.LookBack;
    }

    /// <summary>The plan of a kernel whose blocks take tiles.</summary>
    public static KernelPlan Plan(in VariantQuery<int> query, string kernel, int sharedBytes = 0) =>
        new($"{kernel}<{query.T}>", Threads) { Vector = query.Vector, TileColumns = Channels, SharedBytes = sharedBytes };
}

/// <summary>What every scan's forms share.</summary>
internal static class ScanKernels
{
    /// <summary>The name that forces a form.</summary>
    public static string NameOf(ScanForm form) => form switch
    {
        ScanForm.Sequential => RgLru.Sequential,
        ScanForm.Chunked => RgLru.Chunked,
        ScanForm.Ring => RgLru.Ring,
        ScanForm.LookBack => RgLru.LookBack,
        _ => RgLru.Cluster,
    };

    /// <summary>The form of a name; null when it is none.</summary>
    public static ScanForm? FormOf(string name)
    {
        foreach (ScanForm form in Enum.GetValues<ScanForm>())
        {
            if (NameOf(form) == name) return form;
        }
        return null;
    }

    /// <summary>Names of the forms worth measuring: what cuts time does so in tiles where they fit, else in chunks.</summary>
    /// <param name="tiles">Whether tiles take the width.</param>
    public static IReadOnlyList<string> Candidates(bool tiles) => tiles ? [RgLru.Sequential, RgLru.Ring, RgLru.LookBack] : [RgLru.Sequential, RgLru.Chunked];
}

/// <summary>The three launches of the chunked form.</summary>
internal sealed record ChunkedKernels<TParams>(PlannedKernel<TParams> Summarize, PlannedKernel<TParams> Carry, PlannedKernel<TParams> Chunks) where TParams : unmanaged;

/// <summary>The forms that a scan has at hand on a device, and the choice among them, call by call. A forced form is there alone.</summary>
/// <typeparam name="TParams">The kernels' parameter struct.</typeparam>
/// <param name="device">Where it runs.</param>
/// <param name="width">Channels.</param>
/// <param name="tileTokens">Tokens of a tile of the look-back.</param>
/// <param name="resident">Blocks of the tiles' kernels that run on a multiprocessor at a time.</param>
internal sealed class ScanKernels<TParams>(GpuDevice device, int width, int tileTokens, int resident) where TParams : unmanaged
{
    private const int Alignment = 256;

    /// <summary>What was measured; it decides where it has an answer.</summary>
    public ScanAnswers Measured { get; init; } = ScanAnswers.None;

    public PlannedKernel<TParams>? Sequential { get; init; }

    public ChunkedKernels<TParams>? Chunked { get; init; }

    public PlannedKernel<TParams>? Ring { get; init; }

    public PlannedKernel<TParams>? LookBack { get; init; }

    public PlannedKernel<TParams>? Cluster { get; init; }

    /// <summary>The form for a call.</summary>
    public ScanForm FormFor(int tokens, int rows)
    {
        if (Sequential is null) return Chunked is not null ? ScanForm.Chunked : Ring is not null ? ScanForm.Ring : LookBack is not null ? ScanForm.LookBack : ScanForm.Cluster;
        if (Measured.For(tokens, rows) is { } measured) return measured;
        if (device.Kind == GpuDeviceKind.Emulator) return ScanForm.Sequential;   // rows and channels fill its few cores: cutting time would only cost it
        ScanForm form = ScanTiles.FormFor(device.Limits, tokens, rows, width, resident);
        if (Ring is not null && LookBack is not null) return form;
        bool cut = Chunked is not null && form == ScanForm.LookBack && tokens >= 2L * ScanTiles.ChunkTokens * rows;
        return cut ? ScanForm.Chunked : ScanForm.Sequential;
    }

    /// <summary>Elements of one access of a form.</summary>
    public int Vector(ScanForm form) => form switch
    {
        ScanForm.Sequential => Sequential!.Plan.Vector,
        ScanForm.Chunked => Chunked!.Chunks.Plan.Vector,
        ScanForm.Ring => Ring!.Plan.Vector,
        ScanForm.LookBack => LookBack!.Plan.Vector,
        _ => Cluster!.Plan.Vector,
    };

    /// <summary>Places, of one pair and one part of sums each, that a form cuts a call into; the rows where it does not cut.</summary>
    public long Parts(ScanForm form, int tokens, int rows) => form switch
    {
        ScanForm.Chunked => ScanTiles.Places(tokens, rows, ScanTiles.ChunkTokens),
        ScanForm.LookBack => ScanTiles.Places(tokens, rows, tileTokens),
        ScanForm.Cluster => ScanTiles.Places(tokens, rows, ScanTiles.ClusterTiles * tileTokens),
        _ => rows,
    };

    /// <summary>Whether a form keeps pairs of every place.</summary>
    public static bool HasPairs(ScanForm form) => form is ScanForm.Chunked or ScanForm.LookBack or ScanForm.Cluster;

    /// <summary>Bytes of the pairs.</summary>
    public long PairBytes(ScanForm form, int tokens, int rows) => HasPairs(form) ? Parts(form, tokens, rows) * 2 * width * sizeof(float) : 0;

    /// <summary>Bytes of the ticket and the flags of the forms whose blocks wait for others; they start as zero.</summary>
    public long ProgressBytes(ScanForm form, int tokens, int rows) => form switch
    {
        ScanForm.LookBack => BytesOfFlags(LookBack!, Parts(form, tokens, rows)),
        ScanForm.Cluster => BytesOfFlags(Cluster!, Parts(form, tokens, rows)),
        _ => 0,
    };

    /// <summary>The most that any form at hand wants of a workspace.</summary>
    /// <param name="bytes">What a form wants.</param>
    public long Largest(Func<ScanForm, long> bytes)
    {
        long most = Sequential is null ? 0 : bytes(ScanForm.Sequential);
        if (Chunked is not null) most = Math.Max(most, bytes(ScanForm.Chunked));
        if (Ring is not null) most = Math.Max(most, bytes(ScanForm.Ring));
        if (LookBack is not null) most = Math.Max(most, bytes(ScanForm.LookBack));
        return Cluster is null ? most : Math.Max(most, bytes(ScanForm.Cluster));
    }

    /// <summary>Queues the launches of a form.</summary>
    /// <param name="stream">The stream.</param>
    /// <param name="form">The form.</param>
    /// <param name="tokens">Tokens of the call.</param>
    /// <param name="rows">Rows of the call.</param>
    /// <param name="progress">Where the ticket and flags lie of forms that have them.</param>
    /// <param name="parameters">The kernels' parameters.</param>
    public void Launch(GpuStream stream, ScanForm form, int tokens, int rows, in TensorView progress, in TParams parameters)
    {
        long parts = Parts(form, tokens, rows);
        switch (form)
        {
            case ScanForm.Sequential:
                Launch(stream, Sequential!, rows, parameters);
                break;
            case ScanForm.Chunked:
                Launch(stream, Chunked!.Summarize, parts, parameters);
                Launch(stream, Chunked.Carry, rows, parameters);
                Launch(stream, Chunked.Chunks, parts, parameters);
                break;
            case ScanForm.Ring:
                Launch(stream, Ring!, rows, parameters);
                break;
            case ScanForm.LookBack:
                Clear(stream, progress, ProgressBytes(form, tokens, rows));
                Launch(stream, LookBack!, parts, parameters);
                break;
            default:
                Clear(stream, progress, ProgressBytes(form, tokens, rows));
                Launch(stream, Cluster!, parts * ScanTiles.ClusterTiles, parameters);
                break;
        }
    }

    private static void Clear(GpuStream stream, in TensorView progress, long bytes) =>
        stream.Fill(progress.Owner, (long)(progress.Address - progress.Owner.Address), bytes, 0);

    private long BytesOfFlags(PlannedKernel<TParams> kernel, long parts) => ((1 + kernel.Plan.BlocksFor(parts, width)) * sizeof(uint) + Alignment - 1) / Alignment * Alignment;

    private void Launch(GpuStream stream, PlannedKernel<TParams> kernel, long parts, in TParams parameters) =>
        kernel.Launch(stream, kernel.Plan.BlocksFor(parts, width), parameters);
}
