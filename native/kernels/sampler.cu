// Draws the next token of each row from its logits, on the device, with every setting read from the row's state slot.
//
//   x_v   = logit_v; of a token that occurred in the document: logit_v / penalty if positive, else logit_v * penalty. NaN counts as minus infinity.
//   order : descending x, equal x by ascending token. Every restriction keeps a prefix of it.
//   greedy (temperature 0): its first token. Otherwise the tokens that are left by, with w_v = floor(2^40 exp((x_v - max x) / temperature)) as integers:
//     top-k   the first top_k tokens (0: all)
//     top-p   of those, the shortest prefix whose weight is at least top_p of theirs (1: all)
//     min-p   of those, the tokens with (x_v - max x) / temperature >= ln min_p (0: all)
//   and of them the one with the largest x_v + temperature · g_v, the lowest of equals, g_v the Gumbel number (gumbel.cuh) of the seed, of the index
//   pos + 1 of the drawn token, and of v: each is drawn with its probability exp(x_v / temperature) / sum, and a draw depends on the seed and
//   the absolute index only. The head that samples without logits (sampling_head.cu) draws by the same rule.
//   The chosen token goes to tokens[row]. A padding row (pos -1) gets -1.
//   sampler_count counts the tokens that a call or step reads, so that a drawn token counts once it is read: counts are a function of the
//   slot's token prefix. Where a document starts in the row, the counts start from zero with its last document. Padding and tokens
//   outside the vocabulary are left out.
//
// Shapes   logits f32 [rows, vocabulary], row stride logits_stride; pos, slot, tokens i32[rows]; state slot: SamplerState, then counts i32[vocabulary];
//          vocabulary up to 2^20
// Launch   sampler: one block of BLOCK threads per row; sampler_count: one block of BLOCK threads per row
// Variants BLOCK 256 or 512: equal results
// Aliasing the rows' slots are distinct; logits are only read
// Determinism sums are sums of integers, and a maximum has no order. The same logits, counts, settings and index give the same token, whatever the
//          other rows hold.
// Error    a token's chance beside another's is off by a factor within 1 ± the sum of both tokens' (5 + 2 |g| + |x / temperature + g|) · 2^-24, g in
//          [-3.8, 45.05]; exp's rounding decides which tokens top-p leaves where its border lies within 2^-22 of a weight, relatively
// Bytes    the row's logits once if greedy or unrestricted; else twice, and 4 or 5 times more for each of top-k and top-p, from the second pass on out
//          of L2; the row's counts with them when the penalty is not 1
#include "include/block.cuh"
#include "include/dependent_launch.cuh"
#include "include/sampler_state.cuh"

struct SamplerParams {
    const f32* logits;
    i32* tokens;
    const i32* pos;
    const i32* slot;
    SlotMemory states;
    i64 logits_stride;
    i32 vocabulary;
};

struct SamplerCountParams {
    const i32* tokens;
    PackedRows rows;
    SlotMemory states;
    i32 vocabulary;
};

constexpr u64 WEIGHT_ONE = 1ull << 40;
constexpr int RADIX_BINS = 2048;
constexpr int RADIX_GROUPS = 64;

// One row's logits as the sampler sees them.
struct SamplerRow {
    const f32* logits;
    const i32* counts;
    f32 penalty;
    f32 maximum;
    f32 temperature;
    u32 cut_key;            // the prefix of the order that is allowed: keys above cut_key, and of cut_key the tokens up to cut_token
    i32 cut_token;

    GK_DEVICE f32 logit(i32 token) const { return sampler_logit(logits[token], counts, token, penalty); }
    GK_DEVICE u32 key(i32 token) const { return order_key(logit(token)); }
    GK_DEVICE bool allowed(i32 token, u32 key) const { return key > cut_key || (key == cut_key && token <= cut_token); }
    // (x - maximum) / temperature, 0 for the largest even if that is infinite.
    GK_DEVICE f32 distance(u32 key) const {
        const f32 x = order_value(key);
        return x == maximum ? 0.0f : (x - maximum) / temperature;
    }
    GK_DEVICE u64 weight(u32 key) const { return static_cast<u64>(expf(distance(key)) * static_cast<f32>(WEIGHT_ONE)); }
};

