// The head of a decode step that draws: norm, product, soft-cap, repetition penalty and the choice of the token, with no logits in memory
//
//   sampling_head leaves the choice of each tile of the vocabulary: order key and token in one u64, of which sampling_merge takes the largest of a
//   row. The order is the sampler's (sampler_state.cuh), so that both choose the same token from equal logits: the largest logit at temperature 0,
//   else the largest of logit + temperature · Gumbel number; of equals the lowest token. Settings are read from the row's slot, so rows may differ.
//   Top-k, top-p and min-p need the whole row's distribution and are not looked at: such rows are for sampler.cu. A padding row (pos -1) gets -1.
//
// Shapes       x T [rows, k], scale T [k], squares f32 [rows, parts]; w T [vocabulary, k]; pos, slot, tokens i32 [rows];
//              best u64 [rows, ceil(vocabulary / Core::ROWS)], adjacent rows; sampler slots as in sampler.cu.
// Kernel       sampling_head<Core>; the cores, the norm and what they ask for are in skinny.cuh. sampling_merge.
// Launch       sampling_head: grid (ceil(vocabulary / Core::ROWS), ceil(rows / Core::BATCH)), block (256), dynamic shared as SkinnyProduct.cs computes it;
//              sampling_merge: grid (rows), block (256).
// Aliasing     none; the rows' slots are distinct.
// Determinism  as skinny.cuh; a maximum has no order. A draw depends on the row's logits, counts, settings and position alone.
// Error        the logits that are compared: as norm_product; the draw: as sampler.cu.
// Traffic      w once per Core::BATCH rows; x and scale once per tile; counts once where the penalty is not 1; best written and read.
// Prediction   a Gumbel number is about 150 instructions: at batch 1 its 256,000 are 2 us of an H100's issue slots beside 470 us of reading, and the
//              other block of the multiprocessor reads meanwhile; at batch 64 they are 110 us.
#include "include/block.cuh"
#include "include/math.cuh"
#include "include/sampler_state.cuh"
#include "include/skinny.cuh"

struct SamplingHeadParams {
    SkinnyProductParams product;
    NormInputParams norm;
    const i32* pos;
    const i32* slot;
    u64* best;
    SlotMemory states;
    i32 vocabulary;
    f32 cap;                // 0: none
};

struct SamplingMergeParams {
    const u64* best;
    const i32* pos;
    i32* tokens;
    i32 tiles;
};

template <typename Core>
__global__ void __launch_bounds__(SKINNY_THREADS, Core::MIN_BLOCKS) sampling_head(SamplingHeadParams p) {
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
            const SamplerState& state = sampler_state(p.states, slot);
            const f32 x = sampler_logit(soft_capped(tile.sum(v, b), p.cap), sampler_counts(p.states, slot), token, state.repetition_penalty);
            best = choice_order(x, token, state, p.pos[row]);
        }
        best = warp_max<Core::ROWS>(best);
        if (v == 0 && inside) p.best[static_cast<i64>(row) * gridDim.x + blockIdx.x] = best;
    }
}

template <int BLOCK>
__global__ void __launch_bounds__(BLOCK) sampling_merge(SamplingMergeParams p) {
    begin_dependent();
    const i64 row = blockIdx.x;
    u64 best = 0;
    if (p.pos[row] >= 0)
        for (i32 i = threadIdx.x; i < p.tiles; i += BLOCK) best = max_of(best, p.best[row * p.tiles + i]);
    best = block_max<BLOCK>(best);
    if (threadIdx.x == 0) p.tokens[row] = p.pos[row] < 0 ? -1 : token_of(best);
}
