using System.Numerics;
using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>
/// cuBLASLt on one stream: for each shape the descriptors and the algorithm that its heuristics name first, kept from the first product of that shape on.
/// Products after that allocate nothing; neither does the first one on the device, so that it may be a part of a capture.
/// </summary>
internal sealed class GpuBlasLt : IDisposable
{
    /// <summary>Shapes kept at once: calls of ever new lengths do not add up.</summary>
    internal const int MostPlans = 1024;

    private const ulong MostAlignment = 256;
    private const ulong PartsInFloat32 = 2;   // results are rounded once: not between the parts of a product either

    private readonly BlasLt _library;
    private readonly GpuStream _stream;
    private readonly DeviceMemory _workspace;
    private readonly LtHandle _handle;
    private readonly Dictionary<Shape, Plan?> _plans = [];

    /// <param name="library">The calls.</param>
    /// <param name="stream">The stream.</param>
    /// <param name="workspace">Memory that products on the stream may use while they run.</param>
    public GpuBlasLt(BlasLt library, GpuStream stream, DeviceMemory workspace)
    {
        _library = library;
        _stream = stream;
        _workspace = workspace;
        DeviceContext context = stream.Enter();
        GpuBlas.Check(library.Create(out nint handle), "cublasLtCreate");
        _handle = new LtHandle(context, stream.Handle, handle, library);
    }

    /// <summary>Queues C = op(A) · op(B) + beta · C, column-major.</summary>
    /// <returns>False where cuBLASLt has no algorithm for the shape: nothing was queued.</returns>
    public bool TryMultiply(in Operand a, in Operand b, float beta, in Operand c, int m, int n, int k)
    {
        Shape shape = new(m, n, k, a.Form, b.Form, c.Form);
        if (!_plans.TryGetValue(shape, out Plan? plan))
        {
            if (_plans.Count == MostPlans) ForgetPlans();   // what is queued or captured does not need them any more
            _plans[shape] = plan = MakePlan(shape);
        }
        if (plan is null) return false;
        GpuBlas.Check(_library.Multiply(_handle.Value, plan.Product, 1f, a.Address, plan.A, b.Address, plan.B, beta, c.Address, plan.C, plan.Algorithm,
            _workspace.Address, (ulong)_workspace.Bytes, _stream.Handle.Value), "cublasLtMatmul");
        return true;
    }

    public void Dispose()
    {
        if (_handle.IsClosed) return;
        ForgetPlans();
        _handle.Dispose();
    }

    private void ForgetPlans()
    {
        foreach (Plan? plan in _plans.Values) plan?.Release(_library);
        _plans.Clear();
    }

    private Plan? MakePlan(in Shape shape)
    {
        Plan plan = new();
        nint preference = 0;
        try
        {
            Check(_library.ProductCreate(out plan.Product), "cublasLtMatmulDescCreate");
            Check(_library.ProductSet(plan.Product, BlasLtProductAttribute.TransposeA, shape.A.Transposed ? 1 : 0), "cublasLtMatmulDescSetAttribute");
            Check(_library.ProductSet(plan.Product, BlasLtProductAttribute.TransposeB, shape.B.Transposed ? 1 : 0), "cublasLtMatmulDescSetAttribute");
            plan.A = Layout(shape.A, shape.M, shape.K);
            plan.B = Layout(shape.B, shape.K, shape.N);
            plan.C = Layout(shape.C, shape.M, shape.N);
            Check(_library.PreferenceCreate(out preference), "cublasLtMatmulPreferenceCreate");
            Prefer(BlasLtPreferenceAttribute.WorkspaceBytes, (ulong)_workspace.Bytes);
            Prefer(BlasLtPreferenceAttribute.ReductionSchemes, PartsInFloat32);
            Prefer(BlasLtPreferenceAttribute.AlignmentA, shape.A.Alignment);
            Prefer(BlasLtPreferenceAttribute.AlignmentB, shape.B.Alignment);
            Prefer(BlasLtPreferenceAttribute.AlignmentC, shape.C.Alignment);
            Prefer(BlasLtPreferenceAttribute.AlignmentD, shape.C.Alignment);
            // A shape that the library does not support is a status of the search on some versions, and no result on others.
            int status = _library.FindAlgorithm(_handle.Value, plan.Product, plan.A, plan.B, plan.C, plan.C, preference, plan.Algorithm, out int found);
            if (status == 0 && found == 1 && plan.Algorithm.State == 0 && plan.Algorithm.WorkspaceBytes <= (ulong)_workspace.Bytes) return plan;
            plan.Release(_library);
            return null;
        }
        catch
        {
            plan.Release(_library);
            throw;
        }
        finally
        {
            if (preference != 0) _library.PreferenceDestroy(preference);
        }

        void Prefer(BlasLtPreferenceAttribute attribute, ulong value) => Check(_library.PreferenceSet(preference, attribute, value), "cublasLtMatmulPreferenceSetAttribute");
    }

    private nint Layout(in Form form, int rows, int columns)
    {
        (int storedRows, int storedColumns) = form.Transposed ? (columns, rows) : (rows, columns);
        Check(_library.LayoutCreate(out nint layout, form.Type, (ulong)storedRows, (ulong)storedColumns, form.Leading), "cublasLtMatrixLayoutCreate");
        return layout;
    }

    private static void Check(int status, string call) => GpuBlas.Check(status, call);

    /// <summary>A column-major matrix.</summary>
    /// <param name="Address">Where it lies.</param>
    /// <param name="Type">Type of its elements.</param>
    /// <param name="Leading">Elements from one column to the next.</param>
    /// <param name="Transposed">Whether it stands for its transpose.</param>
    public readonly record struct Operand(ulong Address, BlasType Type, long Leading, bool Transposed)
    {
        /// <summary>All that an algorithm depends on.</summary>
        public Form Form => new(Type, Leading, Transposed, Address == 0 ? MostAlignment : Math.Min(MostAlignment, 1UL << BitOperations.TrailingZeroCount(Address)));
    }

    /// <param name="Type">Type of its elements.</param>
    /// <param name="Leading">Elements from one column to the next.</param>
    /// <param name="Transposed">Whether it stands for its transpose.</param>
    /// <param name="Alignment">Bytes that its address is a multiple of.</param>
    public readonly record struct Form(BlasType Type, long Leading, bool Transposed, ulong Alignment);

    private readonly record struct Shape(int M, int N, int K, Form A, Form B, Form C);

    private sealed class Plan
    {
        public nint Product;
        public nint A;
        public nint B;
        public nint C;
        public readonly BlasLtAlgorithm Algorithm = new();

        public void Release(BlasLt library)
        {
            foreach (nint layout in (ReadOnlySpan<nint>)[A, B, C])
                if (layout != 0) library.LayoutDestroy(layout);
            if (Product != 0) library.ProductDestroy(Product);
        }
    }

    private sealed class LtHandle(DeviceContext context, GpuHandle parent, nint handle, BlasLt library) : GpuHandle(context, parent, handle, true)
    {
        protected override bool MayDisturb => true;   // as cuBLAS

        protected override (CudaResult, string) Release(CudaDriver driver) =>
            (library.Destroy(handle) == 0 ? CudaResult.Success : CudaResult.Unknown, "cublasLtDestroy");
    }
}
