using Griffin.Kernels.Ops;
using Griffin.Kernels.Ops.Tuning;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Models;

/// <summary>The products whose epilogues do the residual adds and norms of calls of many rows.</summary>
internal sealed class ChainedKernels
{
    /// <summary>Rows up to which the plain products have kernels that suit few rows.</summary>
    private const int FewRows = 64;

    private readonly FusedPrefill _choice;

    public ChainedKernels(ModelKernels kernels, GpuDevice device, GriffinModelOptions options)
    {
        GriffinConfig config = kernels.Config;
        ElementType type = options.Precision;
        _choice = options.FusedPrefill;
        GateUp = kernels.Add(new GatedMatMul(device, type, config.MlpWidth, config.Width, rowFactors: true, batchInvariant: options.BatchInvariant));
        Down = Residual(config.MlpWidth);
        if (config.RecurrentLayers > 0)
        {
            Xy = Factored(2 * config.RnnWidth);
            RecurrentOut = Residual(config.RnnWidth);
        }

        if (config.AttentionLayers > 0)
        {
            Qkv = Factored((config.Heads + 2) * config.HeadDim);
            AttentionOut = Residual(config.Heads * config.HeadDim);
        }

        MatMul Factored(int columns) => kernels.Add(new MatMul(device, type, columns, config.Width, batchInvariant: options.BatchInvariant, rowFactors: true));
        ResidualMatMul Residual(int inner) => kernels.Add(new ResidualMatMul(device, type, config.Width, inner, batchInvariant: options.BatchInvariant));
    }

    public GatedMatMul GateUp { get; }

    public ResidualMatMul Down { get; }

    /// <summary>Null, as the next, in a model without recurrent layers.</summary>
    public MatMul? Xy { get; }

    public ResidualMatMul? RecurrentOut { get; }

    /// <summary>Null, as the next, in a model without attention layers.</summary>
    public MatMul? Qkv { get; }

    public ResidualMatMul? AttentionOut { get; }

    /// <summary>Whether a model takes this path.</summary>
    public static bool Wanted(GpuDevice device, GriffinConfig config, GriffinModelOptions options) => options.FusedPrefill switch
    {
        FusedPrefill.Auto => !options.BatchInvariant && NormChain.Pays(device, config.Dimensions(), options.Precision, options.UseBlas),
        var choice => choice == FusedPrefill.On,
    };

    /// <summary>Whether a call of so many rows takes it.</summary>
    public bool Serves(int rows) => Serves(_choice, rows);

    /// <summary>Whether a call of so many rows takes this path in a model that wants it.</summary>
    public static bool Serves(FusedPrefill choice, int rows) => choice == FusedPrefill.On || rows > FewRows;

    /// <summary>Bytes of the sums of squares of a call of so many rows.</summary>
    public long SquaresBytes(int rows) => Down.WorkspaceBytes(rows);
}
