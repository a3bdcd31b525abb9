using System.Runtime.InteropServices;

namespace Griffin.Kernels.Training.Data;

/// <summary>Documents as token ids, one behind the other in memory, without the tokens that begin and end them.</summary>
public sealed class DocumentSet
{
    private readonly List<int> _tokens = [];
    private readonly List<int> _starts = [0];

    /// <summary>Makes an empty set.</summary>
    /// <param name="name">What to call the data in messages.</param>
    /// <param name="vocabulary">Tokens are below this.</param>
    public DocumentSet(string name, int vocabulary)
    {
        ArgumentException.ThrowIfNullOrEmpty(name);
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(vocabulary);
        (Name, Vocabulary) = (name, vocabulary);
    }

    /// <summary>What to call the data in messages.</summary>
    public string Name { get; }

    /// <summary>Tokens are below this.</summary>
    public int Vocabulary { get; }

    /// <summary>Documents added.</summary>
    public int Count => _starts.Count - 1;

    /// <summary>Tokens of all documents.</summary>
    public int TokenCount => _tokens.Count;

    /// <summary>One document's tokens; good until the next <see cref="Add"/>.</summary>
    /// <param name="document">Which, in the order of their addition.</param>
    public ReadOnlySpan<int> this[int document] =>
        CollectionsMarshal.AsSpan(_tokens)[_starts[document].._starts[document + 1]];

    /// <summary>Appends a document; one without tokens is left out.</summary>
    /// <param name="tokens">Its token ids.</param>
    /// <param name="place">Where it comes from, for messages.</param>
    /// <exception cref="TrainingInputException">A token is outside the vocabulary, or memory holds no more.</exception>
    public void Add(ReadOnlySpan<int> tokens, string place)
    {
        if (tokens.IsEmpty) return;
        int outside = tokens.IndexOfAnyExceptInRange(0, Vocabulary - 1);
        if (outside >= 0)
            throw new TrainingInputException(place, $"token {tokens[outside]} at index {outside} is outside the vocabulary, 0 to {Vocabulary - 1}: the data is for another model");
        if ((long)_tokens.Count + tokens.Length > Array.MaxLength)
            throw new TrainingInputException(place, $"with the files before it there are more than {Array.MaxLength} tokens, which one run does not hold: give fewer files");
        _tokens.AddRange(tokens);
        _starts.Add(_tokens.Count);
    }
}
