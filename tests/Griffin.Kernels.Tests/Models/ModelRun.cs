using Griffin.Kernels.Models;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Models;

/// <summary>Which kernels the steps of a model take.</summary>
public enum DecodePath
{
    /// <summary>The step kernels, one for each op.</summary>
    Plain,

    /// <summary>The kernels of longer calls, under the law of batch invariance.</summary>
    BatchInvariant,

    /// <summary>The fused ones.</summary>
    Fused,
}

/// <summary>A loaded model with one session, and the calls that tests make on it.</summary>
internal sealed class ModelRun : IDisposable
{
    public ModelRun(GpuDevice device, string folder, ElementType precision, DecodePath path = DecodePath.Plain, SessionOptions? session = null,
        FusedPrefill prefill = FusedPrefill.Off)
    {
        Model = GriffinModel.Load(device, folder, OptionsFor(precision, path) with { FusedPrefill = prefill });
        Session = Model.CreateSession(session ?? new SessionOptions { Slots = 4, MaxBatch = 4, ChunkTokens = 64 });
    }

    public GriffinModel Model { get; }

    public GriffinSession Session { get; }

    public int Vocabulary => Model.Config.Vocabulary;

    /// <summary>What a model is loaded with.</summary>
    public static GriffinModelOptions OptionsFor(ElementType precision, DecodePath path) => new()
    {
        Precision = precision,
        BatchInvariant = path == DecodePath.BatchInvariant,
        FusedDecode = path == DecodePath.Fused ? FusedDecode.On : FusedDecode.Off,
        FusedPrefill = FusedPrefill.Off,
    };

    /// <summary>A model written by <paramref name="write"/> into a folder that is gone when this returns.</summary>
    public static ModelRun FromFolder(GpuDevice device, Action<string> write, ElementType precision, DecodePath path = DecodePath.Plain, SessionOptions? session = null)
    {
        using var folder = new TempFolder();
        write(folder.Path);
        return new ModelRun(device, folder.Path, precision, path, session);
    }

    /// <summary>Logits [T, V] of one row on a fresh state.</summary>
    public float[] Forward(int[] tokens, int[]? positions = null, int chunk = 0)
    {
        using var state = Session.States.Rent();
        return Forward(state, tokens, positions, chunk);
    }

    /// <summary>Logits [T, V] of one row that continues a state.</summary>
    public float[] Forward(DecodeState state, int[] tokens, int[]? positions = null, int chunk = 0)
    {
        var logits = Poison.Floats(tokens.Length * Vocabulary);
        Session.Forward(state, tokens, positions ?? [], LogitsSelection.All, logits, chunk);
        return logits;
    }

    /// <summary>Logits [T, V] of one row, one token a call.</summary>
    public float[] Steps(DecodeState state, int[] tokens) => [.. tokens.SelectMany(token => Forward(state, [token]))];

    /// <summary>Logits [sum of T, V] of several rows in one call.</summary>
    public float[] ForwardRows(DecodeState[] states, int[][] rows, int[][]? positions = null)
    {
        var starts = new int[rows.Length + 1];
        for (var i = 0; i < rows.Length; i++)
            starts[i + 1] = starts[i] + rows[i].Length;
        var logits = Poison.Floats(starts[^1] * Vocabulary);
        int[] flat = positions is null ? [] : [.. positions.SelectMany(row => row)];
        Session.Forward(states, starts, [.. rows.SelectMany(row => row)], flat, LogitsSelection.All, logits);
        return logits;
    }

    /// <summary>Tokens drawn after each prompt, all of them in one decoder, on fresh states.</summary>
    public int[][] Draw(int[][] prompts, SamplerSettings settings, int count)
    {
        var states = prompts.Select(_ => Session.States.Rent()).ToArray();
        try
        {
            ForwardRows(states, [.. prompts.Select(prompt => prompt[..^1])]);
            var drawn = prompts.Select(_ => new int[count]).ToArray();
            using var decoder = Session.CreateDecoder(states, [.. states.Select(_ => settings)]);
            for (var row = 0; row < prompts.Length; row++)
                decoder.Feed(row, prompts[row][^1]);
            for (var step = 0; step < count; step++)
            {
                var tokens = decoder.Step();
                for (var row = 0; row < prompts.Length; row++)
                    drawn[row][step] = tokens[row];
            }

            return drawn;
        }
        finally
        {
            foreach (var state in states)
                state.Dispose();
        }
    }

    /// <summary>Recurrent state of a layer.</summary>
    public float[] Hidden(DecodeState state, int layer) => Read(state, Layout(layer).First, Model.Config.RnnWidth, ElementType.Float32);

    /// <summary>Raw convolution inputs of a layer, oldest first.</summary>
    public float[] ConvTail(DecodeState state, int layer) =>
        Read(state, Layout(layer).Second, (Model.Config.ConvTaps - 1) * Model.Config.RnnWidth, Model.Precision);

    /// <summary>The rotated key that the ring holds for a position.</summary>
    public float[] Key(DecodeState state, int layer, int position) => RingRow(state, Layout(layer).First, position);

    /// <summary>The value that the ring holds for a position.</summary>
    public float[] Value(DecodeState state, int layer, int position) => RingRow(state, Layout(layer).Second, position);

    /// <summary>Fills the whole state memory of a slot with NaN, as a previous owner might have left it.</summary>
    public void PoisonSlot(DecodeState state) =>
        Session.Stream.Fill32(Session.States.Memory, state.Slot * Session.States.BytesPerSequence, Session.States.BytesPerSequence / sizeof(uint), Poison.Bits);

    public void Dispose()
    {
        Session.Dispose();
        Model.Dispose();
    }

    private LayerStateLayout Layout(int layer) => Session.States.Layout.Layers[layer];

    private float[] RingRow(DecodeState state, long offset, int position)
    {
        var width = Model.Config.HeadDim;
        var slot = position % Session.States.Layout.RingSlots;
        return Read(state, offset + ((long)slot * width * Model.Precision.SizeOf()), width, Model.Precision);
    }

    private float[] Read(DecodeState state, long offset, int count, ElementType type)
    {
        var start = (state.Slot * Session.States.BytesPerSequence) + offset;
        if (type == ElementType.Float32)
        {
            var values = Poison.Floats(count);
            Session.Stream.CopyToHost(Session.States.Memory, start, values.AsSpan());
            Session.Synchronize();
            return values;
        }

        var halves = new BFloat16[count];
        Session.Stream.CopyToHost(Session.States.Memory, start, halves.AsSpan());
        Session.Synchronize();
        return Array.ConvertAll(halves, value => value.ToSingle());
    }
}
