using Griffin.Kernels.Models;

namespace Griffin.Bench.Limits;

/// <summary>Whole models: what their products and attention compute, and what a decode step reads.</summary>
public static class ModelWork
{
    private const double Float = sizeof(float);

    /// <summary>Operations of all layers over batch sequences of t tokens, the head left out: products, gates and attention's pairs.</summary>
    public static double LayerFlops(GriffinConfig model, double batch, double t)
    {
        ArgumentNullException.ThrowIfNull(model);
        double n = batch * t, d = model.Width, w = model.RnnWidth, attended = (double)model.Heads * model.HeadDim;
        double recurrent = 6 * n * d * w + 4 * n * w * model.GateBlockWidth;
        double attention = 2 * n * d * (attended + 2 * model.HeadDim) + 2 * n * attended * d
            + 4 * attended * batch * AttentionWork.Pairs(t, model.Window ?? double.PositiveInfinity);
        return model.RecurrentLayers * recurrent + model.AttentionLayers * attention + model.Layers * 6 * n * d * model.MlpWidth;
    }

    /// <summary>A forward pass over prompts with the head for each last token; every weight is read once.</summary>
    public static Work Prefill(GriffinConfig model, double batch, double t, double s) =>
        new(model.Parameters * s, LayerFlops(model, batch, t) + HeadFlops(model, batch));

    /// <summary>One token for each sequence: every weight, and every state with as many keys as it holds.</summary>
    public static Work DecodeStep(GriffinConfig model, double batch, double context, double s)
    {
        ArgumentNullException.ThrowIfNull(model);
        double keys = Math.Min(context, model.Window ?? double.PositiveInfinity) + 1;
        double ring = 2 * keys * model.HeadDim * s;
        double state = model.RnnWidth * (2 * Float + model.ConvTaps * s);
        double bytes = model.Parameters * s + batch * (model.AttentionLayers * ring + model.RecurrentLayers * state);
        return new(bytes, 2 * model.Parameters * batch + 4 * keys * model.HeadDim * model.Heads * model.AttentionLayers * batch, ReadsOnly: true);
    }

    /// <summary>So many decode steps, one after the other, from a context on.</summary>
    public static Work Decode(GriffinConfig model, double batch, double context, double steps, double s)
    {
        double bytes = 0, flops = 0;
        for (double step = 0; step < steps; step++)
        {
            Work one = DecodeStep(model, batch, context + step, s);
            (bytes, flops) = (bytes + one.Bytes, flops + one.Flops);
        }

        return new(bytes, flops, ReadsOnly: true);
    }

    /// <summary>Forward and backward pass with the head over every token, three times the forward's operations; AdamW's bytes.</summary>
    public static Work TrainingStep(GriffinConfig model, double batch, double t) =>
        new(ElementwiseWork.AdamW(model.Parameters).Bytes, 3 * (LayerFlops(model, batch, t) + HeadFlops(model, batch * t)));

    private static double HeadFlops(GriffinConfig model, double rows) => 2 * rows * model.EmbeddingParameters;
}
