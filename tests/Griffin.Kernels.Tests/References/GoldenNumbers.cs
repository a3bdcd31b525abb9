namespace Griffin.Kernels.Tests.References;

/// <summary>The golden model's expected numbers, computed in float64 by an implementation that is not ours.</summary>
internal static class GoldenNumbers
{
    /// <summary>Logits of chosen (row, token) pairs.</summary>
    public static (int Row, int Token, double[] Logits)[] Logits { get; } =
    [
        (0, 0, [-1.6544322, 3.462779, 0.4529557, -0.3233527, -0.0785982, 0.2145895, 0.6021004, 1.4034512, -0.3260026, 0.1306413, 1.2725295]),
        (0, 3, [3.0463904, -1.109374, 0.8368469, -1.2349813, -0.8613482, 0.2265448, -0.2639999, -1.5897973, -1.3911276, 0.7424386, 0.4474063]),
        (0, 9, [1.0091095, -0.9221014, -1.1224871, -1.0896118, -0.0663575, -1.3977736, -0.1804792, -1.6703557, 0.4561793, 2.369484, -0.7166241]),
        (1, 3, [-1.1555199, -0.3543596, 0.6463611, 1.9096859, 0.499247, 3.042805, -1.2684354, 0.9370904, 0.9108036, -0.4997413, -1.8151227]),
        (1, 4, [0.2514206, -1.9233194, -1.2077299, -0.4592814, 1.0624596, -2.1966528, 0.2019728, -2.372908, -1.2984615, -1.2963372, 2.7067053]),
        (1, 9, [-1.9089703, 3.7885092, -0.1204407, -0.15674, 0.6791198, -0.429202, 0.5526668, 1.5581383, 0.066242, -0.281195, 1.2522547]),
    ];

    /// <summary>Logits of row 0, token 9 when W keys are visible.</summary>
    public static double[] LastLogitsWindowRule { get; } =
        [1.864434, -0.7429811, -0.9424653, -1.4717366, -0.5082131, -1.8560735, 0.4605882, -1.5378555, 0.4598093, 2.823623, -0.5878828];

    /// <summary>Sum, sum of squares and loss of all logits: W + 1 keys visible.</summary>
    public static (double Sum, double Squares, double Loss) Totals { get; } = (21.45280131, 449.2375938, 3.32031377);

    /// <summary>Sum, sum of squares and loss of all logits: W keys visible.</summary>
    public static (double Sum, double Squares, double Loss) TotalsWindowRule { get; } = (20.30911687, 464.1659432, 3.42941768);

    /// <summary>Largest absolute logit, W + 1 keys visible.</summary>
    public const double LargestLogit = 3.78850921;

    /// <summary>Traced tensors: norm over both rows; elements [row, token 4, channels 0, 1].</summary>
    public static (string Name, double Norm, double[] Elements)[] Tensors { get; } =
    [
        ("blocks.0.temporal_pre_norm", 22.14907497, [-1.02973197, -0.67858643, 0.69511358, -1.66054892]),
        ("blocks.0.linear_y", 19.67271647, [-0.57327182, -1.00076171, 2.06148693, 1.3370794]),
        ("blocks.0.linear_x", 21.48193269, [-0.70094334, 1.65583144, 0.08648075, 1.33390067]),
        ("blocks.0.conv", 11.96436163, [-0.05091401, -0.16901481, -0.04121499, -0.33987718]),
        ("blocks.0.rg_lru", 4.58485615, [-0.18364063, 0.31759177, -0.01787495, -0.18401939]),
        ("blocks.0.temporal", 3.24730293, [0.13511176, 0.04632213, -0.0132262, -0.02542551]),
        ("blocks.0.channel_pre_norm", 21.67383678, [-0.71098002, -0.51975756, 0.58290275, -1.4718692]),
        ("blocks.0.mlp", 17.07169795, [0.25512273, -0.59637883, -1.29166112, 0.28880029]),
        ("blocks.0.out", 29.54796142, [-0.58045906, -1.22757499, -0.54614103, -1.65640042]),
        ("blocks.1.out", 34.57188983, [-0.50878396, -1.92454709, -0.77481601, -2.86782071]),
        ("blocks.2.proj_q", 20.26271173, [-0.79663926, 1.52449342, 1.77033749, -0.9458077]),
        ("blocks.2.proj_k", 13.28714778, [2.04338573, -0.07202005, -0.62440346, 0.18053371]),
        ("blocks.2.temporal", 15.59007598, [-0.04730267, 0.28807228, -1.35419067, -0.1167722]),
        ("blocks.2.out", 43.60165089, [-0.28215809, -2.76838205, -2.6882704, -4.56932434]),
        ("blocks.3.out", 45.71344546, [-0.37863552, -2.14332292, -0.77482861, -4.86300083]),
        ("final_norm", 22.34108703, [-0.24767048, -1.38781429, -0.32069017, -1.99239382]),
    ];

