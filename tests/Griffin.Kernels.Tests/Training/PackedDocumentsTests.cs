using Griffin.Kernels.Models;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Data;

namespace Griffin.Kernels.Tests.Training;

internal sealed class PackedDocumentsTests
{
    private const int Bos = 2, Eos = 1;

    private static readonly GriffinConfig config = new GriffinConfig { Vocabulary = 1000, Width = 8, Layers = 1, Heads = 1, MlpWidth = 8, BosToken = Bos, EosTokens = [Eos] }.Validate();

    /// <summary>Tokens that tell where they are: document d's i-th is 3 + 100 · d + i.</summary>
    private static DocumentSet Documents(params int[] lengths)
    {
        DocumentSet documents = new("data", config.Vocabulary);
        for (int d = 0; d < lengths.Length; d++) documents.Add([.. Enumerable.Range(3 + 100 * d, lengths[d])], "here");
        return documents;
    }

    private static MicroBatch Fill(PackedDocuments source, long index)
    {
        MicroBatch batch = new(source.Rows, source.Length);
        batch.Tokens.Fill(-7);
        batch.Positions.Fill(-7);
        batch.Targets.Fill(-7);
        source.Fill(index, batch);
        return batch;
    }

    [TestCase(1, 1, 1)]
    [TestCase(3, 7, 20, 1, 5, 7, 13)]
    [TestCase(2, 8, 8)]
    [TestCase(2, 5, 90)]
    [TestCase(4, 16, 3, 3, 3, 3, 3, 3, 3, 3)]
    public void Rows_are_fragments_of_documents_each_behind_a_BOS(int rows, int length, params int[] lengths)
    {
        PackedDocuments source = new(Documents(lengths), config, rows, length, seed: 5);
        for (int index = 0; index < 20; index++)
        {
            MicroBatch batch = Fill(source, index);
            Assert.That(batch.Scored, Is.EqualTo(rows * length), "packed rows have no gap");
            for (int row = 0; row < rows; row++) CheckRow(batch.Row(row), lengths);
        }
    }

    private static void CheckRow(MicroBatchRow row, int[] lengths)
    {
        for (int i = 0; i < row.Tokens.Length; i++)
        {
            bool begins = i == 0 || row.Targets[i - 1] == Eos;
            Assert.That(row.Positions[i], Is.EqualTo(begins ? 0 : row.Positions[i - 1] + 1), $"position {i}");
            Assert.That(row.Tokens[i], Is.EqualTo(begins ? Bos : row.Targets[i - 1]), $"token {i}");
            if (i == 0) continue;
            int before = row.Targets[i - 1], next = row.Targets[i];
            (int document, int place) = Math.DivRem(before - 3, 100);
            if (before == Eos) Assert.That((next - 3) % 100, Is.Zero, $"target {i}: {next} does not begin a document");
            else Assert.That(next, Is.EqualTo(place + 1 == lengths[document] ? Eos : before + 1), $"target {i}");
        }
    }

    [TestCase(7, 4, 20, 1, 5, 7, 13)]
    [TestCase(3, 5, 90)]
    [TestCase(1, 1, 6)]
    public void An_epoch_trains_on_every_token_at_most_once_and_leaves_out_less_than_a_row(int rows, int length, params int[] lengths)
    {
        int total = lengths.Sum() + lengths.Length, rowsOfEpoch = total / length;
        PackedDocuments source = new(Documents(lengths), config, rows: 1, length, seed: (ulong)rows);
        Assert.That(source.TokensOfEpoch, Is.EqualTo(rowsOfEpoch * length));
        HashSet<string> orders = [];
        for (int epoch = 0; epoch < 6; epoch++)
        {
            List<int> seen = [];
            for (int row = 0; row < rowsOfEpoch; row++) seen.AddRange(Fill(source, epoch * rowsOfEpoch + row).Targets.ToArray());
            int[] tokens = [.. seen.Where(token => token != Eos)];
            Assert.That(tokens, Is.Unique);
            Assert.That(seen, Has.Count.GreaterThan(total - length));
            Assert.That(seen.Count(token => token == Eos), Is.LessThanOrEqualTo(lengths.Length));
            orders.Add(string.Join(',', seen));
        }
        Assert.That(orders, Has.Count.GreaterThanOrEqualTo(total > 10 ? 6 : 3), "epochs differ");
    }

    [Test]
    public void Rows_come_in_no_order()
    {
        PackedDocuments source = new(Documents(900), config with { Vocabulary = 2000 }, rows: 1, length: 9, seed: 1);
        int[] first = [.. Enumerable.Range(0, 100).Select(index => Fill(source, index).Targets[0])];
        Assert.That(Enumerable.Range(1, 99).Count(i => first[i] == first[i - 1] + 9), Is.LessThan(8), "one row in a hundred should follow its neighbour");
    }

    [Test]
    public void Cut_points_of_one_long_text_move()
    {
        PackedDocuments source = new(Documents(90), config, rows: 1, length: 30, seed: 1);
        HashSet<int> first = [];
        for (int index = 0; index < 60; index++) first.Add(Fill(source, index).Targets[0]);
        Assert.That(first, Has.Count.GreaterThan(15));
    }

