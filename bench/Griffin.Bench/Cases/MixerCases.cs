using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Tests.References;

namespace Griffin.Bench.Cases;

/// <summary>Both gates and the RG-LRU, one after the other, and their way back with every gradient that a layer needs.</summary>
internal static class MixerCases
{
    public static Workload Forward(CaseMemory memory, BenchRow row)
    {
        Mixer mixer = new(memory, row, backward: false);
        return new(mixer.Forward, () => [new("output", mixer.Output, mixer.Expected(out _))], mixer.Variant);
    }

    public static Workload Backward(CaseMemory memory, BenchRow row)
    {
        Mixer mixer = new(memory, row, backward: true);
        mixer.Forward(memory.Stream);
        return new(mixer.Backward, () => mixer.ExpectedGradients(), mixer.Variant);
    }

    public static Workload ForwardBackward(CaseMemory memory, BenchRow row)
    {
        Mixer mixer = new(memory, row, backward: true);
        return new(stream =>
        {
            mixer.Forward(stream);
            mixer.Backward(stream);
        }, () => [new("output", mixer.Output, mixer.Expected(out _)), .. mixer.ExpectedGradients()], mixer.Variant);
    }

    /// <summary>The convolution as well, and in one kernel where that serves: what inference runs between a recurrent block's products.</summary>
    public static Workload WithConvolution(CaseMemory memory, BenchRow row)
    {
        (int width, int blocks, int taps) = (row.Int("width"), row.Int("blocks"), row.Int("taps"));
        Sequences sequences = CaseTable.SequencesOf(memory, row);
        (int tokens, int count) = (sequences.Tokens, sequences.Rows.Count);
        RecurrentMixer op = memory.Op(
            variant => new RecurrentMixer(
                new ConvGates(new Conv1D(memory.Device, memory.Type, width, taps), new BlockDiagonalGates(memory.Device, memory.Type, width, blocks)),
                new RgLru(memory.Device, memory.Type, width), variant),
            (op, timed) => op.VariantFor((int)timed.AllTokens, timed.Int("batch")));
        PackedRows rows = memory.Rows(sequences);
        TensorView x = memory.Input(tokens, width), convolution = memory.Input(width, taps, InputRules.Weight(taps)), bias = memory.Vector(width, InputRules.Bias);
        GateWeights weights = GateWeights.Draw(memory, width, blocks);
        TensorView y = memory.Input(tokens, width), lambda = memory.Vector(width, InputRules.Lambda), output = memory.Output(tokens, width);
        TensorView z = memory.Output(tokens, width), gates = memory.Output(tokens, 2L * width), workspace = memory.Workspace(op.WorkspaceBytes(tokens, count));
        return new(stream => op.Run(stream, rows, x, TensorView.Empty, convolution, bias, weights.Input, weights.InputBias, weights.Recurrence, weights.RecurrenceBias, y,
            TensorView.Empty, lambda, output, LayerState.None, LayerState.None, z, gates, workspace), () =>
        {
            double[] Rounded(double[] values) => Array.ConvertAll(values, value => HostMath.Round(value, memory.Type));
            Conv1DReference reference = new(width, taps, memory.Read(convolution), memory.Read(bias));
            double[] convolved = Rounded(ConvCases.Steps(reference, sequences, memory.Read(x), width)), logits = Rounded(weights.Read(memory).Logits(convolved));
            double[] branch = memory.Read(y), decay = memory.Read(lambda);
            return [new("output", output, () => ScanCases.Outputs(new RgLruReference(width, decay), sequences, convolved, logits, branch, width))];
        }, op.VariantFor(tokens, count));
    }

    private sealed class Mixer
    {
        private readonly CaseMemory _memory;
        private readonly int _width;
        private readonly Sequences _sequences;
        private readonly PackedRows _rows;
        private readonly BlockDiagonalGates _gatesOp;
        private readonly RgLru _scan;
        private readonly GateWeights _weights;
        private readonly TensorView _z, _y, _lambda, _gates, _hidden, _workspace;
        private readonly Gradients? _gradients;

        public Mixer(CaseMemory memory, BenchRow row, bool backward)
        {
            (_memory, _width) = (memory, row.Int("width"));
            int blocks = row.Int("blocks");
            _sequences = CaseTable.SequencesOf(memory, row);
            int tokens = _sequences.Tokens;
            _rows = memory.Rows(_sequences);
            _gatesOp = GateCases.Op(memory, _width, blocks, rows => rows.AllTokens);
            _scan = ScanCases.Op(memory, _width);
            _z = memory.Input(tokens, _width);
            _weights = GateWeights.Draw(memory, _width, blocks);
            _y = memory.Input(tokens, _width);
            _lambda = memory.Vector(_width, InputRules.Lambda);
            if (backward) _gradients = new(memory, _width, blocks, tokens, _sequences.Rows.Count);
            _gates = memory.Output(tokens, 2L * _width);
            _hidden = backward ? memory.Output(tokens, _width) : TensorView.Empty;
            Output = memory.Output(tokens, _width);
            _workspace = memory.Workspace(_scan.WorkspaceBytes(tokens, _sequences.Rows.Count));
        }

