using System.Runtime.InteropServices;
using Griffin.Kernels.Ops;

namespace Griffin.Kernels.Tests.Ops;

/// <summary>Sizes and offsets of the parameter structs, as their C++ twins have them: pointers first, then 64-bit, then 32-bit fields.</summary>
[TestFixture]
internal sealed class AttentionLayoutTests
{
    private static IEnumerable<TestCaseData> Structs()
    {
        yield return Case<RotaryEmbeddingParams>(56, 0, 8, 16, 24, 32, 36, 40, 44, 48);
        yield return Case<RotaryStepParams>(80, 0, 8, 16, 24, 32, 48, 56, 60, 64, 68, 72);
        yield return Case<RingAppendParams>(88, 0, 8, 48, 64, 72, 76, 80);
        yield return Case<WindowAttentionParams>(128, 0, 8, 16, 24, 64, 80, 88, 96, 104, 108, 112, 116, 120, 124);
        yield return Case<WindowAttentionBackwardParams>(152, 0, 8, 16, 24, 32, 40, 48, 88, 96, 104, 112, 120, 128, 132, 136, 140, 144, 148);
        yield return Case<DecodeAttentionParams>(144, 0, 8, 16, 24, 32, 40, 80, 96, 104, 112, 116, 120, 124, 128, 132, 136);
        yield return Case<SamplerParams>(64, 0, 8, 16, 24, 32, 48, 56);
        yield return Case<SamplerCountParams>(72, 0, 8, 48, 64);
        yield return Case<SamplerState>(32, 0, 8, 12, 16, 20, 24, 28);
    }

    [TestCaseSource(nameof(Structs))]
    public void LayoutIsPinned(Type type, int size, int[] offsets)
    {
        var fields = type.GetFields().OrderBy(field => field.MetadataToken).Select(field => (int)Marshal.OffsetOf(type, field.Name));
        Assert.That(Marshal.SizeOf(type), Is.EqualTo(size));
        Assert.That(fields, Is.EqualTo(offsets));
    }

    private static TestCaseData Case<T>(int size, params int[] offsets) where T : unmanaged => new TestCaseData(typeof(T), size, offsets).SetArgDisplayNames(typeof(T).Name);
}
