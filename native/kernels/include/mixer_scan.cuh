// The RG-LRU scan of a tile straight from the accumulators of its gate products: 64 tokens of one row and 16 channels, by one warp, without a barrier.
//
// The products' rows are the tile's tokens in an order of their own, row 8·s + g being token 8·g + s: so a lane's accumulators are 8 neighbouring
// tokens (those of g = lane / 4) of 4 channels, 2·(lane % 4) and the next, and both again 8 further on. A lane makes their steps and the map of all 8;
// a lane for each channel takes h through the maps; then each lane walks its tokens from its own h. These are the sums of scan_tile.cuh in its order,
// with g in the place of the warp: results have the bits of rg_lru_look_back on z and logits rounded as its inputs are.
#pragma once
#include "include/mma.cuh"
#include "include/scan_tile.cuh"

constexpr i32 MIXER_TOKENS = 64;
constexpr i32 MIXER_GROUPS = 8;                           // of a tile's tokens
constexpr i32 MIXER_STEPS = MIXER_TOKENS / MIXER_GROUPS;
constexpr i32 MIXER_CHANNELS = 16;                        // of a warp
constexpr i32 MIXER_QUAD = 4;                             // channels of a lane

GK_DEVICE constexpr i32 mixer_row(i32 token) { return token % MIXER_STEPS * MIXER_GROUPS + token / MIXER_STEPS; }

// A warp's maps: shared f32, first the multipliers, then what is added. The channels' halves lie a few words apart: no two lanes meet in a bank.
struct MixerMaps {
    static constexpr i32 HALF = MIXER_GROUPS * 8 + 8, PLANE = 2 * HALF, SIZE = 2 * PLANE;

    f32* data;

    // A lane's four channels, as two pairs.
    GK_DEVICE f32* pair(i32 half) const { return data + half * HALF + lane_id() / 4 * 8 + lane_id() % 4 * 2; }
    // One channel of lanes 0 … 15.
    GK_DEVICE f32* channel(i32 group) const { return data + lane_id() / 8 * HALF + group * 8 + lane_id() % 8; }

    static GK_DEVICE void store(f32* plane_pair, const f32 (&v)[MIXER_QUAD]) {
        const f32 low[2] = {v[0], v[1]}, high[2] = {v[2], v[3]};
        store_floats<2>(plane_pair, low);
        store_floats<2>(plane_pair + HALF, high);
    }
    static GK_DEVICE void load(const f32* plane_pair, f32 (&v)[MIXER_QUAD]) {
        f32 low[2], high[2];
        load_floats<2>(plane_pair, low);
        load_floats<2>(plane_pair + HALF, high);
        v[0] = low[0]; v[1] = low[1]; v[2] = high[0]; v[3] = high[1];
    }

    // All of them as one, in lanes 0 … 15.
    GK_DEVICE void compose(f32& a, f32& v) const {
        a = 1.0f;
        v = 0.0f;
        #pragma unroll
        for (i32 group = 0; group < MIXER_GROUPS; ++group) {
            const f32 next = *channel(group);
            v = scan_advance(v, next, channel(group)[PLANE]);
            a = scan_decay(a, next);
        }
    }

    // Lanes 0 … 15: h before each group, in the place of what its map adds.
    GK_DEVICE void apply(f32 h) const {
        #pragma unroll
        for (i32 group = 0; group < MIXER_GROUPS; ++group) {
            const f32 a = *channel(group), v = channel(group)[PLANE];
            channel(group)[PLANE] = h;
            h = scan_advance(h, a, v);
        }
    }
};

// The tile's y at a warp's channels, on its way to the result: shared bf16 [MIXER_TOKENS, MIXER_CHANNELS] in the products' order of rows. The halves of
// a row change places every four rows: no two lanes meet in a bank, whether they take pairs of channels or pieces of 16 bytes.
struct MixerBranch {
    static constexpr i32 SIZE = MIXER_TOKENS * MIXER_CHANNELS;

    bf16* data;

    // The lane's channels of its token n.
    GK_DEVICE u32* pair(i32 n, i32 half) const {
        const i32 group = lane_id() / 4;
        return reinterpret_cast<u32*>(data + ((n * MIXER_GROUPS + group) * 2 + (half ^ group / 4)) * 8) + lane_id() % 4;
    }

    // Four pieces of the first `tokens` rows for each lane; visit(shared piece, token, channel).
    template <typename Visit>
    GK_DEVICE void pieces(i32 tokens, const Visit& visit) const {
        #pragma unroll
        for (i32 i = lane_id(); i < SIZE / 8; i += 32) {
            const i32 row = i / 2, token = mixer_row(row);
            if (token < tokens) visit(data + i * 8, token, (i % 2 ^ row / 4 % 2) * 8);
        }
    }

    GK_DEVICE void stage(const bf16* y, i64 stride, i32 tokens) const {
        pieces(tokens, [&](bf16* piece, i32 token, i32 channel) { async_copy_16(piece, y + token * stride + channel); });
    }

    GK_DEVICE void store(bf16* out, i64 stride, i32 tokens) const {
        pieces(tokens, [&](const bf16* piece, i32 token, i32 channel) { store_vec<8>(out + token * stride + channel, load_vec<8>(piece)); });
    }
};

