namespace Griffin.Kernels.Checkpoints;

/// <summary>
/// A checkpoint file is missing, damaged, or disagrees with its configuration. The message is one line: the file, what is wrong
/// in it with the offending value, and the mend where there is one.
/// </summary>
public sealed class CheckpointException : Exception
{
    /// <summary>Describes a problem in a file.</summary>
    /// <param name="file">The file, as the caller gave it or as it was found.</param>
    /// <param name="problem">What is wrong, in one line.</param>
    /// <param name="inner">The error underneath, if any.</param>
    public CheckpointException(string file, string problem, Exception? inner = null)
        : base($"{file}: {problem}", inner) => File = file;

    /// <summary>The file the problem is in.</summary>
    public string File { get; }
}