// The shortest prefix of the order whose weight is at least `target` (1 to the sum of all): the key of its last token, and how much of the weight
// at that key it needs. weight(token, key) is an integer. Radix selection from the highest bits down.
struct Selection {
    u64 key;                // 32 bits of it; as wide as the others, so that a copy moves no padding
    u64 needed;
    u64 present;            // the weight of all tokens of that key
};

template <int BLOCK, typename Weight>
GK_DEVICE Selection select_prefix(const SamplerRow& row, i32 vocabulary, u64 target, const Weight& weight) {
    __shared__ u64 bins[RADIX_BINS];
    __shared__ u64 groups[RADIX_GROUPS];
    __shared__ Selection found;
    constexpr int GROUP_BINS = RADIX_BINS / RADIX_GROUPS;
    u32 decided = 0;
    if (threadIdx.x == 0) found = {0, target, 0};
    for (int shift = 21; shift >= 0; shift = shift == 21 ? 10 : shift - 10) {
        for (int i = threadIdx.x; i < RADIX_BINS; i += BLOCK) bins[i] = 0;
        __syncthreads();
        const u32 prefix = static_cast<u32>(found.key);
        const u32 digits = shift == 0 ? 1023u : 2047u;
        for (i32 token = threadIdx.x; token < vocabulary; token += BLOCK) {
            const u32 key = row.key(token);
            if ((key & decided) != prefix) continue;
            const u64 w = weight(token, key);
            if (w != 0) atomicAdd(&bins[key >> shift & digits], w);
        }
        __syncthreads();
        if (threadIdx.x < RADIX_GROUPS) {
            u64 sum = 0;
            for (int i = 0; i < GROUP_BINS; ++i) sum += bins[threadIdx.x * GROUP_BINS + i];
            groups[threadIdx.x] = sum;
        }
        __syncthreads();
        if (threadIdx.x == 0) {
            u64 needed = found.needed;
            int group = RADIX_GROUPS - 1;
            for (; group > 0 && groups[group] < needed; --group) needed -= groups[group];
            int bin = group * GROUP_BINS + GROUP_BINS - 1;
            for (; bin > group * GROUP_BINS && bins[bin] < needed; --bin) needed -= bins[bin];
            found = {prefix | static_cast<u32>(bin) << shift, needed, bins[bin]};
        }
        decided |= digits << shift;
        __syncthreads();
    }
    const Selection selection = found;
    __syncthreads();
    return selection;
}

// The first token, in ascending order, at which the running sum of weight(token) exceeds `target`, which is below the sum of all.
template <int BLOCK, typename Weight>
GK_DEVICE i32 locate_token(i32 vocabulary, u64 target, const Weight& weight) {
    constexpr int WARPS = BLOCK / 32;
    __shared__ u64 parts[WARPS];
    __shared__ i32 located;
    i32 low = 0, high = vocabulary;
    while (high - low > 32) {                                       // each warp sums one of WARPS pieces; go on in the one that holds the target
        const i32 piece = ceil_div(high - low, WARPS);
        const i32 from = low + warp_id() * piece, to = min_of(from + piece, high);
        u64 sum = 0;
        for (i32 token = from + lane_id(); token < to; token += 32) sum += weight(token);
        sum = warp_sum(sum);
        if (lane_id() == 0) parts[warp_id()] = sum;
        __syncthreads();
        int chosen = 0;
        for (; chosen < WARPS - 1 && parts[chosen] <= target; ++chosen) target -= parts[chosen];
        low += chosen * piece;
        high = min_of(low + piece, high);
        __syncthreads();
    }
    if (threadIdx.x == 0) {
        for (; low < high - 1; ++low) {
            const u64 w = weight(low);
            if (target < w) break;
            target -= w;
        }
        located = low;
    }
    __syncthreads();
    const i32 token = located;
    __syncthreads();
    return token;
}

// Restricts the row to what was selected: all tokens of higher keys, and the first `count` of the selected key.
template <int BLOCK>
GK_DEVICE void cut_row(SamplerRow& row, i32 vocabulary, const Selection& s, u64 count) {
    const SamplerRow before = row;
    const u32 key = static_cast<u32>(s.key);
    const i32 last = s.needed == s.present ? vocabulary - 1
                         : locate_token<BLOCK>(vocabulary, count - 1, [&](i32 token) -> u64 {
                               const u32 k = before.key(token);
                               return k == key && before.allowed(token, k) ? 1 : 0;
                           });
    row.cut_token = row.cut_key == key ? min_of(row.cut_token, last) : last;
    row.cut_key = key;
}

