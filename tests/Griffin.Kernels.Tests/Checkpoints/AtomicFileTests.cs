using System.Diagnostics;
using Griffin.Kernels.Checkpoints;

namespace Griffin.Kernels.Tests.Checkpoints;

/// <summary>A file replaces a file and nothing else: links stay, devices, pipes and folders are refused.</summary>
internal sealed class AtomicFileTests
{
    [TestCase(true)]
    [TestCase(false)]
    public void A_symbolic_link_stays_and_the_file_behind_it_is_written(bool existed)
    {
        using TempFolder folder = new();
        Directory.CreateDirectory(folder.File("there"));
        if (existed) File.WriteAllText(folder.File("there/file"), "old");
        File.CreateSymbolicLink(folder.File("second"), folder.File("there/file"));
        File.CreateSymbolicLink(folder.File("link"), "second");
        Write(folder.File("link"));
        Assert.Multiple(() =>
        {
            Assert.That(new FileInfo(folder.File("link")).LinkTarget, Is.EqualTo("second"));
            Assert.That(new FileInfo(folder.File("second")).LinkTarget, Is.EqualTo(folder.File("there/file")));
            Assert.That(File.ReadAllBytes(folder.File("there/file")), Is.EqualTo(new byte[] { 7 }));
            Assert.That(Directory.GetFiles(folder.Path, "*", SearchOption.AllDirectories), Has.Length.EqualTo(3));
        });
    }

    [Test]
    public void What_is_no_file_is_refused_and_stays()
    {
        using TempFolder folder = new();
        Directory.CreateDirectory(folder.File("folder"));
        File.CreateSymbolicLink(folder.File("loop"), "loop");
        Assert.Multiple(() =>
        {
            AssertRefused(folder.File("folder"), "it is a folder");
            AssertRefused(folder.File("loop"), "it is a link that leads nowhere");
        });
    }

    [Test]
    public void Pipes_and_devices_are_refused_and_stay()
    {
        if (!OperatingSystem.IsLinux()) Assert.Ignore("pipes and devices have names of files on Linux");
        using TempFolder folder = new();
        string pipe = folder.File("pipe");
        using (Process make = Process.Start("mkfifo", [pipe])) make.WaitForExit();
        Assert.That(FileKind.IsSpecial(pipe), Is.True);
        File.CreateSymbolicLink(folder.File("link"), "/dev/null");
        Assert.Multiple(() =>
        {
            foreach (string path in (string[])[pipe, "/dev/null", folder.File("link")]) AssertRefused(path, "it is a device, a pipe or a socket");
        });
        Assert.That(FileKind.IsSpecial(pipe), Is.True, "the pipe is there still");
        Assert.That(Directory.GetFileSystemEntries(folder.Path), Has.Length.EqualTo(2));
    }

    [Test]
    public void Files_and_names_that_nothing_has_are_not_special()
    {
        using TempFolder folder = new();
        File.WriteAllText(folder.File("file"), "");
        Assert.That((FileKind.IsSpecial(folder.File("file")), FileKind.IsSpecial(folder.File("none"))), Is.EqualTo((false, false)));
    }

    private static void Write(string path)
    {
        using AtomicFile file = AtomicFile.Create(path);
        file.Stream.WriteByte(7);
        file.Commit();
    }

    private static void AssertRefused(string path, string reason) =>
        Assert.That(() => Write(path), Throws.TypeOf<IOException>().With.Message.EqualTo($"{path}: cannot be written, {reason}"));
}
