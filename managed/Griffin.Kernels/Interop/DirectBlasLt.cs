namespace Griffin.Kernels.Interop;

/// <summary>cuBLASLt bound directly, NVIDIA's or the emulator's.</summary>
internal sealed unsafe class DirectBlasLt : BlasLt
{
    private const int ComputeFloat32 = 68;

    private readonly delegate* unmanaged<nint*, int> _create;
    private readonly delegate* unmanaged<nint, int> _destroy;
    private readonly delegate* unmanaged<nint*, int, BlasType, int> _productCreate;
    private readonly delegate* unmanaged<nint, int> _productDestroy;
    private readonly delegate* unmanaged<nint, BlasLtProductAttribute, void*, nuint, int> _productSet;
    private readonly delegate* unmanaged<nint*, BlasType, ulong, ulong, long, int> _layoutCreate;
    private readonly delegate* unmanaged<nint, int> _layoutDestroy;
    private readonly delegate* unmanaged<nint*, int> _preferenceCreate;
    private readonly delegate* unmanaged<nint, int> _preferenceDestroy;
    private readonly delegate* unmanaged<nint, BlasLtPreferenceAttribute, void*, nuint, int> _preferenceSet;
    private readonly delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, ulong*, int*, int> _findAlgorithm;
    private readonly delegate* unmanaged<nint, nint, void*, ulong, nint, ulong, nint, void*, ulong, nint, ulong, nint, ulong*, ulong, nuint, nint, int> _multiply;

    /// <exception cref="EntryPointNotFoundException">The library lacks a call.</exception>
    public DirectBlasLt(ExportTable exports)
    {
        _create = (delegate* unmanaged<nint*, int>)exports.Required("cublasLtCreate");
        _destroy = (delegate* unmanaged<nint, int>)exports.Required("cublasLtDestroy");
        _productCreate = (delegate* unmanaged<nint*, int, BlasType, int>)exports.Required("cublasLtMatmulDescCreate");
        _productDestroy = (delegate* unmanaged<nint, int>)exports.Required("cublasLtMatmulDescDestroy");
        _productSet = (delegate* unmanaged<nint, BlasLtProductAttribute, void*, nuint, int>)exports.Required("cublasLtMatmulDescSetAttribute");
        _layoutCreate = (delegate* unmanaged<nint*, BlasType, ulong, ulong, long, int>)exports.Required("cublasLtMatrixLayoutCreate");
        _layoutDestroy = (delegate* unmanaged<nint, int>)exports.Required("cublasLtMatrixLayoutDestroy");
        _preferenceCreate = (delegate* unmanaged<nint*, int>)exports.Required("cublasLtMatmulPreferenceCreate");
        _preferenceDestroy = (delegate* unmanaged<nint, int>)exports.Required("cublasLtMatmulPreferenceDestroy");
        _preferenceSet = (delegate* unmanaged<nint, BlasLtPreferenceAttribute, void*, nuint, int>)exports.Required("cublasLtMatmulPreferenceSetAttribute");
        _findAlgorithm = (delegate* unmanaged<nint, nint, nint, nint, nint, nint, nint, int, ulong*, int*, int>)exports.Required("cublasLtMatmulAlgoGetHeuristic");
        _multiply = (delegate* unmanaged<nint, nint, void*, ulong, nint, ulong, nint, void*, ulong, nint, ulong, nint, ulong*, ulong, nuint, nint, int>)
            exports.Required("cublasLtMatmul");
    }

    public override int Create(out nint handle) => Make(_create, out handle);

    public override int Destroy(nint handle) => _destroy(handle);

    public override int ProductCreate(out nint product)
    {
        product = 0;
        fixed (nint* pointer = &product) return _productCreate(pointer, ComputeFloat32, BlasType.Float32);
    }

    public override int ProductDestroy(nint product) => _productDestroy(product);

    public override int ProductSet(nint product, BlasLtProductAttribute attribute, int value) => _productSet(product, attribute, &value, sizeof(int));

    public override int LayoutCreate(out nint layout, BlasType type, ulong rows, ulong columns, long leading)
    {
        layout = 0;
        fixed (nint* pointer = &layout) return _layoutCreate(pointer, type, rows, columns, leading);
    }

    public override int LayoutDestroy(nint layout) => _layoutDestroy(layout);

    public override int PreferenceCreate(out nint preference) => Make(_preferenceCreate, out preference);

    public override int PreferenceDestroy(nint preference) => _preferenceDestroy(preference);

    // Little-endian: the low half of the value is the 32-bit one.
    public override int PreferenceSet(nint preference, BlasLtPreferenceAttribute attribute, ulong value) =>
        _preferenceSet(preference, attribute, &value, attribute == BlasLtPreferenceAttribute.WorkspaceBytes ? (nuint)sizeof(ulong) : sizeof(uint));

    public override int FindAlgorithm(nint handle, nint product, nint a, nint b, nint c, nint d, nint preference, BlasLtAlgorithm algorithm, out int found)
    {
        found = 0;
        fixed (ulong* result = algorithm.Words)
        fixed (int* count = &found) return _findAlgorithm(handle, product, a, b, c, d, preference, 1, result, count);
    }

    public override int Multiply(nint handle, nint product, float alpha, ulong a, nint aLayout, ulong b, nint bLayout, float beta, ulong c, nint cLayout,
        BlasLtAlgorithm algorithm, ulong workspace, ulong workspaceBytes, nint stream)
    {
        fixed (ulong* chosen = algorithm.Words)
            return _multiply(handle, product, &alpha, a, aLayout, b, bLayout, &beta, c, cLayout, c, cLayout, chosen, workspace, (nuint)workspaceBytes, stream);
    }

    private static int Make(delegate* unmanaged<nint*, int> create, out nint made)
    {
        made = 0;
        fixed (nint* pointer = &made) return create(pointer);
    }
}
