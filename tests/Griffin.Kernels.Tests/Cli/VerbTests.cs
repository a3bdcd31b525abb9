using System.Text;
using System.Text.Json;
using Griffin.Kernels.Checkpoints;
using Griffin.Kernels.Models;
using Griffin.Kernels.Tests.References;

namespace Griffin.Kernels.Tests.Cli;

/// <summary>What the verbs print and write, run inside the test process.</summary>
internal sealed class VerbTests
{
    private static string Model => TestData.AustenTiny;

    [TestCase("")]
    [TestCase("--chunk", "7")]
    [TestCase("--chunk", "48")]
    public void Logits_are_those_of_the_reference(params string[] more)
    {
        using TempFolder folder = new();
        string oracle = TestData.Path("oracle/small");
        CliRun run = CliRun.Of([
            "logits", "--model", oracle, "--tokens-file", Path.Combine(oracle, "tokens.npy"), "--precision", "float32", "--device", CliRun.Device,
            "--output", folder.File("logits.npy"), "--json", .. more.Where(word => word.Length > 0)]);
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        Assert.That(run.ErrorLines, Has.Length.EqualTo(1).And.All.StartsWith("device: "));
        Assert.That((run.Json.GetProperty("tokens").GetInt32(), run.Json.GetProperty("vocabulary").GetInt32()), Is.EqualTo((48, 256)));
        TestTensor actual = Npy.Read(folder.File("logits.npy"));
        Assert.That(actual.Shape, Is.EqualTo(new[] { 48, 256 }));
        Close.Absolute([.. actual.Values.Select(value => (float)value)], Npy.Read(Path.Combine(oracle, "logits_all.npy")).Values, 2e-4);
    }

    [Test]
    public void Positions_pack_documents()
    {
        using TempFolder folder = new();
        string oracle = TestData.Path("oracle/small");
        string tokens = string.Join(',', Npy.ReadIntegers(Path.Combine(oracle, "tokens.npy")).Take(40));
        string positions = string.Join(',', Npy.ReadIntegers(Path.Combine(oracle, "packed_pos.npy")));
        CliRun run = CliRun.Of("logits", "--model", oracle, "--tokens", tokens, "--positions", positions, "--precision", "float32", "--device", CliRun.Device, "--output", folder.File("l.npy"));
        Assert.That((run.ExitCode, run.Output), Is.EqualTo((0, $"{folder.File("l.npy")}: float32 [40, 256]\n")), run.Error);
        Close.Absolute([.. Npy.Read(folder.File("l.npy")).Values.Select(value => (float)value)], Npy.Read(Path.Combine(oracle, "packed_logits.npy")).Values, 2e-4);
    }

    [Test]
    public void A_native_checkpoint_gives_the_logits_of_the_Hugging_Face_one()
    {
        using TempFolder folder = new();
        float[][] logits = new float[2][];
        for (int native = 0; native < 2; native++)
        {
            Directory.CreateDirectory(folder.File($"{native}"));
            GoldenModel.Write(folder.File($"{native}"), native: native == 1);
            CliRun run = CliRun.Of("logits", "--model", folder.File($"{native}"), "--tokens", "1,8,4,0,7,3", "--precision", "float32", "--device", CliRun.Device, "--output", folder.File("l.npy"));
            Assert.That(run.ExitCode, Is.Zero, run.Error);
            logits[native] = [.. Npy.Read(folder.File("l.npy")).Values.Select(value => (float)value)];
        }
        Close.Finite(logits[0]);
        Assert.That(logits[1], Is.EqualTo(logits[0]));
    }

