using Griffin.Kernels.Interop;

namespace Griffin.Kernels.Runtime;

/// <summary>A kernel on its way from source to a function of a device: compiled and loaded by a task that starts when it is made.</summary>
internal sealed class LoadedKernel
{
    private readonly Task<State> _task;
    private readonly Lock _lock = new();
    private int _maxDynamicShared;
    private State? _state;

    public LoadedKernel(KernelSpec spec, DeviceContext context, Task<State> task) => (Spec, Context, _task) = (spec, context, task);

    public KernelSpec Spec { get; }

    public DeviceContext Context { get; }

    public Task<State> Task => _task;

    /// <summary>Blocks until the kernel is loaded; a failure of its compilation is thrown here, each time.</summary>
    public State Wait()
    {
        if (_state is { } ready) return ready;
        State state = _task.GetAwaiter().GetResult();
        lock (_lock)
        {
            if (_state is null && _maxDynamicShared > 0) Apply(state, _maxDynamicShared);
            _state = state;
        }
        return state;
    }

    public void SetMaxDynamicSharedBytes(int bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        lock (_lock)
        {
            if (bytes <= _maxDynamicShared) return;
            if (_state is { } state) Apply(state, bytes);
            _maxDynamicShared = bytes;
        }
    }

    public void CheckParameterSize(Type type, int size)
    {
        State state = Wait();
        if (state.ParameterBytes is { } expected && expected != size)
            throw new ArgumentException($"{Spec.NameExpression} takes {expected} bytes of parameters, but {type.Name} has {size}.");
    }

    private void Apply(State state, int bytes)
    {
        Context.MakeCurrent();
        Context.Check(Context.Driver.FuncSetAttribute(state.Function, FunctionAttribute.MaxDynamicSharedBytes, bytes), "cuFuncSetAttribute");
    }

    /// <summary>A loaded function; <c>ParameterBytes</c> is null where the driver cannot tell.</summary>
    internal sealed record State(CompiledKernel Compiled, ModuleHandle Module, nint Function, KernelAttributes Attributes, int? ParameterBytes);
}
