using System.Runtime.InteropServices;
using System.Text;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>Every mistake on a command line is answered in one line and an exit code, never with a page of help or a stack trace.</summary>
internal sealed class CommandLineTests
{
    private const int Failure = 1, Usage = 2;
    private const string Verbs = "doctor, generate, logits, score, init, train, experiment, kernels, tune";

    private static string Model => TestData.AustenTiny;

    [Test]
    public void Unknown_verbs_options_and_arguments_have_their_lines() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, $"say a verb: {Verbs}");
        CliRun.AssertRefused(Usage, $"say a verb: {Verbs}", "--device", "emulator");
        CliRun.AssertRefused(Usage, $"unknown verb 'quantize'; there are {Verbs}", "quantize", "--model", "x");
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
        CliRun.AssertRefused(Usage, "unknown provider 'torch'; use direct or managedcuda", "doctor", "--provider", "torch");
#if !WITH_MANAGEDCUDA
        CliRun.AssertRefused(Usage, "the provider managedcuda is not in this build: build with -p:WithManagedCuda=true, which brings packages licensed under GPLv3 or commercially",
            "generate", "--prompt", "x", "--provider", "managedcuda");
#endif
        CliRun.AssertRefused(Usage, "--max-tokens is 'many': a whole number from 0 is needed", "generate", "--prompt", "x", "--max-tokens", "many");
        CliRun.AssertRefused(Usage, "--max-tokens is '-1': a whole number from 0 is needed", "generate", "--prompt", "x", "--max-tokens", "-1");
        CliRun.AssertRefused(Usage, "--seed is '-1': a whole number from 0 is needed", "generate", "--prompt", "x", "--seed", "-1");
        CliRun.AssertRefused(Usage, "--top-k is '0.5': a whole number from 0 is needed", "generate", "--prompt", "x", "--top-k", "0.5");
        CliRun.AssertRefused(Usage, "--window is '2.5': a whole number from 1, or none, is needed", "init", "--output", "x", "--size", "hawk-1b", "--window", "2.5");
        CliRun.AssertRefused(Usage, "--temperature is 'NaN': a number from 0 is needed", "generate", "--prompt", "x", "--temperature", "NaN");
        CliRun.AssertRefused(Usage, "--min-p is '1.5': a number from 0 to 1 is needed", "generate", "--prompt", "x", "--min-p", "1.5");
        CliRun.AssertRefused(Usage, "--chunk is '0': a whole number from 1 is needed", "logits", "--tokens", "1", "--output", "x", "--chunk", "0");
        CliRun.AssertRefused(Usage, "--pattern is 'mamba': it must be griffin or hawk or mqa", "init", "--output", "x", "--pattern", "mamba");
        CliRun.AssertRefused(Usage, "--tokens is empty: give at least one number, as in 5,7,11", "logits", "--tokens", "", "--output", "x");
        CliRun.AssertRefused(Usage, "--tokens is empty: give at least one number, as in 5,7,11", "generate", "--tokens", " ");
        CliRun.AssertRefused(Usage, "--tokens holds '': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "5,,7");
        CliRun.AssertRefused(Usage, "--tokens holds '-5': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "-5");
        CliRun.AssertRefused(Usage, "--tokens holds '5.5': whole numbers from 0 are needed, as in 5,7,11", "generate", "--tokens", "5.5");
    });

    [Test]
    public void Empty_paths_have_their_lines() => Assert.Multiple(() =>
    {
        CliRun.AssertRefused(Usage, "--model is empty: give a path", "generate", "--prompt", "x", "--model", "");
        CliRun.AssertRefused(Usage, "--model is empty: give a path", "kernels", "--list", "-m", "");
        CliRun.AssertRefused(Usage, "--output is empty: give a path", "logits", "--model", Model, "--tokens", "5", "--output", "");
        CliRun.AssertRefused(Usage, "--output is empty: give a path", "init", "--size", "hawk-1b", "--output", "");
        CliRun.AssertRefused(Usage, "--tokens-file is empty: give a path", "logits", "--model", Model, "--tokens-file", "", "--output", "x");
        CliRun.AssertRefused(Usage, "--text is empty: give a path", "score", "--model", Model, "--text", "");
    });

    [TestCase("2,2,3", "Position 2 at index 1", 3)]
    [TestCase("0,1,3", "Position 3 at index 2", 2)]
    [TestCase("5,6,6", "Position 6 at index 2", 7)]
    [TestCase("0,-1,2", "Position 2 at index 2", 0)]
    [TestCase("-1,1,2", "Position 1 at index 1", 0)]
    public void Positions_that_do_not_follow_are_refused_before_anything_is_loaded(string positions, string problem, int expected) => CliRun.AssertRefused(
        Usage,
        $"--positions: {problem} does not follow: expected {expected}, 0 (a new document) or -1 (padding).",
        "logits", "--model", Model, "--output", "x", "--tokens", "5,6,7", "--positions", positions, "--chunk", "1");

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
            CliRun.AssertRefused(Failure, $"{missing}: no such file", "score", "--model", Model, "--text", missing);
            CliRun.AssertRefused(Failure, $"{folder.Path}: is a folder", "score", "--model", Model, "--text", folder.Path);
            CliRun.AssertRefused(Failure, $"{folder.File("empty")}: holds no byte to score", "score", "--model", Model, "--text", folder.File("empty"));
            CliRun.AssertRefused(Failure, $"{folder.Path}: has no tokenizer (tokenizer_config.json): give token ids with --tokens", "generate", "--model", folder.Path, "--prompt", "x");
            CliRun.AssertRefused(Failure, $"{folder.Path}: already holds a checkpoint (model.safetensors): choose another folder or delete it", "init", "--size", "griffin-100m", "--output", folder.Path);
            string file = folder.File("empty"), inside = $"{file}/x";
            CliRun.AssertRefused(Failure, $"{file}: cannot be written, it is no folder", "init", "--size", "griffin-100m", "--output", file);
            CliRun.AssertRefused(Failure, $"{inside}: cannot be written, the folder cannot be made", "init", "--size", "griffin-100m", "--output", inside);
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
    public void Token_files_that_hold_no_token_or_a_wrong_one_have_their_lines()
    {
        using TempFolder folder = new();
        string none = folder.File("none.npy"), outside = folder.File("outside.npy");
        WriteTokens(none);
        WriteTokens(outside, 5, 383, 384);
        string[] Logits(string tokens) => ["logits", "--model", Model, "--tokens-file", tokens, "--output", folder.File("x")];
        Assert.Multiple(() =>
        {
            CliRun.AssertRefused(Failure, $"{none}: holds no token", Logits(none));
            CliRun.AssertRefused(Failure, $"{outside}: token 384 at index 2 is outside the vocabulary, 0 to 383", Logits(outside));
            Assert.That(File.Exists(folder.File("x")), Is.False);
        });

        static void WriteTokens(string path, params int[] tokens)
        {
            string header = $"{{'descr': '<i4', 'fortran_order': False, 'shape': ({tokens.Length},), }}".PadRight(117) + "\n";
            byte[] prefix = [0x93, .. "NUMPY"u8, 1, 0, (byte)header.Length, 0];
            File.WriteAllBytes(path, [.. prefix, .. Encoding.ASCII.GetBytes(header), .. MemoryMarshal.AsBytes(tokens.AsSpan())]);
        }
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
