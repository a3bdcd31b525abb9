using Griffin.Bench.Rows;
using TorchSharp;
using static TorchSharp.torch;

namespace Griffin.Bench.TorchSharp;

/// <summary>Attention, positions and rings: qkv is [N, (heads + 2) d], a ring [B, 2, W + 1, d], keys before values.</summary>
internal static class SequenceCases
{
    public static TorchCase WindowAttention(BenchRow row, TorchDraw draw)
    {
        (long batch, long tokens, long heads, long dim, long window) = (row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"]);
        return new([draw.Activation("qkv", batch * tokens, (heads + 2) * dim)], inputs =>
        {
            Tensor[] parts = inputs[0].view(batch, tokens, heads + 2, dim).transpose(1, 2).split([heads, 1L, 1L], 1);
            return [Formulas.Attend(parts[0], parts[1], parts[2], window).transpose(1, 2).reshape(batch * tokens, heads * dim)];
        })
        {
            WithGradient = [0],
            Slope = row.Pass == "backward" ? draw.Activation("dy", batch * tokens, heads * dim) : null,
            Between = 1,
        };
    }

    /// <summary>One query a sequence; its own key and value lie in the ring already.</summary>
    public static TorchCase DecodeAttention(BenchRow row, TorchDraw draw)
    {
        (long batch, long heads, long dim, long slots, long context) = (row["batch"], row["heads"], row["head_dim"], row["window"] + 1, row["context"]);
        Tensor visible = arange(slots, ScalarType.Int64, draw.Device).le(context).view(1, 1, 1, slots);
        return new([draw.Activation("qkv", batch, (heads + 2) * dim), draw.Activation("ring", batch, 2, slots, dim)], inputs =>
        {
            // The query heads are the rows of one head.
            Tensor q = inputs[0].narrow(1, 0, heads * dim).view(batch, 1, heads, dim), ring = inputs[1];
            return [nn.functional.scaled_dot_product_attention(q, ring.narrow(1, 0, 1), ring.narrow(1, 1, 1), attn_mask: visible).reshape(batch, heads * dim)];
        });
    }

    public static TorchCase Rotary(BenchRow row, TorchDraw draw)
    {
        (long batch, long heads, long dim) = (row["batch"], row["heads"], row["head_dim"]);
        if (row.Pass == "step") return RotaryStep(row, draw);
        long tokens = row["tokens"];
        Tensor positions = arange(tokens, ScalarType.Int64, draw.Device).repeat(batch).unsqueeze(1);
        return new([draw.Activation("qkv", batch * tokens, (heads + 2) * dim)], inputs =>
        {
            Tensor turned = inputs[0].view(batch * tokens, heads + 2, dim).narrow(1, 0, heads + 1);
            turned.copy_(Formulas.Rotate(turned, positions));
            return [inputs[0]];
        });
    }

    public static TorchCase RingAppend(BenchRow row, TorchDraw draw)
    {
        (long batch, long tokens, long heads, long dim, long slots) = (row["batch"], row["tokens"], row["heads"], row["head_dim"], row["window"] + 1);
        Tensor last = arange(Math.Max(0, tokens - slots), tokens, ScalarType.Int64, draw.Device), ring = zeros([batch, 2, slots, dim], draw.Type, draw.Device);
        return new([draw.Activation("qkv", batch * tokens, (heads + 2) * dim), ring], inputs =>
        {
            Tensor entries = inputs[0].view(batch, tokens, heads + 2, dim).narrow(2, heads, 2).transpose(1, 2);
            return [inputs[1].index_copy_(2, last.remainder(slots), entries.index_select(2, last))];
        });
    }

    // The query turns in place; the key, turned, and the value go into the ring at the position's slot. Row r stands at position slots + r.
    private static TorchCase RotaryStep(BenchRow row, TorchDraw draw)
    {
        (long batch, long heads, long dim, long slots) = (row["batch"], row["heads"], row["head_dim"], row["window"] + 1);
        Tensor positions = arange(slots, slots + batch, ScalarType.Int64, draw.Device).unsqueeze(1), ring = zeros([batch, 2, slots, dim], draw.Type, draw.Device);
        Tensor place = positions.remainder(slots).view(batch, 1, 1, 1).expand(batch, 2, 1, dim);
        return new([draw.Activation("qkv", batch, (heads + 2) * dim), ring], inputs =>
        {
            Tensor parts = inputs[0].view(batch, heads + 2, dim), turned = Formulas.Rotate(parts.narrow(1, 0, heads + 1), positions);
            parts.narrow(1, 0, heads).copy_(turned.narrow(1, 0, heads));
            Tensor entry = cat([turned.narrow(1, heads, 1), parts.narrow(1, heads + 1, 1)], 1).unsqueeze(2);
            return [inputs[0], inputs[1].scatter_(2, place, entry)];
        });
    }
}