    [Test]
    public void A_micro_batch_depends_on_data_seed_and_index_only()
    {
        PackedDocuments one = new(Documents(90, 31), config, 3, 7, seed: 1), again = new(Documents(90, 31), config, 3, 7, seed: 1);
        int[] late = Fill(one, 40).Tokens.ToArray();
        Fill(one, 3);
        Assert.That(Fill(one, 40).Tokens.ToArray(), Is.EqualTo(late));
        Assert.That(Fill(again, 40).Tokens.ToArray(), Is.EqualTo(late));
        Assert.That(again.Identity, Is.EqualTo(one.Identity));
        Assert.That(Fill(new PackedDocuments(Documents(90, 31), config, 3, 7, seed: 2), 40).Tokens.ToArray(), Is.Not.EqualTo(late));
    }

    [Test]
    public void Micro_batches_of_other_row_counts_go_through_the_same_rows()
    {
        PackedDocuments four = new(Documents(90, 31), config, rows: 4, 7, seed: 1), one = new(Documents(90, 31), config, rows: 1, 7, seed: 1);
        MicroBatch whole = Fill(four, 9);
        for (int row = 0; row < 4; row++) Assert.That(whole.Row(row).Targets.ToArray(), Is.EqualTo(Fill(one, 36 + row).Targets.ToArray()));
    }

    [Test]
    public void Every_setting_and_every_token_is_part_of_the_identity()
    {
        DocumentSet other = new("data", config.Vocabulary);
        other.Add([.. Enumerable.Range(3, 89), 3], "here");
        DocumentSet cut = new("data", config.Vocabulary);
        cut.Add([.. Enumerable.Range(3, 45)], "here");
        cut.Add([.. Enumerable.Range(48, 45)], "here");
        string[] identities =
        [
            new PackedDocuments(Documents(90), config, 3, 7, 1).Identity,
            new PackedDocuments(Documents(90), config, 4, 7, 1).Identity,
            new PackedDocuments(Documents(90), config, 3, 8, 1).Identity,
            new PackedDocuments(Documents(90), config, 3, 7, 2).Identity,
            new PackedDocuments(Documents(90), config with { BosToken = 0 }, 3, 7, 1).Identity,
            new PackedDocuments(Documents(90), config with { EosTokens = [0] }, 3, 7, 1).Identity,
            new PackedDocuments(Documents(90), config with { Vocabulary = 999 }, 3, 7, 1).Identity,
            new PackedDocuments(other, config, 3, 7, 1).Identity,
            new PackedDocuments(cut, config with { EosTokens = [] }, 3, 7, 1).Identity,
            new PackedDocuments(Documents(90), config with { EosTokens = [] }, 3, 7, 1).Identity,
        ];
        Assert.That(identities, Is.Unique);
        Assert.That(identities, Has.All.Length.EqualTo(64));
    }

    [Test]
    public void Without_an_EOS_documents_only_follow_one_another()
    {
        PackedDocuments source = new(Documents(3, 2), config with { EosTokens = [] }, rows: 1, length: 5, seed: 0);
        MicroBatch batch = Fill(source, 0);
        Assert.That(batch.Targets.ToArray(), Is.EquivalentTo(new[] { 3, 4, 5, 103, 104 }));
        int second = batch.Targets.IndexOf(103);
        Assert.That(batch.Positions[second], Is.Zero);
    }

    [Test]
    public void Too_little_data_has_its_line() =>
        Assert.That(() => new PackedDocuments(Documents(3, 4), config, 1, 10, 0), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo(
            "data: holds 9 tokens, fewer than one row of 10: give more data or a smaller context"));

    [Test]
    public void Without_a_BOS_there_is_one_line() =>
        Assert.That(() => new PackedDocuments(Documents(30), config with { BosToken = null }, 1, 10, 0), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo(
            "data: cannot be packed for a model without a begin-of-sequence token: set bos_token_id"));

    [Test]
    public void Wrong_calls_are_refused()
    {
        PackedDocuments source = new(Documents(30), config, 2, 10, 0);
        Assert.That(() => source.Fill(-1, new MicroBatch(2, 10)), Throws.TypeOf<ArgumentOutOfRangeException>());
        Assert.That(() => source.Fill(0, new MicroBatch(2, 11)), Throws.ArgumentException.With.Message.StartsWith("The batch is [2, 11], the source's are [2, 10]."));
    }

    [TestCase(1)]
    [TestCase(2)]
    [TestCase(3)]
    [TestCase(4)]
    [TestCase(17)]
    [TestCase(1000)]
    [TestCase(4097)]
    public void A_permutation_has_every_element_once(int count)
    {
        Permutation one = new(count, key: 1), two = new(count, key: 2);
        long[] first = [.. Enumerable.Range(0, count).Select(rank => one.At(rank))], second = [.. Enumerable.Range(0, count).Select(rank => two.At(rank))];
        Assert.That(first.Order(), Is.EqualTo(Enumerable.Range(0, count)));
        Assert.That(second.Order(), Is.EqualTo(Enumerable.Range(0, count)));
        if (count < 17) return;
        Assert.That(second, Is.Not.EqualTo(first));
        // Of a random permutation one element is expected to stay in its place.
        Assert.That(Enumerable.Range(0, count).Count(rank => first[rank] == rank), Is.LessThan(10));
    }
}
