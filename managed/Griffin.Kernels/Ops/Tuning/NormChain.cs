using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops.Tuning;

/// <summary>
/// Whether the residual adds and norms between the products of many rows go into those products' epilogues (<see cref="ResidualMatMul"/>, row factors), or
/// stay a pass of their own behind whatever product is the fastest: measured over the MLP of a layer with the products before and behind it.
/// </summary>
internal sealed class NormChain : ITuned
{
    private const string Separate = "separate", Chained = "chained";
    private const int ManyRows = 1024;   // stands for every larger number

    /// <summary>Whether the chain is the faster on a device, as measured or as usual.</summary>
    /// <param name="device">The device.</param>
    /// <param name="model">The model's sizes.</param>
    /// <param name="type">Storage type.</param>
    /// <param name="useBlas">Whether products may go to cuBLAS.</param>
    public static bool Pays(GpuDevice device, ModelDimensions model, ElementType type, bool useBlas)
    {
        bool blas = useBlas && device.HasBlas;
        // What was measured stands for the products of this device: without cuBLAS, where there is one, they are others.
        if (blas == device.HasBlas && device.Tuning.Find(KeyOf(model, type)) is { } record) return record.Fastest(_ => true) == Chained;
        return device.Kind == GpuDeviceKind.Cuda && !blas && type == ElementType.BFloat16;
    }

    static IEnumerable<TuningQuestion> ITuned.Questions(GpuDevice device, ModelDimensions model, ElementType type) =>
        [new TuningQuestion(KeyOf(model, type), [Separate, Chained], (bench, candidate) => Prepare(bench, candidate == Chained, model, type)) { Stage = 2 }];

    private static string KeyOf(ModelDimensions model, ElementType type) => TuningQuestion.KeyOf(KernelSource.BuiltIn("residual_matmul.cu"), type,
        $"chain {model.Width} x {model.RnnWidth} x {model.MlpWidth}");

    private static TuningRun Prepare(TuningBench bench, bool chained, ModelDimensions model, ElementType type)
    {
        (int width, int rnn, int mlp) = (model.Width, model.RnnWidth, model.MlpWidth);
        Operands operands = new()
        {
            Mixed = bench.Operand(type, ManyRows, rnn),
            Residual = bench.Operand(type, ManyRows, width),
            Out = bench.Operand(type, width, rnn),
            GateUp = bench.Operand(type, 2L * mlp, width),
            GateUpBias = bench.Operand(type, 1, 2L * mlp),
            Down = bench.Operand(type, width, mlp),
            Xy = bench.Operand(type, 2L * rnn, width),
            Bias = bench.Operand(type, 1, width),
            Norm = new(bench.Operand(type, 1, width), 1e-6f),
            Normed = bench.Output(type, ManyRows, width),
            Hidden = bench.Output(type, ManyRows, mlp),
            Result = bench.Output(type, ManyRows, 2L * rnn),
        };
        Action run = chained ? ChainedRun(bench, operands, type) : SeparateRun(bench, operands, type);
        return new(_ => run(), operands.Result);
    }

    private static Action ChainedRun(TuningBench bench, Operands o, ElementType type)
    {
        (GpuDevice device, GpuStream stream) = (bench.Device, bench.Stream);
        (int width, int rnn, int mlp) = ((int)o.Residual.Columns, (int)o.Mixed.Columns, (int)o.Hidden.Columns);
        (ResidualMatMul temporal, ResidualMatMul down) = (new(device, type, width, rnn), new(device, type, width, mlp));
        GatedMatMul gateUp = new(device, type, mlp, width, rowFactors: true);
        MatMul xy = new(device, type, 2 * rnn, width, rowFactors: true);
        FactoredRows normed = new(o.Normed, bench.Output(ElementType.Float32, 1, ManyRows));
        TensorView workspace = bench.Output(ElementType.Float32, 1, temporal.WorkspaceBytes(ManyRows) / sizeof(float));
        return () =>
        {
            temporal.Run(stream, o.Mixed, o.Out, o.Bias, o.Residual, o.Norm, normed, workspace);
            gateUp.Run(stream, normed.Rows, o.GateUp, o.GateUpBias, o.Hidden, normed.Factors);
            down.Run(stream, o.Hidden, o.Down, o.Bias, o.Residual, o.Norm, normed, workspace);
            xy.Run(stream, normed.Rows, o.Xy, o.Result, normed.Factors);
        };
    }

    private static Action SeparateRun(TuningBench bench, Operands o, ElementType type)
    {
        (GpuDevice device, GpuStream stream) = (bench.Device, bench.Stream);
        (int width, int rnn, int mlp) = ((int)o.Residual.Columns, (int)o.Mixed.Columns, (int)o.Hidden.Columns);
        (MatMul temporal, MatMul down, MatMul xy) = (new(device, type, width, rnn), new(device, type, width, mlp), new(device, type, 2 * rnn, width));
        (MatMul gateUp, GeluMultiply multiply, GatedMatMul gated) = (new(device, type, 2 * mlp, width), new(device, type, mlp), new(device, type, mlp, width));
        RmsNorm norm = new(device, type, width);
        TensorView delta = bench.Output(type, ManyRows, width), products = bench.Output(type, ManyRows, 2L * mlp);
        return () =>
        {
            temporal.Run(stream, o.Mixed, o.Out, delta);
            norm.RunResidual(stream, o.Residual, delta, o.Bias, o.Norm.Scale, o.Residual, o.Normed, o.Norm.Epsilon);
            if (gated.PaysFor(ManyRows))
            {
                gated.Run(stream, o.Normed, o.GateUp, o.GateUpBias, o.Hidden);
            }
            else
            {
                gateUp.Run(stream, o.Normed, o.GateUp, products);
                multiply.Run(stream, products, o.GateUpBias, o.Hidden);
            }
            down.Run(stream, o.Hidden, o.Down, delta);
            norm.RunResidual(stream, o.Residual, delta, o.Bias, o.Norm.Scale, o.Residual, o.Normed, o.Norm.Epsilon);
            xy.Run(stream, o.Normed, o.Xy, o.Result);
        };
    }

    private sealed record Operands
    {
        public required TensorView Mixed { get; init; }
        public required TensorView Residual { get; init; }
        public required TensorView Out { get; init; }
        public required TensorView GateUp { get; init; }
        public required TensorView GateUpBias { get; init; }
        public required TensorView Down { get; init; }
        public required TensorView Xy { get; init; }
        public required TensorView Bias { get; init; }
        public required FollowingNorm Norm { get; init; }
        public required TensorView Normed { get; init; }
        public required TensorView Hidden { get; init; }
        public required TensorView Result { get; init; }
    }
}
