using System.Text;
using Griffin.Kernels.Text;

namespace Griffin.Kernels.Training.Tasks;

/// <summary>
/// Phonebook lookup (Griffin paper, section on copying and retrieval): a generated book, then two of its entries again as worked examples,
/// then a third one that is asked for. A token is a byte; each number looked up is an answer, and the last one is the one that counts.
/// </summary>
/// <remarks>
/// An entry is <c>Name Surname: 123-4567</c> and a line end; an empty line divides the book from what is looked up. Names differ within a book.
/// </remarks>
public sealed class Phonebook : SyntheticTask
{
    /// <summary>Bytes of an answer.</summary>
    public const int AnswerTokens = 8;

    private const int Lookups = 3;
    private const int Bos = 2;
    private const int LongestName = 2 * MostSyllables * SyllableLetters + 1;
    private const int LongestEntry = LongestName + 2 + AnswerTokens + 1;
    private const int LeastSyllables = 2, MostSyllables = 3, SyllableLetters = 2;
    private const string Consonants = "bdfghjklmnprstvz", Vowels = "aeiou";

    /// <summary>Describes the task.</summary>
    /// <param name="settings">Rows, length, seed, split.</param>
    /// <param name="entries">Entries of a book; null: as many as are sure to fit.</param>
    /// <param name="vocabulary">The model's vocabulary, with room for bytes.</param>
    /// <exception cref="ArgumentOutOfRangeException">The entries are fewer than the lookups or may not fit a row, or the vocabulary is too small.</exception>
    public Phonebook(TaskSettings settings, int? entries = null, int vocabulary = 384) : base(settings, vocabulary)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(vocabulary, ByteTokenizer.LeastVocabulary);
        int most = MostEntries(settings.Length);
        Entries = entries ?? most;
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Entries, most, nameof(entries));
        ArgumentOutOfRangeException.ThrowIfLessThan(Entries, Lookups, nameof(entries));
    }

    /// <summary>Entries of a book.</summary>
    public int Entries { get; }

    /// <summary>Entries that are sure to fit a row, with what is looked up.</summary>
    /// <param name="length">Tokens of the row.</param>
    public static int MostEntries(int length) => (length - 1) / LongestEntry - Lookups;

    /// <summary>The shortest row that so many entries are sure to fit.</summary>
    /// <param name="entries">Entries of the book.</param>
    public static int LengthFor(int entries) => checked((entries + Lookups) * LongestEntry + 1);

    private protected override void Describe(SourceDigest digest) => digest.Add("entries", Entries);

    private protected override void FillRow(CounterStream random, MicroBatchRow row)
    {
        (string Name, string Number)[] book = Draw(random);
        StringBuilder text = new();
        foreach ((string name, string number) in book) text.Append(name).Append(": ").Append(number).Append('\n');
        text.Append('\n');
        int[] order = [.. Enumerable.Range(0, book.Length)];
        for (int lookup = 0; lookup < Lookups; lookup++)
        {
            int chosen = lookup + random.Below(order.Length - lookup);
            (order[lookup], order[chosen]) = (order[chosen], order[lookup]);
            (string name, string number) = book[order[lookup]];
            text.Append(name).Append(": ");
            for (int i = 0; i < AnswerTokens; i++) row.Targets[text.Length + i] = number[i] + ByteTokenizer.FirstByte;
            text.Append(number).Append('\n');
        }

        // BOS goes in and the last digit comes out: the row is as long as the text without its last line end.
        int count = text.Length - 1;
        Number(row, count);
        row.Tokens[0] = Bos;
        for (int i = 1; i < count; i++) row.Tokens[i] = text[i - 1] + ByteTokenizer.FirstByte;
    }

    private (string Name, string Number)[] Draw(CounterStream random)
    {
        (string Name, string Number)[] book = new (string, string)[Entries];
        HashSet<string> names = [];
        for (int i = 0; i < book.Length; i++)
        {
            string name;
            do name = $"{Word(random)} {Word(random)}";
            while (!names.Add(name));
            book[i] = (name, $"{random.Below(1000):D3}-{random.Below(10_000):D4}");
        }
        return book;
    }

    private static string Word(CounterStream random)
    {
        int syllables = LeastSyllables + random.Below(MostSyllables - LeastSyllables + 1);
        StringBuilder word = new();
        for (int i = 0; i < syllables; i++) word.Append(Consonants[random.Below(Consonants.Length)]).Append(Vowels[random.Below(Vowels.Length)]);
        word[0] = char.ToUpperInvariant(word[0]);
        return word.ToString();
    }
}