// A lane's steps. PLAIN: the tile is full, and none of its tokens is padding or starts a document; nearly all are, and keep their steps. Others
// keep the logits and make their steps twice, which takes fewer registers.
template <bool PLAIN>
struct MixerSteps {
    const bf16* z;                // the tile's first row, at the warp's channels
    i32 z_stride;
    i32 count;                    // of the lane's tokens that lie in the tile
    const i32* positions;         // of the tile's tokens in the products' order, in shared memory
    f32 log2_decay[MIXER_QUAD];
    LruTerms terms[MIXER_STEPS][MIXER_QUAD];
    u32 logits[MIXER_STEPS][2][2];

    GK_DEVICE i32 position(i32 n) const { return positions[n * MIXER_GROUPS + lane_id() / 4]; }
    GK_DEVICE bool starts(i32 n) const { return !PLAIN && position(n) == 0; }
    GK_DEVICE bool counts(i32 n) const { return PLAIN || position(n) >= 0; }
    GK_DEVICE bool inside(i32 n) const { return PLAIN || n < count; }

    // The steps of one token in two neighbouring channels, from its logits.
    GK_DEVICE void make(i32 n, i32 half, LruTerms (&pair)[2]) const {
        f32 z_pair[2], input_gate[2], recurrence_gate[2];
        load_floats<2>(z + (n * MIXER_GROUPS + lane_id() / 4) * z_stride + half * 8 + lane_id() % 4 * 2, z_pair);
        mma_unpack(logits[n][half][0], input_gate);
        mma_unpack(logits[n][half][1], recurrence_gate);
        #pragma unroll
        for (i32 e = 0; e < 2; ++e) {
            const LruTerms step = approx_lru_terms(z_pair[e], input_gate[e], recurrence_gate[e], log2_decay[2 * half + e], starts(n));
            pair[e] = {counts(n) ? step.a : 1.0f, counts(n) ? step.v : 0.0f};
        }
    }

    // Rounds the logits: sums of the input gate (its first two column tiles) and of the recurrence gate, with their biases. First of all, as it
    // halves the registers that they take.
    GK_DEVICE void take(const MmaAccumulator<4, 4>& sum, const bf16* input_bias, const bf16* recurrence_bias) {
        #pragma unroll
        for (i32 half = 0; half < 2; ++half) {
            #pragma unroll
            for (i32 gate = 0; gate < 2; ++gate) {
                f32 bias[2];
                load_floats<2>((gate == 0 ? input_bias : recurrence_bias) + half * 8 + lane_id() % 4 * 2, bias);
                #pragma unroll
                for (i32 n = 0; n < MIXER_STEPS; ++n) {
                    const f32* const sums = &sum.v[n / 2][2 * gate + half][n % 2 * 2];
                    logits[n][half][gate] = mma_pack(sums[0] + bias[0], sums[1] + bias[1]);
                }
            }
        }
    }

    // All steps and their map.
    GK_DEVICE void make_all(const MixerMaps& maps) {
        f32 all_a[MIXER_QUAD] = {1.0f, 1.0f, 1.0f, 1.0f}, all_v[MIXER_QUAD] = {};
        #pragma unroll
        for (i32 n = 0; n < MIXER_STEPS; ++n) {
            if (!inside(n)) break;
            #pragma unroll
            for (i32 half = 0; half < 2; ++half) {
                LruTerms pair[2];
                make(n, half, pair);
                #pragma unroll
                for (i32 e = 0; e < 2; ++e) {
                    const i32 i = 2 * half + e;
                    if (PLAIN) terms[n][i] = pair[e];
                    all_v[i] = lru_advance(all_v[i], pair[e], starts(n));
                    all_a[i] = starts(n) ? 0.0f : all_a[i] * pair[e].a;
                }
            }
        }
        MixerMaps::store(maps.pair(0), all_a);
        MixerMaps::store(maps.pair(0) + MixerMaps::PLANE, all_v);
    }

    // From h before the lane's tokens, and y, to the results in its place.
    GK_DEVICE void walk(f32 (&h)[MIXER_QUAD], const f32 (&y_bias)[MIXER_QUAD], const MixerBranch& branch) const {
        #pragma unroll
        for (i32 n = 0; n < MIXER_STEPS; ++n) {
            if (!inside(n)) break;
            #pragma unroll
            for (i32 half = 0; half < 2; ++half) {
                f32 result[2];
                mma_unpack(*branch.pair(n, half), result);
                LruTerms pair[2] = {terms[n][2 * half], terms[n][2 * half + 1]};
                if (!PLAIN) make(n, half, pair);
                #pragma unroll
                for (i32 e = 0; e < 2; ++e) {
                    const i32 i = 2 * half + e;
                    h[i] = lru_advance(h[i], pair[e], starts(n));
                    result[e] = counts(n) ? h[i] * approx_gelu_tanh(result[e] + y_bias[i]) : 0.0f;
                }
                *branch.pair(n, half) = mma_pack(result[0], result[1]);
            }
        }
    }
};
