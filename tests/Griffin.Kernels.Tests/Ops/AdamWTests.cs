using Griffin.Kernels.Ops;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Tests.Ops;

[TestFixture]
internal sealed class AdamWTests
{
    private static readonly float[] usual = [3e-3f, 0.9f, 0.95f, 1e-8f, 0.1f, 1];

    private static string[] Variants(ElementType type) => OpTest.VariantsOf<AdamW>(OpTest.Dimensions(1), type);

    [Test]
    public void OneStepMatchesFloat64([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(1, 2, 31, 33, 65)] int groups, [Values(0.25f, 1f, 40f)] float norm)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(type))
        {
            var arena = new Arena(test, type, groups, (ulong)groups);
            var (gradient, settings) = (arena.NextGradient(), Arena.SettingsOf(usual, step: 7));
            var expected = arena.Expected(gradient, norm, settings);
            arena.Step(variant, gradient, norm, settings);
            arena.Compare(expected, variant);
        }
    }

    [Test]
    public void ManyStepsFollowFloat64([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Plain);
        foreach (var variant in Variants(type))
        {
            var arena = new Arena(test, type, 3, 5, fromZero: true);
            var (master, first, second) = arena.Start();
            for (var step = 1; step <= 50; step++)
            {
                var (gradient, settings) = (arena.NextGradient(), Arena.SettingsOf(usual, step));
                var norm = (float)Math.Sqrt(gradient.Sum(value => (double)value * value));
                (master, first, second) = arena.Advance(master, first, second, gradient, norm, settings);
                arena.Step(variant, gradient, norm, settings);
            }

            Close.Absolute(test.Read(arena.Master), master, 1e-5, $"{variant}: master");
            Close.Absolute(test.Read(arena.First), first, 1e-6, $"{variant}: first");
            Close.Absolute(test.Read(arena.Second), second, 1e-6, $"{variant}: second");
        }
    }

    [Test]
    public void ANormThatIsNotFiniteChangesNothing([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type, [Values(float.NaN, float.PositiveInfinity)] float norm)
    {
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(type))
        {
            var arena = new Arena(test, type, 3, 4);
            TensorView[] views = [arena.Weights, arena.Master, arena.First, arena.Second];
            var before = views.Select(test.Read).ToArray();
            arena.Step(variant, Poison.Floats(3 * AdamW.Group), norm, Arena.SettingsOf(usual, 1));
            foreach (var (index, view) in views.Index())
                Close.Exact(test.Read(view), before[index], $"{variant}, {index}");
        }
    }

    [Test]
    public void WeightsMayBeTheirOwnMaster()
    {
        const ElementType type = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        foreach (var variant in Variants(type))
        {
            var (apart, one) = (new Arena(test, type, 5, 6), new Arena(test, type, 5, 6, shared: true));
            var (gradient, settings) = (apart.NextGradient(), Arena.SettingsOf(usual, 2));
            apart.Step(variant, gradient, 2, settings);
            one.Step(variant, gradient, 2, settings);
            Close.Exact(test.Read(one.Weights), test.Read(apart.Weights), variant);
            Close.Exact(test.Read(apart.Master), test.Read(apart.Weights), variant);
        }
    }

    [Test]
    public void VariantsAgreeBitForBit([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        using var test = new OpTest(TestDevices.Checked);
        float[]? expected = null;
        foreach (var variant in Variants(type))
        {
            var arena = new Arena(test, type, 7, 3);
            arena.Step(variant, arena.NextGradient(), 3, Arena.SettingsOf(usual, 4));
            float[] actual = [.. test.Read(arena.Weights), .. test.Read(arena.Master), .. test.Read(arena.First), .. test.Read(arena.Second)];
            Close.Exact(actual, expected ??= actual, variant);
        }
    }

    [Test]
    public void ScheduleDoesNotShow([ValueSource(typeof(OpTest), nameof(OpTest.Types))] ElementType type)
    {
        foreach (var variant in Variants(type))
        {
            Schedules.DoNotShow(variant, test =>
            {
                var arena = new Arena(test, type, 70, 3);
                arena.Step(variant, arena.NextGradient(), 3, Arena.SettingsOf(usual, 4));
                return [.. test.Read(arena.Weights), .. test.Read(arena.Master), .. test.Read(arena.First), .. test.Read(arena.Second)];
            });
        }
    }

    [Test]
    public void RefusesWrongArguments()
    {
        const ElementType type = ElementType.BFloat16;
        const ElementType f32 = ElementType.Float32;
        using var test = new OpTest(TestDevices.Checked);
        var op = new AdamW(test.Device, type);
        var (weights, master, gradient, first, second) = (test.Output(1, 128, type), test.Output(1, 128, f32), test.Output(1, 128, f32), test.Output(1, 128, f32), test.Output(1, 128, f32));
        var (flags, norm, settings) = (test.Bytes(1, 0), test.Vector([1], f32), test.Vector(new float[8], f32));
        void Run(TensorView weights, TensorView gradient, TensorView second, TensorView flags) => op.Run(test.Stream, weights, master, gradient, first, second, flags, norm, settings);
        Assert.Multiple(() =>
        {
            Assert.That(() => Run(test.Output(1, 100, type), gradient, second, flags), Throws.ArgumentException.With.Message.Contains("multiple of 64"));
            Assert.That(() => Run(weights, test.Output(1, 64, f32), second, flags), Throws.ArgumentException.With.Message.Contains("gradient has 64"));
            Assert.That(() => Run(weights, gradient, first, flags), Throws.ArgumentException.With.Message.Contains("overlap"));
            Assert.That(() => Run(weights, gradient, second, test.Bytes(1)), Throws.ArgumentException.With.Message.Contains("decayed"));
            Assert.That(() => Run(test.Output(1, 128, f32), gradient, second, flags), Throws.ArgumentException.With.Message.Contains("BFloat16"));
        });
    }

    /// <summary>The arenas of one optimiser, every other group decaying, on a device and in float64.</summary>
    private sealed class Arena
    {
        private readonly OpTest _test;
        private readonly ElementType _type;
        private readonly CounterRandom _random;
        private readonly byte[] _decayed;
        private readonly int _count;

        public Arena(OpTest test, ElementType type, int groups, ulong seed, bool fromZero = false, bool shared = false)
        {
            (_test, _type, _random, _count) = (test, type, new CounterRandom(seed), groups * AdamW.Group);
            _decayed = [.. Enumerable.Range(0, groups).Select(group => (byte)(group % 2))];
            Master = test.Vector(_random.Normals(_count), ElementType.Float32);
            First = test.Vector(fromZero ? new float[_count] : _random.Normals(_count, 0.1), ElementType.Float32);
            Second = test.Vector(fromZero ? new float[_count] : _random.Uniforms(_count, 0, 0.1), ElementType.Float32);
            Weights = shared ? Master : test.Output(1, _count, type);
        }

        public TensorView Weights { get; }

        public TensorView Master { get; }

        public TensorView First { get; }

        public TensorView Second { get; }

        /// <summary>The eight settings at a step from the first six.</summary>
        public static float[] SettingsOf(float[] settings, int step) =>
            [.. settings, (float)(1 / (1 - Math.Pow(settings[1], step))), (float)(1 / (1 - Math.Pow(settings[2], step)))];

        public float[] NextGradient() => _random.Normals(_count, 0.3);

        public (double[] Master, double[] First, double[] Second) Start() => (Wide(Master), Wide(First), Wide(Second));

        public void Step(string variant, float[] gradient, float norm, float[] settings) => new AdamW(_test.Device, _type, variant).Run(
            _test.Stream, Weights, Master, _test.Vector(gradient, ElementType.Float32), First, Second, _test.Bytes(_decayed), _test.Vector([norm], ElementType.Float32),
            _test.Vector(settings, ElementType.Float32));

        public (double[] Master, double[] First, double[] Second) Advance(double[] master, double[] first, double[] second, float[] gradient, double norm, float[] settings)
        {
            var (rate, beta1, beta2, eps, decay, most, c1, c2) = ((double)settings[0], (double)settings[1], (double)settings[2], (double)settings[3], (double)settings[4], (double)settings[5],
                (double)settings[6], (double)settings[7]);
            var (newMaster, newFirst, newSecond) = (new double[_count], new double[_count], new double[_count]);
            for (var i = 0; i < _count; i++)
            {
                var g = gradient[i] * (most > 0 ? Math.Min(1, most / norm) : 1);
                newFirst[i] = (beta1 * first[i]) + ((1 - beta1) * g);
                newSecond[i] = (beta2 * second[i]) + ((1 - beta2) * g * g);
                var step = rate * newFirst[i] * c1 / (Math.Sqrt(newSecond[i] * c2) + eps);
                newMaster[i] = (master[i] * (1 - (_decayed[i / AdamW.Group] * rate * decay))) - step;
            }

            return (newMaster, newFirst, newSecond);
        }

        public Step64 Expected(float[] gradient, double norm, float[] settings)
        {
            var (master, first, second) = Start();
            var (newMaster, newFirst, newSecond) = Advance(master, first, second, gradient, norm, settings);
            // Where the first moment's two terms cancel, the step's error is that of the terms.
            double[] stepSize = [.. newFirst.Select((_, i) => settings[0] * settings[6] * (Math.Abs(first[i]) + Math.Abs(gradient[i])) / (Math.Sqrt(newSecond[i] * settings[7]) + settings[3]))];
            return new(newMaster, newFirst, newSecond, stepSize, [.. first.Select((value, i) => Math.Abs(value) + Math.Abs(gradient[i]))]);
        }

        public void Compare(Step64 expected, string variant)
        {
            var master = _test.Read(Master);
            Close.Within(_test.Read(First), expected.First, i => OpTest.Units(4) * expected.FirstSize[i], $"{variant}: first");
            Close.Within(_test.Read(Second), expected.Second, i => OpTest.Units(6) * expected.Second[i], $"{variant}: second");
            Close.Within(master, expected.Master, i => OpTest.Units(4) * Math.Abs(expected.Master[i]) + OpTest.Units(20) * expected.StepSize[i], $"{variant}: master");
            Close.Exact(_test.Read(Weights), _type == ElementType.BFloat16 ? Array.ConvertAll(master, Bf16.Round) : master, $"{variant}: weights");
        }

        private double[] Wide(TensorView view) => Array.ConvertAll(_test.Read(view), value => (double)value);
    }

    private sealed record Step64(double[] Master, double[] First, double[] Second, double[] StepSize, double[] FirstSize);
}
