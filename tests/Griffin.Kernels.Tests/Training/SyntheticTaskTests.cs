using System.Text;
using Griffin.Kernels.Models;
using Griffin.Kernels.Runtime;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Tasks;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Training;

internal sealed class SyntheticTaskTests
{
    private static SyntheticTask Make(string task, TaskSettings settings) => task switch
    {
        "induction" => new InductionHeads(settings),
        "recalls" => new InductionHeads(settings, recalls: 4),
        "copying" => new SelectiveCopying(settings),
        _ => new Phonebook(settings),
    };

    private static MicroBatch Fill(SyntheticTask source, long index)
    {
        MicroBatch batch = new(source.Rows, source.Length);
        batch.Tokens.Fill(-7);
        batch.Positions.Fill(-7);
        batch.Targets.Fill(-7);
        source.Fill(index, batch);
        return batch;
    }

    [TestCase(256, 16, 1)]
    [TestCase(3, 2, 1)]
    [TestCase(7, 5, 3)]
    [TestCase(64, 16, 8)]
    public void Induction_heads_asks_for_what_followed_the_first_appearance(int length, int vocabulary, int recalls)
    {
        InductionHeads task = new(new TaskSettings(8, length), vocabulary, recalls);
        HashSet<int> places = [], answers = [];
        int asked = 0;
        for (int index = 0; index < 30; index++)
        {
            MicroBatch batch = Fill(task, index);
            for (int r = 0; r < 8; r++)
            {
                MicroBatchRow row = batch.Row(r);
                int special = vocabulary - 1, first = row.Tokens.IndexOf(special), answer = row.Tokens[first + 1];
                Assert.That(row.Positions.ToArray(), Is.EqualTo(Enumerable.Range(0, length)));
                Assert.That(row.Tokens.ToArray(), Is.All.InRange(0, special));
                Assert.That(answer, Is.LessThan(special));
                for (int i = 0; i < length; i++) Assert.That(row.Targets[i], Is.EqualTo(row.Tokens[i] == special && i != first ? answer : MicroBatch.NotScored), $"target {i}");
                Assert.That(row.Targets[^1], Is.EqualTo(answer));
                asked += row.Targets.ToArray().Count(target => target >= 0);
                places.Add(first);
                answers.Add(answer);
            }
        }
        Assert.That(asked, recalls == 1 ? Is.EqualTo(240) : Is.InRange(241, 240 * recalls));
        Assert.That(places, Has.Count.GreaterThan(Math.Min(length - 3, 50)), "the first appearance is anywhere");
        Assert.That(answers, Has.Count.EqualTo(vocabulary - 1));
    }

    [TestCase(1024, 16, 16)]
    [TestCase(2, 3, 1)]
    [TestCase(40, 5, 20)]
    public void Selective_copying_asks_for_the_data_in_order(int length, int vocabulary, int data)
    {
        SelectiveCopying task = new(new TaskSettings(5, length), vocabulary, data);
        int[] taken = new int[length];
        for (int index = 0; index < 20; index++)
        {
            MicroBatch batch = Fill(task, index);
            for (int r = 0; r < 5; r++)
            {
                MicroBatchRow row = batch.Row(r);
                Assert.That(row.Positions.ToArray(), Is.EqualTo(Enumerable.Range(0, length)));
                int[] scattered = [.. row.Tokens[..(length - data)].ToArray().Where(token => token != 0)];
                Assert.That(scattered, Has.Length.EqualTo(data).And.All.InRange(2, vocabulary - 1));
                Assert.That(row.Tokens[(length - data)..].ToArray(), Is.All.EqualTo(1));
                Assert.That(row.Targets.ToArray(), Is.EqualTo((int[])[.. Enumerable.Repeat(-1, length - data), .. scattered]));
                for (int i = 0; i < length - data; i++) taken[i] += row.Tokens[i] != 0 ? 1 : 0;
            }
        }
        if (length == 1024) Assert.That((taken[..504].Sum(), taken[504..1008].Sum()), Is.EqualTo((800, 800)).Using<(int, int)>((a, b) => Math.Abs(a.Item1 - b.Item1) < 100), "no part of the noise is preferred");
    }

