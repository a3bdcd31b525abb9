using Griffin.Kernels.Training;

namespace Griffin.Kernels.Tests.Training;

internal sealed class LearningRateScheduleTests
{
    private static LearningRateSchedule Of(ScheduleKind kind, long warmUp = 10) => new(kind, 0.4, warmUp, 0.25, 110);

    [TestCase(ScheduleKind.Constant)]
    [TestCase(ScheduleKind.Linear)]
    [TestCase(ScheduleKind.Cosine)]
    public void The_warm_up_is_a_straight_line_from_zero_to_the_peak(ScheduleKind kind) =>
        Assert.That(new long[] { 1, 5, 10 }.Select(Of(kind).At), Is.EqualTo(new[] { 0.04, 0.2, 0.4 }).Within(1e-15));

    [TestCase(ScheduleKind.Constant, 0.4, 0.4, 0.4, 0.4)]
    [TestCase(ScheduleKind.Linear, 0.325, 0.25, 0.175, 0.1)]
    [TestCase(ScheduleKind.Cosine, 0.35606601717798214, 0.25, 0.14393398282201789, 0.1)]
    public void Each_way_down_has_its_shape(ScheduleKind kind, double quarter, double half, double threeQuarters, double end) =>
        Assert.That(new long[] { 35, 60, 85, 110 }.Select(Of(kind).At), Is.EqualTo(new[] { quarter, half, threeQuarters, end }).Within(1e-12));

    [TestCase(ScheduleKind.Constant, 0.4)]
    [TestCase(ScheduleKind.Linear, 0.1)]
    [TestCase(ScheduleKind.Cosine, 0.1)]
    public void After_the_last_step_the_last_rate_holds(ScheduleKind kind, double rate) =>
        Assert.That(Of(kind).At(100_000), Is.EqualTo(rate).Within(1e-15));

    [Test]
    public void A_run_that_is_all_warm_up_ends_at_the_peak() =>
        Assert.That(Of(ScheduleKind.Cosine, warmUp: 110).At(110), Is.EqualTo(0.4));

    [Test]
    public void Without_a_warm_up_the_first_step_is_already_on_the_way_down() =>
        Assert.That(Of(ScheduleKind.Linear, warmUp: 0).At(1), Is.EqualTo(0.4 * (1 - 0.75 / 110)).Within(1e-15));

    [Test]
    public void Steps_are_counted_from_one() => Assert.That(() => Of(ScheduleKind.Cosine).At(0), Throws.TypeOf<ArgumentOutOfRangeException>());
}
