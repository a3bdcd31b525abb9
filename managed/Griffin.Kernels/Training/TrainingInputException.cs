namespace Griffin.Kernels.Training;

/// <summary>A recipe or a data file is missing or of no use. The message is one line: the file and where in it, what is wrong, and the mend.</summary>
public sealed class TrainingInputException : Exception
{
    /// <summary>Describes a problem in a file.</summary>
    /// <param name="file">The file, and the line where there are lines.</param>
    /// <param name="problem">What is wrong, in one line.</param>
    /// <param name="inner">The error underneath, if any.</param>
    public TrainingInputException(string file, string problem, Exception? inner = null)
        : this($"{file}: {problem}", inner)
    {
    }

    /// <summary>Takes over a line that names its file already.</summary>
    /// <param name="line">The line.</param>
    /// <param name="inner">The error underneath, if any.</param>
    public TrainingInputException(string line, Exception? inner)
        : base(line, inner)
    {
    }
}
