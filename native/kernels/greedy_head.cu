// The head of a greedy decode step: norm, product, soft-cap, repetition penalty and the choice of the largest, with no logits in memory
//
//   greedy_head leaves the largest of each tile of the vocabulary: its order key and, for equal logits, the lowest token, in one u64;
//   greedy_merge takes the largest of a row. The order is the sampler's (sampler_state.cuh), so that both choose the same token from equal logits;
//   the temperature is not looked at. A padding row (pos -1) gets token -1.
//
// Shapes       x T [rows, k], scale T [k], squares f32 [rows, parts]; w T [vocabulary, k]; pos, slot, tokens i32 [rows];
//              best u64 [rows, ceil(vocabulary / Core::ROWS)], adjacent rows; sampler slots as in sampler.cu.
// Kernel       greedy_head<Core>; the cores, the norm and what they ask for are in skinny.cuh. greedy_merge.
// Launch       greedy_head: grid (ceil(vocabulary / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it;
//              greedy_merge: grid (rows), block (256).
// Aliasing     none; the rows' slots are distinct.
// Determinism  as skinny.cuh; a maximum has no order.
// Error        the logits that are compared: as norm_product.
// Traffic      w once per Core::BATCH rows; x and scale once per tile; counts once where the penalty is not 1; best written and read.
#include "include/block.cuh"
#include "include/math.cuh"
#include "include/sampler_state.cuh"
#include "include/skinny.cuh"

struct GreedyHeadParams {
    SkinnyProductParams product;
    NormInputParams norm;
    const i32* pos;
    const i32* slot;
    u64* best;
    SlotMemory states;
    i32 vocabulary;
    f32 cap;                // 0: none
};

struct GreedyMergeParams {
    const u64* best;
    const i32* pos;
    i32* tokens;
    i32 tiles;
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) greedy_head(GreedyHeadParams p) {
    extern __shared__ f32 skinny_shared[];
    const i32 first = static_cast<i32>(blockIdx.x) * Core::ROWS, first_row = static_cast<i32>(blockIdx.y) * Core::BATCH;
    const auto tile = Core::run(p.product, NormInput{p.norm}, PlainRows{first, p.vocabulary}, skinny_shared);

    // Whole warps, so that each tile row's logits meet in one.
    #pragma unroll 1
    for (i32 i = threadIdx.x; i < ceil_div(Core::ROWS * Core::BATCH, 32) * 32; i += SKINNY_THREADS) {
        const i32 v = i % Core::ROWS, b = i / Core::ROWS, token = first + v, row = first_row + b;
        const bool inside = b < Core::BATCH && row < p.product.rows && p.pos[row] >= 0;
        u64 best = 0;
        if (inside && token < p.vocabulary) {
            const i32 slot = p.slot[row];
            const f32 penalty = sampler_state(p.states, slot).repetition_penalty;
            best = order_of(sampler_key(soft_capped(tile.sum(v, b), p.cap), sampler_counts(p.states, slot), token, penalty), token);
        }
        best = warp_max<Core::ROWS>(best);
        if (v == 0 && inside) p.best[static_cast<i64>(row) * gridDim.x + blockIdx.x] = best;
    }
}

template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) greedy_merge(GreedyMergeParams p) {
    const i64 row = blockIdx.x;
    u64 best = 0;
    if (p.pos[row] >= 0)
        for (i32 i = threadIdx.x; i < p.tiles; i += BLOCK) best = max_of(best, p.best[row * p.tiles + i]);
    best = block_max<BLOCK>(best);
    if (threadIdx.x == 0) p.tokens[row] = p.pos[row] < 0 ? -1 : token_of(best);
}
