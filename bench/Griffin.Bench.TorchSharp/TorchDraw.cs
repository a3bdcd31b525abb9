using Griffin.Bench.Inputs;
using Griffin.Bench.Rows;
using Griffin.Kernels.Runtime;
using TorchSharp;
using static TorchSharp.torch;
using Generator = Griffin.Bench.Inputs.Generator;

namespace Griffin.Bench.TorchSharp;

/// <summary>
/// The benchmark's inputs as tensors, drawn where they are used, with the bits that <see cref="Generator"/> gives. A tensor's seed is its name's place
/// among the inputs that rows.json lists for the row; names that it does not list take the numbers behind.
/// </summary>
internal sealed class TorchDraw(RowList rows, BenchRow row, Device device)
{
    private const long Low = 0xffffffff, Piece = 1 << 24;

    private readonly List<string> _names = [.. rows.InputsOf(row)];

    public Device Device => device;

    public ScalarType Type => TypeOf(row.Type);

    public static ScalarType TypeOf(ElementType type) => type == ElementType.BFloat16 ? ScalarType.BFloat16 : ScalarType.Float32;

    /// <summary>A tensor of the row's type, or of another.</summary>
    public Tensor Input(string name, InputRule rule, ScalarType? type, params long[] shape)
    {
        uint seed = SeedOf(name);
        Tensor whole = empty(shape, type ?? Type, device);
        Fill(whole, index =>
        {
            Tensor drawn = rule.IsUniform
                ? Shifted(Bits(index, seed, 0), 8).to(ScalarType.Float32) * (1f / (1 << 24))
                : (SumOfFour(index, seed) - Generator.NormalCentre).to(ScalarType.Float32) * Generator.NormalUnit;
            Tensor scaled = drawn * rule.Factor;
            return rule.Shift == 0 ? scaled : scaled + rule.Shift;
        });
        return whole;
    }

    /// <summary>Standard normal numbers of the row's type.</summary>
    public Tensor Activation(string name, params long[] shape) => Input(name, InputRules.Activation, null, shape);

    /// <summary>Whole numbers below a bound, as int64.</summary>
    public Tensor Below(string name, long count, long bound)
    {
        uint seed = SeedOf(name);
        Tensor whole = empty([count], ScalarType.Int64, device);
        Fill(whole, index => Bits(index, seed, 0).remainder(bound));
        return whole;
    }

    private uint SeedOf(string name)
    {
        if (!_names.Contains(name)) _names.Add(name);
        return (uint)_names.IndexOf(name) + 1;
    }

    // The integers take four times the memory of the numbers: a piece at a time.
    private void Fill(Tensor whole, Func<Tensor, Tensor> values)
    {
        long count = whole.numel();
        if (count > Low) throw new NotMeasuredException("a tensor of more than 2^32 elements is not drawn");
        using Tensor flat = whole.view(-1);
        for (long at = 0; at < count; at += Piece)
        {
            using DisposeScope scope = NewDisposeScope();
            long length = Math.Min(Piece, count - at);
            flat.narrow(0, at, length).copy_(values(arange(at, at + length, ScalarType.Int64, device)));
        }
    }

    private static Tensor SumOfFour(Tensor index, uint seed)
    {
        Tensor first = Bits(index, seed, 0), second = Bits(index, seed, 1);
        return (first & 0xffff) + Shifted(first, 16) + (second & 0xffff) + Shifted(second, 16);
    }

    // Generator.Bits for indices of 32 bits; the inner mix is a constant then. An int64 product may wrap: its low 32 bits are right all the same.
    private static Tensor Bits(Tensor index, uint seed, uint draw)
    {
        Tensor x = index ^ (long)Generator.Mix(unchecked(0x9e3779b9 * draw + seed * 0x85ebca6b));
        x ^= Shifted(x, 16);
        x = (x * 0x7feb352d) & Low;
        x ^= Shifted(x, 15);
        x = (x * 0x846ca68b) & Low;
        return x ^ Shifted(x, 16);
    }

    // Of numbers that are not negative.
    private static Tensor Shifted(Tensor x, int bits) => x.div(1L << bits, RoundingMode.floor);
}
