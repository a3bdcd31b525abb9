using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>A row that cannot be run, or may not be timed.</summary>
/// <param name="reason">Why, in one line.</param>
internal sealed class NotMeasuredException(string reason) : Exception(reason);

/// <summary>An op as TorchSharp computes it.</summary>
/// <param name="Inputs">The arguments; a call may change them.</param>
/// <param name="Forward">The op; its results stand in the order of our case's outputs.</param>
internal sealed record TorchCase(Tensor[] Inputs, Func<Tensor[], Tensor[]> Forward)
{
    /// <summary>The arguments whose gradients are wanted, in the order of our case's outputs.</summary>
    public int[] WithGradient { get; init; } = [];

    /// <summary>The gradient of the first result.</summary>
    public Tensor? Slope { get; init; }

    /// <summary>Puts gradients into the form of our case's outputs.</summary>
    public Func<Tensor[], Tensor[]> Arrange { get; init; } = gradients => gradients;

    /// <summary>Whether <see cref="Forward"/> is itself the way back, without autograd.</summary>
    public bool IsBackward { get; init; }

    /// <summary>Roundings to the storage type on the way, beside the last: each widens what a check allows.</summary>
    public int Between { get; init; }

    public long Bytes => Inputs.Sum(input => input.numel() * input.element_size());

    /// <summary>The work of one pass as a call; what has to be there before, a backward pass's forward, is done here.</summary>
    public Func<Tensor[]> Bind(string pass)
    {
        if (IsBackward || pass is "forward" or "step")
        {
            return () =>
            {
                using IDisposable quiet = no_grad();
                return Forward(Inputs);
            };
        }

        Tensor[] wanted = [.. WithGradient.Select(at => Inputs[at].requires_grad_(true))];
        if (pass == "backward")
        {
            Tensor[] results = Forward(Inputs);
            return () => Gradients(results[0], wanted, retain: true);
        }

        return () =>
        {
            Tensor[] results = Forward(Inputs);
            return [.. results, .. Gradients(results[0], wanted, retain: false)];
        };
    }

    private Tensor[] Gradients(Tensor result, Tensor[] wanted, bool retain) =>
        Arrange([.. autograd.grad([result], wanted, [Slope!], retain_graph: retain)]);
}
