using System.Text;
using System.Text.Json;
namespace Griffin.Kernels.Tests.References;

/// <summary>The independently trained model's scores and continuations, computed by an implementation that is not ours.</summary>
internal static class AustenTinyData
{
    public const int Bos = 2;

    private static readonly JsonElement expected =
        JsonDocument.Parse(File.ReadAllBytes(Path.Combine(TestData.AustenTiny, "expected.json"))).RootElement;

    /// <summary>Bytes of the held-out text that the scores are over.</summary>
    public static int ScoredBytes => expected.GetProperty("context_256").GetProperty("bytes").GetInt32();

    /// <summary>Greedy continuations: prompt and the ids that follow it.</summary>
    public static IEnumerable<(string Prompt, int[] Ids)> Greedy => expected.GetProperty("greedy").EnumerateArray()
        .Select(item => (item.GetProperty("prompt").GetString()!, item.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32()).ToArray()));

    /// <summary>The beginning of the held-out novel: exactly the scored bytes.</summary>
    public static byte[] HeldOutText => File.ReadAllBytes(TestData.Path("persuasion-65536.txt"));

    /// <summary>Mean nats per token of the scored bytes in pieces of <paramref name="context"/> tokens.</summary>
    public static double NatsPerToken(int context) => expected.GetProperty($"context_{context}").GetProperty("nats_per_token").GetDouble();

    /// <summary>Token ids of a text: byte + 3, BOS in front.</summary>
    public static int[] Encode(string text) => [Bos, .. Encoding.UTF8.GetBytes(text).Select(b => b + 3)];
}