    /// <summary>Norm of the scaled embeddings of both rows.</summary>
    public const double EmbeddingNorm = 24.96974277;

    /// <summary>blocks.0 recurrent state after the prefill: channels 0, 1 of rows 0 and 1; norm over both.</summary>
    public static double[] HiddenAfterPrefill { get; } = [-0.160454745, 0.589576500, 0.120045361, 0.236251394];

    public const double HiddenNorm = 1.60187929;

    /// <summary>Norm of blocks.0's last three raw convolution inputs, both rows.</summary>
    public const double ConvStateNorm = 11.0111645;

    /// <summary>Norms over blocks.2's last three keys (rotated) and values, both rows.</summary>
    public const double KeyNorm = 7.82048583;

    public const double ValueNorm = 8.84781909;

    /// <summary>blocks.2 key channel 0 by slot = position mod 3, rows 0 and 1 (10 and 6 tokens seen).</summary>
    public static double[][] KeysBySlot { get; } = [[2.38657752, 1.51937644, 0.19799111], [2.57560142, -1.64514086, -0.44507809]];

    /// <summary>Decode steps: per row, the sum of the logits and the first three of them.</summary>
    public static (double Sum, double[] First)[][] Decode { get; } =
    [
        [(-1.8191801, [0.4634277, 0.175996, -0.6345223]), (6.9856106, [0.1203699, -0.6192818, 1.4017393])],
        [(4.9302662, [-2.0376045, 3.5980227, -0.7597981]), (1.1619459, [2.4796212, -1.1496868, 1.5666827])],
        [(3.7348564, [-0.583844, 0.6705306, 0.8864216]), (2.5403979, [-1.7166834, 1.4942714, 1.002842])],
        [(-6.5571028, [0.2832006, -1.3233387, -1.7634118]), (5.2585212, [-1.9826749, 1.5539203, 1.2522153])],
        [(-0.0962349, [0.8152822, -1.4652597, -0.6001824]), (0.8000982, [-2.4827175, 0.6145008, -0.0950055])],
    ];

    /// <summary>blocks.0 recurrent state of row 0 after the last step, channels 0…3.</summary>
    public static double[] HiddenAfterDecode { get; } = [-0.185802443, 0.758122219, -0.015634642, -0.368407063];

    /// <summary>First and last element of generated tensors, by name.</summary>
    public static (string Name, double First, double Last)[] Weights { get; } =
    [
        ("blocks.0.channel_pre_norm.scale", -0.096840501, -0.105056620),
        ("blocks.0.mlp_block.ffw_down.bias", -0.044054091, -0.054490876),
        ("blocks.0.mlp_block.ffw_up.w", -0.108344644, 0.126689607),
        ("blocks.0.recurrent_block.conv_1d.w", -0.133339763, -0.052787447),
        ("blocks.0.recurrent_block.rg_lru.a_param", -2.658557177, -1.124684334),
        ("blocks.1.recurrent_block.rg_lru.input_gate.w", -0.319334829, -0.067894286),
        ("blocks.2.attention_block.proj_q.weight", -0.242927039, -0.001102662),
        ("blocks.3.recurrent_block.rg_lru.a_gate.b", 0.022281623, 0.034204245),
        ("embedder.input_embedding", 0.193914318, 0.262440252),
        ("final_norm.scale", 0.105689478, 0.024109316),
    ];
}
