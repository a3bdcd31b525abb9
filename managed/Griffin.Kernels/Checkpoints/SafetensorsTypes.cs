using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Checkpoints;

/// <summary>The element types of weights in files, by their names there.</summary>
internal static class SafetensorsTypes
{
    /// <summary>The type a safetensors header calls <paramref name="name"/>; null when weights are never stored in it.</summary>
    internal static ElementType? Parse(string name) => name switch
    {
        "F32" => ElementType.Float32,
        "BF16" => ElementType.BFloat16,
        "F16" => ElementType.Float16,
        _ => null,
    };

    /// <summary>The type's name in a safetensors header.</summary>
    internal static string Name(ElementType type) => type switch
    {
        ElementType.Float32 => "F32",
        ElementType.BFloat16 => "BF16",
        ElementType.Float16 => "F16",
        _ => throw new ArgumentException($"weights are not stored as {type}", nameof(type)),
    };

    /// <summary>The type's name under <c>torch_dtype</c> in config.json.</summary>
    internal static string TorchName(ElementType type) => type switch
    {
        ElementType.Float32 => "float32",
        ElementType.BFloat16 => "bfloat16",
        ElementType.Float16 => "float16",
        _ => throw new ArgumentException($"weights are not stored as {type}", nameof(type)),
    };
}
