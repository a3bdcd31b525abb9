namespace Griffin.Kernels.Runtime;

public sealed partial class GpuStream
{
    private GpuBlas? _blas;

    /// <summary>
    /// Matrix products through cuBLAS on this stream, with a workspace of its own; null when the provider has no cuBLAS.
    /// Made at the first call, which must not be during a capture; disposed with the stream.
    /// </summary>
    public GpuBlas? Blas
    {
        get
        {
            if (_blas is not null || Device.Provider.Blas is null) return _blas;
            if (IsCapturing) throw new InvalidOperationException("Ask for GpuStream.Blas once before capturing: its workspace cannot be made during a capture.");
            return _blas = new GpuBlas(this);
        }
    }
}
