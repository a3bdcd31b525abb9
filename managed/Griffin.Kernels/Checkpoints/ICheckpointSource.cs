using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>Where a model's weights come from: files, an initialiser, or a model itself. Safe to read from several threads at once.</summary>
public interface ICheckpointSource
{
    /// <summary>The shape of the model.</summary>
    GriffinConfig Config { get; }

    /// <summary>
    /// Reads a run of one tensor's elements, in the row-major order of <see cref="WeightCatalogue.ShapeOf"/> (linear maps [out, in],
    /// conv [l, taps], gates [blocks, in, out]), so that a tensor of any size passes through a buffer of any size.
    /// </summary>
    /// <param name="name">The tensor.</param>
    /// <param name="type">Float32, BFloat16 or Float16: what to convert to, rounding to nearest even.</param>
    /// <param name="firstElement">Where in the tensor the run begins.</param>
    /// <param name="destination">Receives the elements; its length says how many.</param>
    /// <exception cref="ArgumentException">The model has no such tensor, the run leaves it, or the type is no storage type.</exception>
    /// <exception cref="CheckpointException">The content is refused.</exception>
    void Read(WeightName name, ElementType type, long firstElement, Span<byte> destination);
}

/// <summary>Whole-tensor reads.</summary>
public static class CheckpointSources
{
    /// <summary>Reads a whole tensor.</summary>
    /// <param name="source">The weights.</param>
    /// <param name="name">The tensor.</param>
    /// <param name="type">Float32, BFloat16 or Float16.</param>
    /// <param name="destination">Receives the elements; exactly the tensor's size.</param>
    /// <exception cref="ArgumentException">The destination is not exactly the tensor's size, or as <see cref="ICheckpointSource.Read"/>.</exception>
    public static void Read(this ICheckpointSource source, WeightName name, ElementType type, Span<byte> destination)
    {
        ArgumentNullException.ThrowIfNull(source);
        long bytes = WeightCatalogue.ElementsOf(source.Config, name.Kind) * type.SizeOf();
        if (destination.Length != bytes) throw new ArgumentException($"{name} needs {bytes} bytes, the destination has {destination.Length}", nameof(destination));
        source.Read(name, type, 0, destination);
    }

    /// <summary>Checks the arguments of a read and returns the number of elements asked for.</summary>
    internal static int CheckRun(GriffinConfig config, WeightName name, ElementType type, long firstElement, int destinationBytes)
    {
        if (type is not (ElementType.Float32 or ElementType.BFloat16 or ElementType.Float16))
            throw new ArgumentException($"weights are read as Float32, BFloat16 or Float16, not {type}", nameof(type));
        if (!WeightCatalogue.Contains(config, name)) throw new ArgumentException($"the model has no {name}", nameof(name));
        int size = type.SizeOf();
        long elements = WeightCatalogue.ElementsOf(config, name.Kind);
        if (destinationBytes % size != 0 || firstElement < 0 || firstElement > elements - destinationBytes / size)
        {
            throw new ArgumentException(
                $"{destinationBytes} bytes from element {firstElement} is no run of the {elements} elements of {name}", nameof(firstElement));
        }
        return destinationBytes / size;
    }
}
