using System.Text.Json;
namespace Griffin.Kernels.Tests.References;

/// <summary>Reads a Hugging Face folder into the float64 reference: what the reference data needs, and no more.</summary>
internal static class ReferenceFolder
{
    /// <summary>Loads the folder; <paramref name="windowRule"/> makes W keys visible instead of W + 1.</summary>
    public static ReferenceModel Load(string folder, bool windowRule = false)
    {
        using var config = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(folder, "config.json")));
        double Number(string key) => config.RootElement.GetProperty(key).GetDouble();
        var scale = Bf16.Round((float)Math.Sqrt(Number("hidden_size")));
        var keysVisible = (int)Number("attention_window_size") + (windowRule ? 0 : 1);
        return new ReferenceModel(
            new ReferenceConfig(
                (int)Number("num_attention_heads"), keysVisible, scale, Number("logits_soft_cap"),
                Number("rms_norm_eps"), Number("rope_theta"), Number("partial_rotary_factor")),
            TestSafetensors.Read(Path.Combine(folder, "model.safetensors")));
    }
}
