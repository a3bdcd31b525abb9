using System.Diagnostics.CodeAnalysis;
using Griffin.Kernels.Runtime;

namespace Griffin.Kernels.Ops;

/// <summary>An op that can run itself on a small case. Implementing it, and recording the result, is all that an op does to be tested on a user's machine.</summary>
internal interface ISelfTested
{
    /// <summary>Queues the op on operands of the bench: the same ones, asked for in the same order, every time.</summary>
    /// <param name="bench">Gives the stream, the operands, the storage type and the variant.</param>
    /// <returns>What is compared with the record.</returns>
    static abstract TensorView SelfTest(SelfTestBench bench);
}

/// <summary>Finds every op that tests itself; there is no central list.</summary>
internal static class SelfTests
{
    /// <summary>Every self-test by the name of its op.</summary>
    [RequiresUnreferencedCode("Ops are found by reflection.")]
    public static SortedDictionary<string, Func<SelfTestBench, TensorView>> All() => new(
        KernelCatalogue.Implementations<Func<SelfTestBench, TensorView>>(typeof(SelfTests).Assembly, typeof(ISelfTested)).ToDictionary(test => test.Op.Name, test => test.Method),
        StringComparer.Ordinal);
}
