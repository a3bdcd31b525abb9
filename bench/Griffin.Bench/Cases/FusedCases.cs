using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>The fused products of a decode step. They round where the ops that they stand for would store.</summary>
internal static class FusedCases
{
    private const float Epsilon = 1e-6f;

    public static Workload GatedProduct(CaseMemory memory, BenchRow row)
    {
        (int batch, int width, int inner) = (row.Int("batch"), row.Int("width"), row.Int("inner"));
        GatedProduct op = memory.Op(variant => new GatedProduct(memory.Device, memory.Type, width, inner, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        NormedRows input = new(memory, batch, inner);
        TensorView w = memory.Input(2L * width, inner, InputRules.Weight(inner)), bias = memory.Vector(2L * width, InputRules.Bias), y = memory.Output(batch, width);
        return new(stream => op.Run(stream, input.View, w, bias, y), () =>
        {
            (double[] product, double[] shifts) = (input.Product(w), memory.Read(bias));
            return [new("y", y, () => ActivationCases.GeluMultiplied(product, shifts))];
        }, op.VariantFor(batch));
    }

    public static Workload NormProduct(CaseMemory memory, BenchRow row)
    {
        const float cap = 30;
        (int batch, int vocabulary, int inner) = (row.Int("batch"), row.Int("vocabulary"), row.Int("inner"));
        NormProduct op = memory.Op(variant => new NormProduct(memory.Device, memory.Type, vocabulary, inner, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        NormedRows input = new(memory, batch, inner);
        TensorView w = memory.Input(vocabulary, inner, InputRules.Weight(inner)), logits = memory.Output(batch, vocabulary, ElementType.Float32);
        return new(stream => op.Run(stream, input.View, w, cap, logits), () =>
        {
            double[] product = input.Product(w, ElementType.Float32);
            return [new("logits", logits, () => Array.ConvertAll(product, value => ReferenceMath.SoftCap(value, cap)))];
        }, op.VariantFor(batch));
    }

    public static Workload SamplingHead(CaseMemory memory, BenchRow row)
    {
        const float cap = 30;
        const double near = 0.02;   // of a score: where a bfloat16 rounding on the way may decide otherwise, the kernel's own token stands
        const uint position = 7;
        (int batch, int vocabulary, int inner) = (row.Int("batch"), row.Int("vocabulary"), row.Int("inner"));
        SamplingHead op = memory.Op(variant => new SamplingHead(memory.Device, memory.Type, vocabulary, inner, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        NormedRows input = new(memory, batch, inner);
        int slotBytes = checked((int)((Sampler.StateBytes(vocabulary) + 15) / 16 * 16));
        SamplerSettings Settings(int slot) => new() { Temperature = 0.8f, Seed = (ulong)slot + 1 };
        byte[] states = new byte[(long)batch * slotBytes];
        for (int slot = 0; slot < batch; slot++) Settings(slot).WriteTo(states.AsSpan(slot * slotBytes));
        TensorView pool = memory.Given<byte>(states), w = memory.Input(vocabulary, inner, InputRules.Weight(inner)), tokens = memory.Output(1, batch, ElementType.Int32);
        TensorView positions = memory.Given<int>([.. Enumerable.Repeat((int)position, batch)]), slots = memory.Given<int>([.. Enumerable.Range(0, batch)]);
        TensorView best = memory.Output(batch, op.TilesFor(batch), ElementType.UInt64);
        LayerState state = new(pool.Owner, pool.Address, slotBytes);
        return new(stream => op.Run(stream, input.View, w, cap, positions, slots, state, tokens, best), () =>
        {
            double[] product = input.Product(w, ElementType.Float32);
            return [new("tokens", tokens, () => [.. product.Chunk(vocabulary).Select(Choose)])];
        }, op.VariantFor(batch));

        double Choose(double[] logits, int slot)
        {
            SamplerSettings settings = Settings(slot);
            double[] scores = [.. logits.Select((value, token) => ReferenceMath.SoftCap(value, cap) + (settings.Temperature * SamplerReference.Gumbel(settings.Seed, position + 1, (uint)token)))];
            int own = (int)memory.Read(tokens)[slot];
            double largest = scores.Max();
            return own >= 0 && own < vocabulary && largest - scores[own] < near ? own : Array.IndexOf(scores, largest);
        }
    }

    public static Workload ResidualProduct(CaseMemory memory, BenchRow row)
    {
        (int batch, int width, int inner) = (row.Int("batch"), row.Int("width"), row.Int("inner"));
        ResidualProduct op = memory.Op(variant => new ResidualProduct(memory.Device, memory.Type, width, inner, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        TensorView input = memory.Input(batch, inner), w = memory.Input(width, inner, InputRules.Weight(inner)), residual = memory.Input(batch, width);
        TensorView squares = memory.Output(batch, op.PartsFor(batch), ElementType.Float32);
        return new(stream => op.Run(stream, input, w, TensorView.Empty, residual, squares), () =>
        {
            double[] product = HostMath.Product(memory.Read(input), memory.Read(w), inner), before = memory.Read(residual);
            double[] after = [.. before.Zip(product, (x, delta) => HostMath.Round(x + HostMath.Round(delta, memory.Type), memory.Type))];
            return [new("residual", residual, () => after)];
        }, op.VariantFor(batch));
    }

    public static Workload RecurrentInput(CaseMemory memory, BenchRow row)
    {
        (int batch, int width, int inner, int taps) = (row.Int("batch"), row.Int("width"), row.Int("inner"), row.Int("taps"));
        Sequences steps = Sequences.Steps(Enumerable.Repeat(taps, batch));
        RecurrentInput op = memory.Op(variant => new RecurrentInput(memory.Device, memory.Type, width, inner, taps, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        NormedRows input = new(memory, batch, inner);
        TensorView w = memory.Input(2L * width, inner, InputRules.Weight(inner)), convolution = memory.Input(width, taps, InputRules.Weight(taps));
        TensorView bias = memory.Vector(width, InputRules.Bias), slots = memory.Input(batch, (taps - 1L) * width), z = memory.Output(batch, width), y = memory.Output(batch, width);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        LayerState state = CaseMemory.State(slots);
        return new(stream => op.Run(stream, rows, input.View, w, TensorView.Empty, convolution, bias, z, y, state), () =>
        {
            Conv1DReference reference = new(width, taps, memory.Read(convolution), memory.Read(bias));
            double[] product = input.Product(w), past = memory.Read(slots);
            double[] convolved = ConvCases.Step(reference, steps, HostMath.Columns(product, 2 * width, 0, width), past, width, taps);
            return [new("z", z, () => convolved), new("y", y, () => HostMath.Columns(product, 2 * width, width, width)), new("state", slots, () => [.. Enumerable.Range(0, batch).SelectMany(reference.State)])];
        }, op.VariantFor(batch));
    }

    public static Workload RecurrentStep(CaseMemory memory, BenchRow row)
    {
        (int batch, int width, int blocks) = (row.Int("batch"), row.Int("width"), row.Int("blocks"));
        Sequences steps = Sequences.Steps(Enumerable.Repeat(1, batch));
        RecurrentStep op = new(memory.Device, memory.Type, width, blocks);
        TensorView z = memory.Input(batch, width);
        GateWeights weights = GateWeights.Draw(memory, width, blocks);
        TensorView y = memory.Input(batch, width), lambda = memory.Vector(width, InputRules.Lambda), slots = memory.Input(batch, width, of: ElementType.Float32);
        TensorView output = memory.Output(batch, width);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        LayerState state = CaseMemory.State(slots);
        RecurrentStepOperands operands = new(z, weights.Input, weights.InputBias, weights.Recurrence, weights.RecurrenceBias, y, TensorView.Empty, lambda);
        return new(stream => op.Run(stream, rows, operands, output, state), () =>
        {
            RgLruReference reference = new(width, memory.Read(lambda));
            double[] logits = Array.ConvertAll(weights.Read(memory).Logits(memory.Read(z)), value => HostMath.Round(value, memory.Type));
            ScanCases.SetPast(reference, memory.Read(slots), width);
            double[] expected = ScanCases.Outputs(reference, steps, memory.Read(z), logits, memory.Read(y), width);
            return [new("output", output, () => expected), new("state", slots, () => [.. Enumerable.Range(0, batch).SelectMany(reference.State)])];
        });
    }

    public static Workload RotaryProduct(CaseMemory memory, BenchRow row)
    {
        (int batch, int heads, int headDim, int inner, int slots) = (row.Int("batch"), row.Int("heads"), row.Int("head_dim"), row.Int("inner"), row.Int("window") + 1);
        (int rotated, int width) = (headDim / 2, (heads + 2) * headDim);
        Sequences steps = Sequences.Steps(Enumerable.Range(0, batch).Select(r => slots + r));
        RotaryProduct op = memory.Op(variant => new RotaryProduct(memory.Device, memory.Type, heads, headDim, rotated, inner, variant), (op, timed) => op.VariantFor(timed.Int("batch")));
        NormedRows input = new(memory, batch, inner);
        TensorView w = memory.Input(width, inner, InputRules.Weight(inner)), phases = RotaryCases.Phases(memory, rotated), queries = memory.Output(batch, (long)heads * headDim);
        TensorView ring = memory.Zeros(batch, 2L * slots * headDim, memory.Type);
        PackedRows rows = memory.Rows(steps, steps.Positions);
        LayerState state = CaseMemory.State(ring);
        return new(stream => op.Run(stream, rows, input.View, w, phases, queries, state, slots), () =>
        {
            double[] qkv = RotaryCases.Rotated(input.Product(w), steps.Positions, heads, headDim), rings = new double[batch * 2 * slots * headDim];
            for (int r = 0; r < batch; r++) RotaryCases.Store(rings, r, steps.Positions[r], slots, qkv.AsSpan((r * width) + heads * headDim, 2 * headDim));
            return [new("queries", queries, () => HostMath.Columns(qkv, width, 0, heads * headDim)), new("ring", ring, () => rings)];
        }, op.VariantFor(batch));
    }

    /// <summary>Rows to norm, with their squares.</summary>
    private sealed class NormedRows
    {
        private readonly CaseMemory _memory;
        private readonly int _inner;

        public NormedRows(CaseMemory memory, int batch, int inner)
        {
            (_memory, _inner) = (memory, inner);
            TensorView x = memory.Input(batch, inner), scale = memory.Vector(inner, InputRules.Scale);
            float[] squares = [.. memory.Read(x).Chunk(inner).Select(one => (float)one.Sum(value => value * value))];
            TensorView given = memory.Given<float>(squares);
            View = new(x, scale, TensorView.Of(given.Owner, 0, ElementType.Float32, batch, 1), Epsilon);
        }

        public NormedInput View { get; }

        /// <summary>The normed rows times a weight, rounded where they are stored.</summary>
        public double[] Product(TensorView w, ElementType? stored = null)
        {
            double[] scale = _memory.Read(View.Scale);
            double[] normed = [.. _memory.Read(View.X).Chunk(_inner).SelectMany(one => ReferenceMath.RmsNorm(one, scale, Epsilon)).Select(value => HostMath.Round(value, _memory.Type))];
            return Array.ConvertAll(HostMath.Product(normed, _memory.Read(w), _inner), value => HostMath.Round(value, stored ?? _memory.Type));
        }
    }
}