    [TestCase(512, null)]
    [TestCase(512, 3)]
    [TestCase(145, null)]
    public void A_phonebook_is_followed_by_three_lookups(int length, int? entries)
    {
        Phonebook task = new(new TaskSettings(4, length), entries);
        for (int index = 0; index < 20; index++)
        {
            MicroBatch batch = Fill(task, index);
            for (int r = 0; r < 4; r++)
            {
                MicroBatchRow row = batch.Row(r);
                int count = row.Positions.IndexOf(MicroBatch.Padding) is >= 0 and int end ? end : length;
                Assert.That(row.Positions[..count].ToArray(), Is.EqualTo(Enumerable.Range(0, count)));
                Assert.That(row.Positions[count..].ToArray(), Is.All.EqualTo(MicroBatch.Padding));
                Assert.That(row.Targets[count..].ToArray(), Is.All.EqualTo(MicroBatch.NotScored));
                Assert.That((row.Tokens[0], row.Targets[count - 1] >= 0), Is.EqualTo((2, true)));
                string text = Encoding.ASCII.GetString([.. row.Tokens[1..count].ToArray().Append(row.Targets[count - 1]).Select(token => (byte)(token - 3))]);
                string[] parts = text.Split("\n\n"), book = parts[0].Split('\n'), lookups = parts[1].Split('\n');
                Assert.That((book.Length, lookups.Length), Is.EqualTo((task.Entries, 3)));
                Assert.That(book, Has.All.Match("^[A-Z][a-z]+ [A-Z][a-z]+: [0-9]{3}-[0-9]{4}$"));
                Assert.That(book.Select(line => line.Split(':')[0]), Is.Unique);
                Assert.That(lookups, Is.Unique.And.SubsetOf(book));
                StringBuilder answers = new();
                for (int i = 0; i < count; i++)
                {
                    if (row.Targets[i] < 0) continue;
                    Assert.That(row.Targets[i] - 3, Is.EqualTo(text[i]), "an answer is the text's next byte");
                    answers.Append((char)(row.Targets[i] - 3));
                }
                Assert.That(answers.ToString(), Is.EqualTo(string.Concat(lookups.Select(line => line[^Phonebook.AnswerTokens..]))));
            }
        }
    }

    [Test]
    public void Every_possible_phonebook_fits_its_row() =>
        Assert.Multiple(() =>
        {
            // Names of 13 letters, 2 + 8 + 1 more: 24 bytes an entry, three of them again, an empty line, BOS in and the last line end and digit out.
            for (int length = 145; length < 400; length++) Assert.That((Phonebook.MostEntries(length) + 3) * 24, Is.LessThanOrEqualTo(length));
            Assert.That(Phonebook.MostEntries(145), Is.EqualTo(3));
            Assert.That(() => new Phonebook(new TaskSettings(1, 144)), Throws.TypeOf<ArgumentOutOfRangeException>());
            Assert.That(() => new Phonebook(new TaskSettings(1, 512), entries: Phonebook.MostEntries(512) + 1), Throws.TypeOf<ArgumentOutOfRangeException>());
        });

    [TestCase("induction")]
    [TestCase("recalls")]
    [TestCase("copying")]
    [TestCase("phonebook")]
    public void A_micro_batch_depends_on_seed_split_and_index_only(string task)
    {
        TaskSettings settings = new(3, 256) { Seed = 5 };
        SyntheticTask one = Make(task, settings), again = Make(task, settings);
        int[] late = Fill(one, 1_000_000_007).Tokens.ToArray();
        Fill(one, 0);
        Assert.That(Fill(one, 1_000_000_007).Tokens.ToArray(), Is.EqualTo(late));
        Assert.That(Fill(again, 1_000_000_007).Tokens.ToArray(), Is.EqualTo(late));
        Assert.That(Fill(Make(task, settings with { Rows = 1 }), 3_000_000_022).Tokens.ToArray(), Is.EqualTo(late[256..512]), "rows are numbered through");
        string[] identities =
        [
            one.Identity,
            Make(task, settings with { Seed = 6 }).Identity,
            Make(task, settings with { Split = TaskSplit.HeldOut }).Identity,
            Make(task, settings with { Rows = 4 }).Identity,
            Make(task, settings with { Length = 257 }).Identity,
            Make(task, settings with { Count = 5 }).Identity,
        ];
        Assert.That(identities, Is.Unique);
        Assert.That(again.Identity, Is.EqualTo(one.Identity));
    }

