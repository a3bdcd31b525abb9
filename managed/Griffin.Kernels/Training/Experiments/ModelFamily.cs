using Griffin.Kernels.Models;

namespace Griffin.Kernels.Training.Experiments;

/// <summary>The families that the paper compares.</summary>
public enum ModelFamily
{
    /// <summary>Recurrent and local attention layers.</summary>
    Griffin,

    /// <summary>Recurrent layers only.</summary>
    Hawk,

    /// <summary>The multi-query Transformer with global attention.</summary>
    Mqa,
}

/// <summary>Names and shapes of the families.</summary>
public static class ModelFamilies
{
    /// <summary>All of them, in the order of tables.</summary>
    public static ValueList<ModelFamily> All { get; } = [ModelFamily.Griffin, ModelFamily.Hawk, ModelFamily.Mqa];

    /// <summary>The family's name on command lines and in tables.</summary>
    /// <param name="family">The family.</param>
    public static string Name(this ModelFamily family) => family switch
    {
        ModelFamily.Griffin => "griffin",
        ModelFamily.Hawk => "hawk",
        _ => "mqa",
    };

    /// <summary>The family of a name.</summary>
    /// <param name="name">A name.</param>
    /// <param name="family">The family.</param>
    /// <returns>False when no family has the name.</returns>
    public static bool TryParse(string name, out ModelFamily family)
    {
        family = All.FirstOrDefault(candidate => candidate.Name() == name);
        return family.Name() == name;
    }

    /// <summary>A Griffin's shape with the layers of a family; the Transformer sees everything.</summary>
    internal static GriffinConfig Shape(this ModelFamily family, GriffinConfig griffin) => family switch
    {
        ModelFamily.Hawk => griffin with { Pattern = GriffinConfig.HawkPattern },
        ModelFamily.Mqa => griffin with { Pattern = GriffinConfig.TransformerPattern, Window = null },
        _ => griffin,
    };
}