// Finds the row's maximum and applies top-k and top-p. Top-k counts tokens, top-p their weights among those that top-k left: the same selection.
template <int BLOCK>
GK_DEVICE void restrict_row(SamplerRow& row, i32 vocabulary, const SamplerState& state) {
    u32 highest = 0;
    for (i32 token = threadIdx.x; token < vocabulary; token += BLOCK) highest = max_of(highest, row.key(token));
    row.maximum = order_value(block_max<BLOCK>(highest));
    #pragma unroll 1
    for (int by_weight = 0; by_weight < 2; ++by_weight) {
        if (by_weight ? !(state.top_p < 1.0f) : state.top_k <= 0 || state.top_k >= vocabulary) continue;
        const auto weight = [&](i32 token, u32 key) -> u64 { return !by_weight ? 1 : row.allowed(token, key) ? row.weight(key) : 0; };
        u64 target = static_cast<u64>(state.top_k);
        if (by_weight) {
            u64 sum = 0;
            for (i32 token = threadIdx.x; token < vocabulary; token += BLOCK) sum += weight(token, row.key(token));
            sum = block_sum<BLOCK>(sum);
            const u64 share = static_cast<u64>(state.top_p * 0x1p63f) << 1;              // top_p * 2^64, exactly
            target = min_of(max_of(multiply_high(sum, share) + (sum * share != 0 ? 1 : 0), 1ull), sum);   // rounded up
        }
        const Selection s = select_prefix<BLOCK>(row, vocabulary, target, weight);
        cut_row<BLOCK>(row, vocabulary, s, by_weight ? ceil_div(s.needed, row.weight(static_cast<u32>(s.key))) : s.needed);
    }
}

template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) sampler(SamplerParams p) {
    begin_dependent();
    const i64 r = blockIdx.x;
    const i32 position = p.pos[r];
    if (position < 0) {
        if (threadIdx.x == 0) p.tokens[r] = -1;
        return;
    }
    const i32 slot = p.slot[r];
    const SamplerState state = sampler_state(p.states, slot);
    i32* counts = sampler_counts(p.states, slot);
    SamplerRow row = {p.logits + r * p.logits_stride, counts, state.repetition_penalty, 0.0f, state.temperature, 0u, p.vocabulary - 1};

    const auto choice = [&](i32 token) -> u64 { return choice_order(row.logit(token), token, state, position); };
    const bool restricted = state.temperature > 0.0f && ((state.top_k > 0 && state.top_k < p.vocabulary) || state.top_p < 1.0f || state.min_p > 0.0f);
    u64 best = 0;
    if (!restricted) {
        for (i32 token = threadIdx.x; token < p.vocabulary; token += BLOCK) best = max_of(best, choice(token));
    } else {
        restrict_row<BLOCK>(row, p.vocabulary, state);
        const f32 farthest = state.min_p > 0.0f ? logf(state.min_p) : minus_infinity();
        for (i32 token = threadIdx.x; token < p.vocabulary; token += BLOCK) {
            const u32 key = row.key(token);
            if (row.allowed(token, key) && row.distance(key) >= farthest) best = max_of(best, choice(token));
        }
    }
    best = block_max<BLOCK>(best);
    if (threadIdx.x == 0) p.tokens[r] = token_of(best);
}

template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) sampler_count(SamplerCountParams p) {
    const i32 row = static_cast<i32>(blockIdx.x);
    const i32 last = last_token(p.rows, row);
    if (last < 0) return;
    i32* counts = sampler_counts(p.states, p.rows.slot[row]);
    const i32 first = document_start(p.rows, row, last);
    if (p.rows.pos[first] == 0)
        for (i32 token = threadIdx.x; token < p.vocabulary; token += BLOCK) counts[token] = 0;
    __syncthreads();
    for (i32 t = first + static_cast<i32>(threadIdx.x); t <= last; t += BLOCK) {
        const i32 token = p.tokens[t];
        if (p.rows.pos[t] >= 0 && token >= 0 && token < p.vocabulary) atomicAdd(&counts[token], 1);
    }
}