        public TensorView Output { get; }

        public string Variant => $"gates {_gatesOp.VariantFor(_sequences.Tokens)}, scan {_scan.VariantFor(_sequences.Tokens, _sequences.Rows.Count)}";

        public void Forward(GpuStream stream)
        {
            _gatesOp.Run(stream, _z, _weights.Input, _weights.InputBias, _weights.Recurrence, _weights.RecurrenceBias, _gates);
            _scan.Run(stream, _rows, _z, _gates, _y, TensorView.Empty, _lambda, Output, LayerState.None, _workspace, _hidden);
        }

        public void Backward(GpuStream stream)
        {
            Gradients to = _gradients!;
            to.Scan.Run(stream, _rows, _z, _gates, _y, TensorView.Empty, _lambda, _hidden, to.Dout, to.Dz, to.Dgates, to.Dy, to.Dlambda, to.Workspace);
            to.Bias.Run(stream, to.Dgates, to.Dbias, to.Workspace);
            to.Gates.Run(stream, _z, _weights.Input, _weights.Recurrence, to.Dgates, to.Dz, to.Dinput, to.Drecurrence, to.Workspace);
        }

        // Logits are rounded where they are stored: part of the contract.
        private double[] Logits() => Array.ConvertAll(_weights.Read(_memory).Logits(_memory.Read(_z)), value => HostMath.Round(value, _memory.Type));

        public Func<double[]> Expected(out double[] hidden)
        {
            RgLruReference reference = new(_width, _memory.Read(_lambda));
            List<double> states = [];
            double[] output = ScanCases.Outputs(reference, _sequences, _memory.Read(_z), Logits(), _memory.Read(_y), _width,
                (slot, position) => states.AddRange(position < 0 ? new double[_width] : reference.State(slot)));
            hidden = [.. states];
            return () => output;
        }

        public CheckedOutput[] ExpectedGradients()
        {
            Gradients to = _gradients!;
            _ = Expected(out double[] hidden);
            double[] z = _memory.Read(_z), kept = Array.ConvertAll(hidden, value => HostMath.Round(value, _memory.Type));
            RgLruGradient scan = RgLruGradient.Of(_sequences.Rows, _memory.Read(_lambda), z, Logits(), _memory.Read(_y), kept, _memory.Read(to.Dout));
            (double[] dz, double[] input, double[] recurrence) = _weights.Read(_memory).Gradients(z, scan.Dgates);
            double[] whole = [.. dz.Zip(scan.Dz, (through, direct) => through + direct)];
            return
            [
                new("dz", to.Dz, () => whole), new("dy", to.Dy, () => scan.Dy), new("dlambda", to.Dlambda, () => scan.Dlambda),
                new("input weight", to.Dinput, () => input), new("recurrence weight", to.Drecurrence, () => recurrence),
                new("biases", to.Dbias, () => HostMath.ColumnSums(scan.Dgates, 2 * _width)),
            ];
        }
    }

    private sealed class Gradients
    {
        public Gradients(CaseMemory memory, int width, int blocks, int tokens, int rows)
        {
            (Scan, Gates, Bias) = (ScanCases.BackwardOp(memory, width), new(memory.Device, memory.Type, width, blocks), new(memory.Device, memory.Type, 2 * width));
            Dout = memory.Input(tokens, width);
            (Dz, Dgates, Dy) = (memory.Output(tokens, width), memory.Output(tokens, 2L * width), memory.Output(tokens, width));
            (Dlambda, Dbias) = (memory.Zeros(1, width, ElementType.Float32), memory.Zeros(1, 2L * width, ElementType.Float32));
            (Dinput, Drecurrence) = (memory.Zeros(width, width / blocks, ElementType.Float32), memory.Zeros(width, width / blocks, ElementType.Float32));
            Workspace = memory.Workspace(Math.Max(Math.Max(Scan.WorkspaceBytes(tokens, rows), Gates.WorkspaceBytes(tokens)), Bias.WorkspaceBytes(tokens)));
        }

        public RgLruBackward Scan { get; }

        public BlockDiagonalGatesBackward Gates { get; }

        public ColumnSum Bias { get; }

        public TensorView Dout { get; }

        public TensorView Dz { get; }

        public TensorView Dgates { get; }

        public TensorView Dy { get; }

        public TensorView Dlambda { get; }

        public TensorView Dbias { get; }

        public TensorView Dinput { get; }

        public TensorView Drecurrence { get; }

        public TensorView Workspace { get; }
    }
}
