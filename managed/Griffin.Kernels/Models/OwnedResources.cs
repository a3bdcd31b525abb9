namespace Griffin.Kernels.Models;

/// <summary>
/// What an object under construction has made so far: disposed in reverse order, at the end of its life or when its constructor fails half-way.
/// </summary>
internal sealed class OwnedResources : IDisposable
{
    private readonly Stack<IDisposable> _owned = [];

    /// <summary>Takes charge of a resource.</summary>
    public T Add<T>(T resource) where T : IDisposable
    {
        _owned.Push(resource);
        return resource;
    }

    public void Dispose()
    {
        while (_owned.TryPop(out IDisposable? resource)) resource.Dispose();
    }
}
