using Griffin.Kernels.Models;
using Griffin.Kernels.Training;
using Griffin.Kernels.Training.Data;

namespace Griffin.Kernels.Tests.Training;

internal sealed class HeldOutPiecesTests
{
    private static readonly GriffinConfig config = new GriffinConfig { Vocabulary = 384, Width = 8, Layers = 1, Heads = 1, MlpWidth = 8 }.Validate();

    [TestCase(16, 256, 65536)]
    [TestCase(3, 100, 1234)]
    [TestCase(1, 1, 3)]
    public void A_text_is_cut_as_the_shipped_scores_are(int rows, int length, int tokens)
    {
        byte[] text = File.ReadAllBytes(TestData.Path("persuasion-65536.txt"));
        HeldOutPieces source = new(Of([.. text.Select(b => b + 3)]), config, rows, length, tokens == 65536 ? 0 : tokens);
        Assert.That((source.Tokens, source.Count), Is.EqualTo(((long)tokens, (tokens + (long)rows * length - 1) / (rows * length))));
        int scored = 0;
        MicroBatch batch = new(rows, length);
        for (long index = 0; index < source.Count; index++)
        {
            batch.Tokens.Fill(-7);
            source.Fill(index, batch);
            for (int row = 0; row < rows; row++)
            {
                byte[] piece = [.. text.Take(tokens).Skip(((int)index * rows + row) * length).Take(length)];
                int[] targets = [.. piece.Select(b => b + 3)];
                MicroBatchRow actual = batch.Row(row);
                Assert.That(actual.Targets[..piece.Length].ToArray(), Is.EqualTo(targets));
                if (piece.Length > 0) Assert.That(actual.Tokens[..piece.Length].ToArray(), Is.EqualTo((int[])[2, .. targets[..^1]]));
                Assert.That(actual.Positions[..piece.Length].ToArray(), Is.EqualTo(Enumerable.Range(0, piece.Length)));
                Assert.That(actual.Positions[piece.Length..].ToArray(), Is.All.EqualTo(MicroBatch.Padding));
                Assert.That(actual.Targets[piece.Length..].ToArray(), Is.All.EqualTo(MicroBatch.NotScored));
                Assert.That(actual.Tokens[piece.Length..].ToArray(), Is.All.Zero);
                scored += piece.Length;
            }
        }
        Assert.That(scored, Is.EqualTo(tokens));
    }

    [Test]
    public void Short_documents_share_rows_and_none_is_cut_twice()
    {
        HeldOutPieces source = new(Of([10, 11, 12], [20, 21], [30], [40, 41, 42, 43, 44, 45, 46], [50]), config, rows: 2, length: 6);
        MicroBatch batch = new(2, 6);
        Assert.That(source.Count, Is.EqualTo(2));
        source.Fill(0, batch);
        Assert.That(batch.Tokens.ToArray(), Is.EqualTo(new[] { 2, 10, 11, 2, 20, 2, 2, 40, 41, 42, 43, 44 }));
        Assert.That(batch.Positions.ToArray(), Is.EqualTo(new[] { 0, 1, 2, 0, 1, 0, 0, 1, 2, 3, 4, 5 }));
        Assert.That(batch.Targets.ToArray(), Is.EqualTo(new[] { 10, 11, 12, 20, 21, 30, 40, 41, 42, 43, 44, 45 }));
        source.Fill(1, batch);
        Assert.That(batch.Positions.ToArray(), Is.EqualTo(new[] { 0, 0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 }));
        Assert.That(batch.Targets[..2].ToArray(), Is.EqualTo(new[] { 46, 50 }));
        Assert.That(() => source.Fill(2, batch), Throws.TypeOf<ArgumentOutOfRangeException>());
    }

    [Test]
    public void The_identity_is_the_pieces()
    {
        string[] identities =
        [
            new HeldOutPieces(Of([10, 11, 12]), config, 1, 6).Identity,
            new HeldOutPieces(Of([10, 11], [12]), config, 1, 6).Identity,
            new HeldOutPieces(Of([10, 11, 12]), config, 1, 6, tokens: 2).Identity,
            new HeldOutPieces(Of([10, 11, 12]), config, 2, 6).Identity,
            new HeldOutPieces(Of([10, 11, 12]), config, 1, 7).Identity,
        ];
        Assert.That(identities, Is.Unique);
        Assert.That(new HeldOutPieces(Of([10, 11, 12, 13]), config, 1, 6, tokens: 3).Identity, Is.EqualTo(identities[0]));
    }

    [Test]
    public void Asking_for_more_than_there_is_has_its_line() =>
        Assert.That(() => new HeldOutPieces(Of([10, 11, 12]), config, 1, 6, tokens: 4), Throws.TypeOf<TrainingInputException>().With.Message.EqualTo(
            "data: holds 3 tokens, 4 of them are to be scored: lower validation_tokens"));

    private static DocumentSet Of(params int[][] documents)
    {
        DocumentSet set = new("data", config.Vocabulary);
        foreach (int[] document in documents) set.Add(document, "here");
        return set;
    }
}
