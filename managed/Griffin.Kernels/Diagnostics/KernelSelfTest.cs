using System.Diagnostics.CodeAnalysis;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Nodes;
using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Diagnostics;

/// <summary>
/// Runs every variant of every op that a device fits on a small case and compares with recorded results: whether this machine computes
/// what the tests have proven. The records are the float32 results of the general variants, which the tests hold against float64 loops.
/// </summary>
public static class KernelSelfTest
{
    private const string Resource = "selftest.json";
    private const double Float32Tolerance = 2e-5;

    // Two roundings to bfloat16 (2^-9 each, of a value and of an intermediate such as a softmax weight), relative to 1 + |expected|.
    private const double BFloat16Tolerance = 1.0 / 256;

    /// <summary>Names of the ops that have a self-test.</summary>
    public static IReadOnlyList<string> Ops
    {
        [RequiresUnreferencedCode("Ops are found by reflection.")]
        get => [.. SelfTests.All().Keys];
    }

    /// <summary>Runs the self-tests.</summary>
    /// <param name="device">Where.</param>
    /// <param name="progress">Told (done, total) of the runs.</param>
    /// <param name="cancellationToken">Stops between runs.</param>
    /// <returns>One result for each op, variant and storage type.</returns>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static IReadOnlyList<SelfTestResult> Run(GpuDevice device, IProgress<(int Done, int Total)>? progress = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(device);
        Dictionary<string, float[]> expected = Recorded();
        SortedDictionary<string, Func<SelfTestBench, TensorView>> tests = SelfTests.All();
        List<(string Op, string? Variant, ElementType Type)> runs = [.. Runs(device, tests.Keys)];
        List<SelfTestResult> results = [];
        using GpuStream stream = device.CreateStream();
        foreach ((string op, string? variant, ElementType type) in runs)
        {
            cancellationToken.ThrowIfCancellationRequested();
            if (RunOne(stream, op, tests[op], variant, type, expected[op]) is { } result) results.Add(result);
            progress?.Report((results.Count, runs.Count));
        }

        return results;
    }

    /// <summary>The results to record, as JSON: each op's in float32 by the variant that the device chooses.</summary>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    internal static string Record(GpuDevice device)
    {
        JsonObject records = [];
        using GpuStream stream = device.CreateStream();
        foreach ((string op, Func<SelfTestBench, TensorView> run) in SelfTests.All())
        {
            using SelfTestBench bench = new(stream, ElementType.Float32, null);
            float[] values = bench.Read(run(bench));
            records[op] = Convert.ToBase64String(MemoryMarshal.AsBytes<float>(values));
        }

        return records.ToJsonString(new JsonSerializerOptions { WriteIndented = true });
    }

    /// <summary>Largest |difference| / (1 + |expected|); infinite where a result is no number or the lengths differ.</summary>
    internal static double LargestError(ReadOnlySpan<float> actual, ReadOnlySpan<float> expected)
    {
        if (actual.Length != expected.Length) return double.PositiveInfinity;
        double largest = 0;
        for (int i = 0; i < actual.Length; i++)
        {
            double error = Math.Abs((double)actual[i] - expected[i]) / (1 + Math.Abs((double)expected[i]));
            largest = error >= 0 ? Math.Max(largest, error) : double.PositiveInfinity; // NaN fails the comparison
        }

        return largest;
    }

    [RequiresUnreferencedCode("Ops are found by reflection.")]
    private static IEnumerable<(string Op, string? Variant, ElementType Type)> Runs(GpuDevice device, IReadOnlyCollection<string> ops)
    {
        foreach (ElementType type in (ElementType[])[ElementType.Float32, ElementType.BFloat16])
        {
            ILookup<string, CatalogueEntry> variants = KernelCatalogue.All(SelfTestBench.Dimensions, type).ToLookup(entry => entry.Op);
            foreach (string op in ops)
            {
                yield return (op, null, type);
                foreach (string name in variants[op].Where(entry => entry.SharedBytes <= device.Limits.SharedBytesPerBlockOptIn).Select(entry => entry.Variant).Distinct())
                    yield return (op, name, type);
            }
        }
    }

    private static SelfTestResult? RunOne(
        GpuStream stream, string op, Func<SelfTestBench, TensorView> test, string? variant, ElementType type, float[] expected)
    {
        double tolerance = type == ElementType.Float32 ? Float32Tolerance : BFloat16Tolerance;
        using SelfTestBench bench = new(stream, type, variant);
        try
        {
            double error = LargestError(bench.Read(test(bench)), expected);
            return new(op, variant ?? "chosen", type, error, tolerance, null);
        }
        catch (ArgumentException refused) when (variant is not null && refused.ParamName == "name")
        {
            // The catalogue also lists helper kernels, and variants for other storage types, that cannot be asked for by name.
            return null;
        }
        catch (GpuException failed)
        {
            return new(op, variant ?? "chosen", type, double.PositiveInfinity, tolerance, failed.Message);
        }
    }

    private static Dictionary<string, float[]> Recorded()
    {
        using Stream stream = Assembly.GetExecutingAssembly().GetManifestResourceStream(Resource)
            ?? throw new InvalidOperationException($"The assembly lacks its resource {Resource}.");
        JsonObject records = JsonNode.Parse(stream)!.AsObject();
        return records.ToDictionary(
            record => record.Key,
            record => MemoryMarshal.Cast<byte, float>(Convert.FromBase64String((string)record.Value!)).ToArray());
    }
}