    [Test]
    public void Tasks_that_differ_have_identities_that_differ()
    {
        TaskSettings settings = new(3, 256);
        string[] identities =
        [
            new InductionHeads(settings).Identity, new InductionHeads(settings, recalls: 2).Identity, new InductionHeads(settings, vocabulary: 17).Identity,
            new SelectiveCopying(settings).Identity, new SelectiveCopying(settings, dataTokens: 8).Identity, new SelectiveCopying(settings, vocabulary: 17).Identity,
            new Phonebook(settings).Identity, new Phonebook(settings, entries: 3).Identity, new Phonebook(settings, vocabulary: 300).Identity,
        ];
        Assert.That(identities, Is.Unique);
    }

    [TestCase("induction")]
    [TestCase("copying")]
    [TestCase("phonebook")]
    public void Held_out_sequences_are_none_of_those_trained_on(string task)
    {
        HashSet<string> trained = [], held = [];
        foreach (ulong seed in (ulong[])[0, 1, 2, 3])
        {
            TaskSettings settings = new(10, 256) { Seed = seed };
            for (int index = 0; index < 10; index++)
            {
                MicroBatch training = Fill(Make(task, settings), index), heldOut = Fill(Make(task, settings with { Split = TaskSplit.HeldOut }), index);
                for (int row = 0; row < 10; row++)
                {
                    trained.Add(string.Join(',', training.Row(row).Tokens.ToArray()));
                    held.Add(string.Join(',', heldOut.Row(row).Tokens.ToArray()));
                }
            }
        }
        Assert.That((trained.Count, held.Count), Is.EqualTo((400, 400)));
        Assert.That(trained.Overlaps(held), Is.False);
    }

    [Test]
    public void A_counted_task_ends()
    {
        InductionHeads task = new(new TaskSettings(1, 8) { Count = 2 });
        Fill(task, 1);
        Assert.That(() => task.Fill(2, new MicroBatch(1, 8)), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void Accuracy_counts_what_the_model_thinks_most_likely()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        using GriffinModel model = GriffinModel.Load(TestDevices.Plain, folder.Path, new GriffinModelOptions { Precision = ElementType.Float32 });
        Echo source = new(model, rows: 3, length: 6);
        // Rows 0, 3, 6 … are answered rightly; row 1 of each three has its last answer wrong, row 2 an earlier one.
        Assert.That(TaskAccuracy.Score(model, source, sequences: 5), Is.EqualTo(new TaskScore(5, 3, 15, 12)));
        Assert.That(TaskAccuracy.Score(model, source, sequences: 3).Accuracy, Is.EqualTo(2.0 / 3).Within(1e-15));
    }

    /// <summary>Asks for what the model itself finds most likely at elements 1, 3 and 4, but for one wrong answer in two rows of three.</summary>
    private sealed class Echo(GriffinModel model, int rows, int length) : IBatchSource
    {
        public string Identity => "echo";

        public int Vocabulary => model.Config.Vocabulary;

        public int Rows => rows;

        public int Length => length;

        public long? Count => null;

        public void Fill(long index, MicroBatch batch)
        {
            batch.Clear();
            using GriffinSession session = model.CreateSession();
            using DecodeState state = session.States.Rent();
            float[] logits = new float[length * Vocabulary];
            for (int r = 0; r < rows; r++)
            {
                MicroBatchRow row = batch.Row(r);
                for (int i = 0; i < length; i++) (row.Tokens[i], row.Positions[i]) = ((int)((index * rows + r) * 5 + i * i) % Vocabulary, i);
                state.Reset();
                session.Forward(state, row.Tokens, [], LogitsSelection.All, logits);
                foreach (int place in (int[])[1, 3, 4])
                {
                    float[] of = logits[(place * Vocabulary)..((place + 1) * Vocabulary)];
                    bool wrong = (r == 1 && place == 4) || (r == 2 && place == 1);
                    row.Targets[place] = (Array.IndexOf(of, of.Max()) + (wrong ? 1 : 0)) % Vocabulary;
                }
            }
        }
    }
}
