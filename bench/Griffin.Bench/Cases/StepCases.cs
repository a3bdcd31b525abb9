using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The end of a decode step: the draw, and positions moving on.</summary>
internal static class StepCases
{
    private const int FirstPosition = 7;

    public static Workload Sampler(CaseMemory memory, BenchRow row)
    {
        int vocabulary = row.Int("vocabulary"), batch = row.Int("batch"), slotBytes = checked((int)((Griffin.Kernels.Ops.Sampler.StateBytes(vocabulary) + 15) / 16 * 16));
        SamplerSettings Settings(int slot) => new() { Temperature = 0.8f, TopK = 50, TopP = 0.95f, Seed = (ulong)slot + 1 };
        Sampler op = new(memory.Device, vocabulary);
        TensorView logits = memory.Input(batch, vocabulary, of: ElementType.Float32);
        byte[] states = new byte[(long)batch * slotBytes];
        for (int slot = 0; slot < batch; slot++) Settings(slot).WriteTo(states.AsSpan(slot * slotBytes));
        TensorView pool = memory.Given<byte>(states), tokens = memory.Output(1, batch, ElementType.Int32);
        int[] slots = [.. Enumerable.Range(0, batch)], positions = [.. slots.Select(slot => FirstPosition + slot)];
        TensorView at = memory.Given<int>(positions), slotsView = memory.Given<int>(slots);
        LayerState state = new(pool.Owner, pool.Address, slotBytes);
        return new(stream => op.Run(stream, logits, at, slotsView, state, tokens), () =>
        {
            float[] values = Array.ConvertAll(memory.Read(logits), value => (float)value);
            return [new("tokens", tokens, () => [.. slots.Select(slot => Draw(slot))])];

            // Where float32 may decide otherwise, any of the likely tokens is right: the kernel's own then stands.
            double Draw(int slot) =>
                SamplerReference.Draw(values.AsSpan(slot * vocabulary, vocabulary), new int[vocabulary], Settings(slot), (uint)positions[slot] + 1)
                ?? memory.Read(tokens)[slot];
        });
    }

    public static Workload AdvanceRows(CaseMemory memory, BenchRow row)
    {
        Sequences steps = Sequences.Steps(Enumerable.Range(0, row.Int("batch")));
        TensorView positions = memory.Given<int>(steps.Positions), seen = memory.Given<int>(steps.Positions);
        PackedRows rows = memory.Rows(positions, steps, seen);
        AdvanceRows op = new(memory.Device, step: true);
        double[] next = [.. steps.Positions.Select(position => position + 1.0)];
        return new(stream => op.Run(stream, rows, seen, positions), () => [new("positions", positions, () => next), new("seen", seen, () => next)]);
    }
}