    [Test]
    public void Generate_continues_as_the_reference_does()
    {
        JsonElement expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Model, "expected.json"))).RootElement.GetProperty("greedy")[0];
        string prompt = expected.GetProperty("prompt").GetString()!;
        int[] ids = [.. expected.GetProperty("ids").EnumerateArray().Take(30).Select(id => id.GetInt32())];
        string[] common = ["generate", "--model", Model, "--prompt", prompt, "--greedy", "--max-tokens", "30", "--precision", "float32", "--device", CliRun.Device];
        string text = Encoding.UTF8.GetString([.. ids.Select(id => (byte)(id - 3))]);

        CliRun json = CliRun.Of([.. common, "--json"]);
        Assert.That(json.ExitCode, Is.Zero, json.Error);
        Assert.That(json.ErrorLines, Has.Length.EqualTo(1).And.All.StartsWith("device: "));
        Assert.Multiple(() =>
        {
            Assert.That(json.Json.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32()), Is.EqualTo(ids));
            Assert.That(json.Json.GetProperty("text").GetString(), Is.EqualTo(text));
            Assert.That(json.Json.GetProperty("finish_reason").GetString(), Is.EqualTo("length"));
            Assert.That(json.Json.GetProperty("prefill_ms").GetDouble(), Is.GreaterThan(0));
            Assert.That(json.Json.GetProperty("ms_per_token").GetDouble(), Is.GreaterThan(0));
            Assert.That(json.ErrorLines[0], Is.EqualTo($"device: {json.Json.GetProperty("device").GetString()}"));
        });

        CliRun plain = CliRun.Of(common);
        Assert.That((plain.ExitCode, plain.Output), Is.EqualTo((0, prompt + text)));
    }

    [Test]
    public void Two_hundred_tokens_are_generated_greedily_unless_something_else_is_asked_for()
    {
        JsonElement expected = JsonDocument.Parse(File.ReadAllBytes(Path.Combine(Model, "expected.json"))).RootElement.GetProperty("greedy")[0];
        string prompt = expected.GetProperty("prompt").GetString()!;
        int[] ids = [.. expected.GetProperty("ids").EnumerateArray().Select(id => id.GetInt32())];
        string[] args = ["generate", "--model", Model, "--prompt", prompt, "--precision", "float32", "--device", CliRun.Device];
        CliRun json = CliRun.Of([.. args, "--json"]), plain = CliRun.Of(args);
        Assert.That((json.ExitCode, plain.ExitCode), Is.EqualTo((0, 0)), json.Error + plain.Error);
        int[] tokens = [.. json.Json.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32())];
        bool stopped = json.Json.GetProperty("finish_reason").GetString() == "stop";
        Assert.Multiple(() =>
        {
            Assert.That(tokens.Take(ids.Length), Is.EqualTo(ids));
            Assert.That(tokens, stopped ? Has.Length.LessThan(200) : Has.Length.EqualTo(200));
            Assert.That(plain.Output, Is.EqualTo(prompt + json.Json.GetProperty("text").GetString()));
        });
    }

    [Test]
    public void An_empty_prompt_generates_from_BOS_and_token_ids_stand_for_a_prompt()
    {
        CliRun empty = Generate("--prompt", "");
        Assert.That(empty.ExitCode, Is.Zero, empty.Error);
        Assert.That(empty.Json.GetProperty("tokens").GetArrayLength(), Is.EqualTo(5));
        string text = Generate("--prompt", "It").Json.GetProperty("text").GetString()!;
        Assert.Multiple(() =>
        {
            Assert.That(Generate("--tokens", "76,119").Json.GetProperty("text").GetString(), Is.EqualTo(text));
            Assert.That(Generate("--tokens", "2,76,119").Json.GetProperty("text").GetString(), Is.EqualTo(text), "BOS is not put in front twice");
        });
    }

    [Test]
    public void Stop_tokens_end_the_text()
    {
        int[] tokens = [.. Generate("--prompt", "It").Json.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32())];
        CliRun run = Generate("--prompt", "It", "--stop-tokens", $"{tokens[2]}");
        int first = Array.IndexOf(tokens, tokens[2]);
        Assert.That(run.Json.GetProperty("finish_reason").GetString(), Is.EqualTo("stop"));
        Assert.That(run.Json.GetProperty("tokens").EnumerateArray().Select(id => id.GetInt32()), Is.EqualTo(tokens[..first]));
    }

    [Test]
    public void Seeds_decide_the_draws()
    {
        string Draw(string seed) => Generate("--prompt", "It", "--temperature", "1.5", "--seed", seed, "--max-tokens", "12").Json.GetProperty("tokens").ToString();
        string first = Draw("1"), again = Draw("1"), other = Draw("2");
        Assert.That(again, Is.EqualTo(first));
        Assert.That(other, Is.Not.EqualTo(first));
    }

    [Test]
    public void Without_a_tokenizer_ids_go_in_and_out()
    {
        using TempFolder folder = new();
        GoldenModel.Write(folder.Path);
        string[] args = ["generate", "--model", folder.Path, "--tokens", "5,6", "--max-tokens", "3", "--device", CliRun.Device];
        CliRun plain = CliRun.Of(args), json = CliRun.Of([.. args, "--json"]);
        Assert.That(json.Json.GetProperty("text").ValueKind, Is.EqualTo(JsonValueKind.Null));
        string ids = string.Join(',', json.Json.GetProperty("tokens").EnumerateArray());
        Assert.That(plain.Output, Is.EqualTo($"5,6,{ids}").Or.EqualTo("5,6"));
    }

    /// <summary>Where somebody watches, reading a prompt of several chunks shows a bar on the error stream; the results are the same.</summary>
    [TestCase(false)]
    [TestCase(true)]
    public void A_long_prompt_shows_its_progress_to_who_watches(bool json)
    {
        string[] Args(int length) =>
        [
            "generate", "--model", Model, "--prompt", new string('a', length), "--max-tokens", "2", "--device", CliRun.Device, .. json ? ["--json"] : Array.Empty<string>(),
        ];
        const string stage = "reading the prompt";
        CliRun watched = CliRun.Watched(Args(1600)), unwatched = CliRun.Of(Args(1600)), brief = CliRun.Watched(Args(16));
        Assert.That((watched.ExitCode, unwatched.ExitCode, brief.ExitCode), Is.EqualTo((0, 0, 0)), watched.Error + unwatched.Error + brief.Error);
        Assert.Multiple(() =>
        {
            Assert.That(watched.Error, Does.Contain(stage));
            Assert.That(unwatched.ErrorLines, Has.Length.EqualTo(1).And.All.StartsWith("device: "));
            Assert.That(brief.Error, Does.Not.Contain(stage), "a prompt of one chunk");
            if (json) Assert.That(watched.Json.GetProperty("tokens").ToString(), Is.EqualTo(unwatched.Json.GetProperty("tokens").ToString()));
            else Assert.That(watched.Output, Is.EqualTo(unwatched.Output).And.StartsWith(new string('a', 1600)));
        });
    }

    [Test]
    public void An_interrupted_generation_keeps_the_text_so_far()
    {
        const string prompt = "It";
        using CancellationTokenSource cancelled = new();
        using InterruptingWriter output = new(text => text.Length > prompt.Length, cancelled);
        CliRun run = CliRun.Of(EndlessGeneration(prompt), output, cancelled.Token);
        Assert.That((run.ExitCode, run.ErrorLines.Length), Is.EqualTo((130, 1)), run.Error);
        Assert.That(run.Output, Does.StartWith(prompt).And.Length.GreaterThan(prompt.Length));
    }

    [Test]
    public void An_interrupted_generation_says_so()
    {
        // Nothing is printed before the end: the time doubles until it reaches past the loading, where an interruption prints nothing.
        CliRun run;
        double seconds = 1;
        do
        {
            using CancellationTokenSource cancelled = new(TimeSpan.FromSeconds(seconds));
            run = CliRun.Of([.. EndlessGeneration("It"), "--json"], cancelled.Token);
            Assert.That(run.ExitCode, Is.EqualTo(130), run.Error);
            seconds *= 2;
        }
        while ((run.Output.Length == 0 || run.Json.GetProperty("tokens").GetArrayLength() == 0) && seconds < 200);
        Assert.That(run.Json.GetProperty("finish_reason").GetString(), Is.EqualTo("cancelled"));
        Assert.That(run.Json.GetProperty("tokens").GetArrayLength(), Is.GreaterThan(0));
    }

    [Test]
    public void Score_is_the_same_in_pieces_of_a_batch_and_alone()
    {
        using TempFolder folder = new();
        byte[] text = [.. AustenTinyData.HeldOutText.Take(640)];
        File.WriteAllBytes(folder.File("text"), text);
        double Nats(string file, string bytes) => Score(folder.File(file), bytes, "128").GetProperty("nats_per_token").GetDouble();
        double together = Nats("text", "600");
        double apart = 0;
        for (int first = 0; first < 600; first += 128)
        {
            int count = Math.Min(128, 600 - first);
            File.WriteAllBytes(folder.File("piece"), text[first..(first + count)]);
            apart += Nats("piece", "128") * count / 600;
        }
        Assert.That(together, Is.EqualTo(apart).Within(1e-5));
        JsonElement json = Score(folder.File("text"), "600", "128");
        Assert.Multiple(() =>
        {
            Assert.That(json.GetProperty("tokens").GetInt32(), Is.EqualTo(600));
            Assert.That(json.GetProperty("bits_per_byte").GetDouble(), Is.EqualTo(together / Math.Log(2)).Within(1e-6));
            Assert.That(json.GetProperty("tokens_per_second").GetDouble(), Is.GreaterThan(0));
            Assert.That(json.GetProperty("device").GetString(), Is.Not.Empty);
            Assert.That(together, Is.InRange(1.0, 2.0), "a trained model's score of plain English");
        });
    }

    [Test]
    public void Init_writes_a_checkpoint_that_runs()
    {
        using TempFolder folder = new();
        string model = folder.File("model");
        CliRun run = CliRun.Of("init", "--output", model, "--vocabulary", "300", "--width", "24", "--layers", "4", "--heads", "2", "--rnn-width", "20", "--window", "5",
            "--mlp-width", "40", "--head-dim", "8", "--gate-blocks", "5", "--seed", "7", "--precision", "float32", "--json");
        Assert.That((run.ExitCode, run.Error), Is.EqualTo((0, "")));
        GriffinConfig config = ConfigFile.Read(Path.Combine(model, "config.json"));
        Assert.That(config, Is.EqualTo(new GriffinConfig
        {
            Vocabulary = 300,
            Width = 24,
            RnnWidth = 20,
            Layers = 4,
            Heads = 2,
            HeadDim = 8,
            GateBlocks = 5,
            MlpWidth = 40,
            Window = 5,
        }));
        Assert.That(run.Json.GetProperty("parameters").GetInt64(), Is.EqualTo(config.Parameters));
        CliRun logits = CliRun.Of("logits", "--model", model, "--tokens", "1,2,3,4,5,6,7", "--device", CliRun.Device, "--output", folder.File("l.npy"));
        Assert.That(logits.ExitCode, Is.Zero, logits.Error);
        Close.Finite([.. Npy.Read(folder.File("l.npy")).Values.Select(value => (float)value)]);
    }

    [Test]
    public void Init_takes_a_preset_and_changes_to_it()
    {
        using TempFolder folder = new();
        CliRun run = CliRun.Of("init", "--size", "mqa-100m", "--output", folder.File("m"), "--vocabulary", "10", "--layers", "1", "--width", "32", "--heads", "2", "--head-dim", "16", "--mlp-width", "8");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        GriffinConfig config = ConfigFile.Read(folder.File("m/config.json"));
        Assert.That((config.Window, config.AttentionLayers, config.LogitsSoftCap, config.Vocabulary), Is.EqualTo(((int?)null, 1, 0f, 10)));
    }

    [Test]
    public void Kernels_lists_every_op_with_its_variants()
    {
        CliRun run = CliRun.Of("kernels", "--size", "recurrentgemma-2b", "--list", "--json");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        JsonElement[] kernels = [.. run.Json.GetProperty("kernels").EnumerateArray()];
        string[] ops = [.. kernels.Select(kernel => kernel.GetProperty("op").GetString()!).Distinct()];
        Assert.That(ops, Is.SupersetOf(new[] { "Embedding", "RmsNorm", "GeluMultiply", "Conv1D", "RgLru", "MatMul", "WindowAttention", "Sampler" }));
        Assert.That(kernels.Select(kernel => kernel.GetProperty("kernel").GetString()), Has.Some.StartsWith("rms_norm<bf16"));
        CliRun one = CliRun.Of("kernels", "--op", "rmsnorm", "--list", "--precision", "float32");
        Assert.That(one.Output, Does.Contain("rms_norm<f32").And.Not.Contain("conv1d"));
    }

    [Test]
    public void Doctor_shows_libraries_the_device_and_the_self_test()
    {
        CliRun text = CliRun.Of("doctor", "--device", CliRun.Device), json = CliRun.Of("doctor", "--device", CliRun.Device, "--json");
        Assert.That((text.ExitCode, json.ExitCode), Is.EqualTo((0, 0)), text.Output);
        Assert.Multiple(() =>
        {
            foreach (string library in (string[])["CUDA driver: ", "NVRTC: ", "cuBLAS: ", "cuBLASLt: ", "emulator: ", "device: ", "self-test: "])
                Assert.That(text.Output.Split('\n'), Has.Some.StartsWith(library));
            Assert.That(json.Json.GetProperty("libraries").EnumerateArray().Select(library => library.GetProperty("name").GetString()),
                Is.EqualTo(new[] { "CUDA driver", "NVRTC", "cuBLAS", "cuBLASLt", "emulator" }));
            Assert.That(json.Json.GetProperty("self_test").EnumerateArray().Select(result => result.GetProperty("passed").GetBoolean()), Is.Not.Empty.And.All.True);
            Assert.That(json.Json.GetProperty("self_test").EnumerateArray().Select(result => result.GetProperty("op").GetString()), Is.SupersetOf(new[] { "RmsNorm", "MatMul", "Sampler" }));
        });
    }

    [Test]
    public void Doctor_without_a_device_still_shows_what_was_sought()
    {
        CliRun run = CliRun.Of("doctor", "--device", "cuda:77", "--json");
        Assert.That(run.ExitCode, Is.EqualTo(1));
        Assert.That(run.Json.GetProperty("device").ValueKind, Is.EqualTo(JsonValueKind.Null));
        Assert.That(run.Json.GetProperty("problem").GetString(), Is.Not.Empty);
        Assert.That(run.Json.GetProperty("libraries").GetArrayLength(), Is.EqualTo(5));
    }

    private static string[] EndlessGeneration(string prompt) =>
        ["generate", "--model", Model, "--prompt", prompt, "--max-tokens", "10000000", "--device", CliRun.Device];

    private static CliRun Generate(params string[] args) =>
        CliRun.Of(["generate", "--model", Model, "--device", CliRun.Device, "--json", .. args.Contains("--max-tokens") ? args : [.. args, "--max-tokens", "5"]]);

    private static JsonElement Score(string file, string bytes, string context)
    {
        CliRun run = CliRun.Of("score", "--model", Model, "--text", file, "--bytes", bytes, "--context", context, "--precision", "float32", "--device", CliRun.Device, "--json");
        Assert.That(run.ExitCode, Is.Zero, run.Error);
        return run.Json;
    }

    /// <summary>Interrupts the command as soon as what it has written is of a kind.</summary>
    private sealed class InterruptingWriter(Predicate<string> isEnough, CancellationTokenSource cancelled) : StringWriter
    {
        public override void Write(string? value)
        {
            base.Write(value);
            if (isEnough(ToString())) cancelled.Cancel();
        }
    }
}
