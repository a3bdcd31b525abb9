namespace Griffin.Kernels.Interop;

/// <summary>Attributes of a product (<c>cublasLtMatmulDescAttributes_t</c>), 32-bit integers.</summary>
public enum BlasLtProductAttribute
{
    /// <summary>Whether A is transposed: 0 or 1.</summary>
    TransposeA = 3,
    /// <summary>Whether B is transposed: 0 or 1.</summary>
    TransposeB = 4,
}

/// <summary>Attributes of a search for algorithms (<c>cublasLtMatmulPreferenceAttributes_t</c>).</summary>
public enum BlasLtPreferenceAttribute
{
    /// <summary>Bytes of workspace at most, 64-bit.</summary>
    WorkspaceBytes = 1,
    /// <summary>How parts of a product may be added, 32-bit flags (<c>cublasLtReductionScheme_t</c>): 2 is in the type of the computation, 1 and 4 in the type of the result.</summary>
    ReductionSchemes = 3,
    /// <summary>Bytes that the address of A is a multiple of, 32-bit.</summary>
    AlignmentA = 5,
    /// <summary>The same of B.</summary>
    AlignmentB = 6,
    /// <summary>The same of C.</summary>
    AlignmentC = 7,
    /// <summary>The same of D.</summary>
    AlignmentD = 8,
}

/// <summary>An algorithm for one product: <c>cublasLtMatmulHeuristicResult_t</c>, 96 bytes that start with the opaque <c>cublasLtMatmulAlgo_t</c>.</summary>
public sealed class BlasLtAlgorithm
{
    private readonly ulong[] _words = new ulong[12];

    /// <summary>The whole structure.</summary>
    public Span<ulong> Words => _words;

    /// <summary>Bytes of workspace that it needs.</summary>
    public ulong WorkspaceBytes => _words[8];

    /// <summary>0 where it works.</summary>
    public int State => unchecked((int)_words[9]);
}

/// <summary>The cuBLASLt calls that the runtime uses; status codes are cuBLAS's (0 = success). Matrices are column-major, computation is float32.</summary>
public abstract class BlasLt
{
    /// <summary><c>cublasLtCreate</c> in the current context.</summary>
    public abstract int Create(out nint handle);
    /// <summary><c>cublasLtDestroy</c>.</summary>
    public abstract int Destroy(nint handle);
    /// <summary><c>cublasLtMatmulDescCreate</c> with float32 computation and factors.</summary>
    public abstract int ProductCreate(out nint product);
    /// <summary><c>cublasLtMatmulDescDestroy</c>.</summary>
    public abstract int ProductDestroy(nint product);
    /// <summary><c>cublasLtMatmulDescSetAttribute</c>.</summary>
    public abstract int ProductSet(nint product, BlasLtProductAttribute attribute, int value);
    /// <summary><c>cublasLtMatrixLayoutCreate</c>.</summary>
    public abstract int LayoutCreate(out nint layout, BlasType type, ulong rows, ulong columns, long leading);
    /// <summary><c>cublasLtMatrixLayoutDestroy</c>.</summary>
    public abstract int LayoutDestroy(nint layout);
    /// <summary><c>cublasLtMatmulPreferenceCreate</c>.</summary>
    public abstract int PreferenceCreate(out nint preference);
    /// <summary><c>cublasLtMatmulPreferenceDestroy</c>.</summary>
    public abstract int PreferenceDestroy(nint preference);
    /// <summary><c>cublasLtMatmulPreferenceSetAttribute</c>; the attribute says how many bytes of the value count.</summary>
    public abstract int PreferenceSet(nint preference, BlasLtPreferenceAttribute attribute, ulong value);
    /// <summary><c>cublasLtMatmulAlgoGetHeuristic</c> for the best algorithm, written to <paramref name="algorithm"/>; <paramref name="found"/> is 0 or 1.</summary>
    public abstract int FindAlgorithm(nint handle, nint product, nint a, nint b, nint c, nint d, nint preference, BlasLtAlgorithm algorithm, out int found);
    /// <summary><c>cublasLtMatmul</c>: C = alpha · op(A) · op(B) + beta · C.</summary>
    public abstract int Multiply(nint handle, nint product, float alpha, ulong a, nint aLayout, ulong b, nint bLayout, float beta, ulong c, nint cLayout,
        BlasLtAlgorithm algorithm, ulong workspace, ulong workspaceBytes, nint stream);
}
