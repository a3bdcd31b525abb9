using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>Every mistake on a command line is answered in one line and an exit code, never with a page of help or a stack trace.</summary>
internal sealed class CommandLineTests
{
    private const int Failure = 1, Usage = 2;
    private const string Verbs = "doctor, generate, logits, score, init, kernels";

    private static string Model => TestData.AustenTiny;

    [Test]
    public void Unknown_verbs_options_and_arguments_have_their_lines() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, $"say a verb: {Verbs}");
        CliRun.AssertRefused(Usage, $"say a verb: {Verbs}", "--device", "emulator");
        CliRun.AssertRefused(Usage, $"unknown verb 'train'; there are {Verbs}", "train", "--model", "x");
        CliRun.AssertRefused(Usage, $"unknown option '--foo' before a verb; the verbs are {Verbs}", "--foo");
        CliRun.AssertRefused(Usage, "unknown option '--foo' of generate; see griffin generate --help", "generate", "--foo", "--prompt", "x");
        CliRun.AssertRefused(Usage, "nothing takes the argument 'extra' of doctor; see griffin doctor --help", "doctor", "extra");
        CliRun.AssertRefused(Usage, "Option '--output' is required", "logits", "--tokens", "1");
        CliRun.AssertRefused(Usage, "Option '--text' is required", "score");
        CliRun.AssertRefused(Usage, "Required argument missing for option: '--prompt'", "generate", "--prompt");
    });

    [Test]
    public void Unknown_values_have_their_lines() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, "unknown device 'gpu'; use auto, cuda, cuda:N or emulator", "doctor", "--device", "gpu");
        CliRun.AssertRefused(Usage, "unknown device 'cuda:'; use auto, cuda, cuda:N or emulator", "--device", "cuda:", "doctor");
        CliRun.AssertRefused(Usage, "unknown device 'cuda:x'; use auto, cuda, cuda:N or emulator", "doctor", "--device", "cuda:x");
        CliRun.AssertRefused(Usage, "--precision is 'fp8': it must be bfloat16 or float32", "doctor", "--precision", "fp8");
        CliRun.AssertRefused(Usage, "--max-tokens is 'many': a number from 0 is needed", "generate", "--prompt", "x", "--max-tokens", "many");
        CliRun.AssertRefused(Usage, "--max-tokens is '-1': a number from 0 is needed", "generate", "--prompt", "x", "--max-tokens", "-1");
        CliRun.AssertRefused(Usage, "--temperature is 'NaN': a number from 0 is needed", "generate", "--prompt", "x", "--temperature", "NaN");
        CliRun.AssertRefused(Usage, "--min-p is '1.5': a number from 0 to 1 is needed", "generate", "--prompt", "x", "--min-p", "1.5");
        CliRun.AssertRefused(Usage, "--chunk is '0': a number from 1 is needed", "logits", "--tokens", "1", "--output", "x", "--chunk", "0");
        CliRun.AssertRefused(Usage, "--pattern is 'mamba': it must be griffin or hawk or mqa", "init", "--output", "x", "--pattern", "mamba");
        CliRun.AssertRefused(Usage, "--tokens is empty: give at least one number, as in 5,7,11", "logits", "--tokens", "", "--output", "x");
        CliRun.AssertRefused(Usage, "--tokens is empty: give at least one number, as in 5,7,11", "generate", "--tokens", " ");
        CliRun.AssertRefused(Usage, "--tokens holds '': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "5,,7");
        CliRun.AssertRefused(Usage, "--tokens holds '-5': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "-5");
        CliRun.AssertRefused(Usage, "--tokens holds '5.5': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "5.5");
    });

    [Test]
    public void Contradictions_have_their_lines() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, "give --prompt or --tokens, one of them", "generate", "--model", Model);
        CliRun.AssertRefused(Usage, "give --prompt or --tokens, one of them", "generate", "--model", Model, "--prompt", "x", "--tokens", "5");
        CliRun.AssertRefused(Usage, "--greedy leaves nothing to --temperature, --top-k, --top-p and --min-p: leave it or them out", "generate", "--model", Model, "--prompt", "x", "--greedy", "--top-k", "3");
        CliRun.AssertRefused(Usage, "give --tokens or --tokens-file, one of them", "logits", "--model", Model, "--output", "x");
        CliRun.AssertRefused(Usage, "--positions has 1 numbers for 2 tokens: one each is needed", "logits", "--model", Model, "--output", "x", "--tokens", "5,6", "--positions", "0");
        CliRun.AssertRefused(Usage, "give --model or --size, not both", "kernels", "--model", Model, "--size", "hawk-1b");
    });

    [Test]
    public void Tokens_outside_the_vocabulary_have_their_line() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, "--tokens: token 384 at index 1 is outside the vocabulary, 0 to 383", "logits", "--model", Model, "--tokens", "5,384", "--output", "x");
        CliRun.AssertRefused(Usage, "--tokens: token 999 at index 0 is outside the vocabulary, 0 to 383", "generate", "--model", Model, "--tokens", "999");
    });

    [Test]
    public void Files_that_cannot_be_read_or_written_have_their_lines()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        string missing = folder.File("missing");
        File.WriteAllText(folder.File("empty"), "");
        Assert.Multiple(() =>
        {
            CliRun.AssertRefused(Failure, $"{missing}: no such folder or file", "generate", "--model", missing, "--prompt", "x");
            CliRun.AssertRefused(Failure, $"{missing}/x.npy: cannot be written, there is no folder {missing}", "logits", "--model", Model, "--tokens", "5", "--output", $"{missing}/x.npy");
            CliRun.AssertRefused(Failure, $"{folder.Path}: cannot be written, it is a folder", "logits", "--model", Model, "--tokens", "5", "--output", folder.Path);
            CliRun.AssertRefused(Failure, $"{missing}: no such file", "logits", "--model", Model, "--tokens-file", missing, "--output", "x");
            CliRun.AssertRefused(Usage, $"{missing}: no such file", "score", "--model", Model, "--text", missing);
            CliRun.AssertRefused(Usage, $"{folder.File("empty")}: holds no byte to score", "score", "--model", Model, "--text", folder.File("empty"));
            CliRun.AssertRefused(Failure, $"{folder.Path}: has no tokenizer (tokenizer_config.json): give token ids with --tokens", "generate", "--model", folder.Path, "--prompt", "x");
            CliRun.AssertRefused(Failure, $"{folder.Path}: already holds a checkpoint (model.safetensors): choose another folder or delete it", "init", "--size", "griffin-100m", "--output", folder.Path);
        });
        File.WriteAllText(folder.File("config.json"), "{");
        CliRun run = CliRun.Of("generate", "--model", folder.Path, "--tokens", "5");
        Assert.That(run.ExitCode, Is.EqualTo(Failure));
        Assert.That(run.Error, Does.StartWith($"griffin: {folder.File("config.json")}: is not valid JSON (line 1: ").And.Matches("^[^\n]*\n$"));
        using (FileStream file = File.OpenWrite(folder.File("model.safetensors"))) file.SetLength(1000);
        File.WriteAllText(folder.File("config.json"), GoldenModel.Config());
        run = CliRun.Of("logits", "--model", folder.Path, "--tokens", "5", "--output", "x");
        Assert.That(run.ExitCode, Is.EqualTo(Failure));
        Assert.That(run.Error, Does.StartWith($"griffin: {folder.File("model.safetensors")}: is truncated: ").And.Matches("^[^\n]*\n$"));
    }

    [Test]
    public void A_device_that_is_not_there_has_its_line()
    {
        CliRun run = CliRun.Of("generate", "--model", Model, "--prompt", "x", "--device", "cuda:77");
        Assert.That((run.ExitCode, run.Output, run.ErrorLines.Length), Is.EqualTo((Failure, "", 1)));
        Assert.That(run.Error, Does.StartWith("griffin: "));
    }

    [TestCase("--help")]
    [TestCase("generate", "--help")]
    [TestCase("--version")]
    public void Help_is_given_to_those_who_ask(params string[] args)
    {
        CliRun run = CliRun.Of(args);
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        Assert.That(run.Output, Is.Not.Empty);
    }
}
