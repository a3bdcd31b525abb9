// Sliding-window attention by warpgroup products (wgmma, sm_90a only): what window_attention.cu computes, for its arguments.
//
//   Formula, law of the bits, padding, ring and log_sum_exp are those of window_attention.cu, with key tiles of KEYS positions and with approx_exp2 for
//   the weights. tile_tokens and tile_heads are not read: rows of a block are ROWS neighbouring (token, head) pairs, head fastest, and a block may begin
//   and end within a token, so that every block but the last is full whatever the number of heads.
//
// Shapes   bfloat16, head_dim 64, 128 or 256, everything 16-byte aligned.
// Launch   grid (ceil(tokens * heads / 128)), the last rows first, since a call's first ones see the fewest keys: they fill the end of the launch;
//          block (384); dynamic shared memory (128 + 4 * KEYS) * head_dim * 2 bytes, and room to start at a multiple of 1024.
// Warps    Two warpgroups hold 64 queries each, and their output in registers. The third brings keys (two warps) and values (two warps), each through two
//          places, which the warps pass to and fro by mbarriers. A warpgroup multiplies a tile's keys while it still multiplies the values of the
//          tile before, and takes the exponentials meanwhile; the two warpgroups are not in step, so that the one's exponentials run beside the other's products.
// Aliasing y and log_sum_exp do not overlap each other, qkv or the ring; the ring is read only
// Error    as window_attention.cu
// Bytes    q and y once; keys and values of the tiles seen: (tokens of a block + keys_visible + 2 KEYS) * 2 * head_dim elements per block of 128 / heads tokens
//
// Unproved: this compiles for sm_90a, but has not run on a GPU so far; tests ran it on the emulator.
#include "include/attention_mma.cuh"
#include "include/bulk_copy.cuh"
#include "include/warpgroup.cuh"
#include "include/window_attention.cuh"

constexpr int GROUP = 128;                  // threads of a warpgroup
constexpr int GROUP_ROWS = 64;              // queries of a warpgroup
constexpr int CONSUMERS = 2;                // warpgroups with queries
constexpr int PLACES = 2;                   // of key tiles, and of value tiles
constexpr int COPIERS = GROUP / 2;          // threads that bring keys, and that bring values

// A tile of ROWS rows in shared memory: panels of 64 columns, 128 bytes a row, the 16-byte pieces of a row placed as the products' swizzle wants them.
template <int HEAD_DIM, int ROWS>
struct Panels {
    static constexpr int BYTES = ROWS * 128;                        // of a panel
    static constexpr int TILE = ROWS * HEAD_DIM;                    // elements
    static constexpr int PIECES = HEAD_DIM / 8;                     // of a row

    static GK_DEVICE bf16* piece(bf16* tile, int row, int index) {
        return tile + (index / 8 * BYTES + swizzle_128(row * 128 + index % 8 * 16)) / static_cast<int>(sizeof(bf16));
    }
};

// Tiles on their way from the copying warps to the two warpgroups, in places that take turns. Each side counts for itself.
struct TileQueue {
    bf16* tiles;
    Mbarrier* full;          // [PLACES]
    Mbarrier* empty;         // [PLACES]
    i32 tile_elements;
    u32 done;                // tiles that this thread has passed on

    static GK_DEVICE void init(Mbarrier* full, Mbarrier* empty) {
        for (int i = 0; i < PLACES; ++i) {
            mbarrier_init(full + i, COPIERS);
            mbarrier_init(empty + i, CONSUMERS * GROUP / 32);
        }
    }

    GK_DEVICE bf16* tile() const { return tiles + done % PLACES * tile_elements; }

    GK_DEVICE void wait_empty() const { mbarrier_wait(empty + done % PLACES, done / PLACES % 2 ^ 1); }
    GK_DEVICE void publish() {
        shared_proxy_fence();
        mbarrier_arrive(full + done++ % PLACES);
    }

    GK_DEVICE void wait_full(u32 ahead = 0) const { mbarrier_wait(full + (done + ahead) % PLACES, (done + ahead) / PLACES % 2); }
    GK_DEVICE void release() {
        __syncwarp();   // the whole warp has read
        if (lane_id() == 0) mbarrier_arrive(empty + done % PLACES);
        ++done;
    }
    GK_DEVICE void skip() {
        wait_full();
        release();
    }
};

// The block's rows: row 0 is head `head` of token `token`.
struct BlockRows {
    i32 token;
    i32 head;
    i32 heads;

    GK_DEVICE i32 token_of(i32 row) const { return token + (head + row) / heads; }
    GK_DEVICE i32 head_of(i32 row) const { return (head + row) % heads; }
    GK_DEVICE i32 first_row(i32 t) const { return (t - token) * heads - head; }
};

// Keys [first, last] of a segment are visible to some query of the block; they lie in tiles first / KEYS to last / KEYS.
struct KeyRange {
    i32 first;
    i32 last;

    GK_DEVICE KeyRange(const WindowAttentionParams& p, const Segment& s)
        : first(first_visible(s.position, p.keys_visible, s.oldest)), last(s.position + (s.end - s.first) - 1) {}
};

// Some of the block's rows.
struct RowRange {
    i32 first;
    i32 end;
};

// Calls padding(t) for each token of padding in [t, end), and segment(s) for what lies between.
template <typename Padding, typename Part>
GK_DEVICE void for_each_segment(const WindowAttentionParams& p, i32 t, i32 end, const Padding& padding, const Part& segment) {
    while (t < end) {
        if (p.rows.pos[t] < 0) {
            padding(t++);
            continue;
        }
        const Segment s = segment_of(p, t, end);
        segment(s);
        t = s.end;
    }
}

// Copies the tile that begins with position `origin`; keys outside the range become zeros, and nothing of theirs is read.
template <int HEAD_DIM, int KEYS>
GK_DEVICE void copy_tile(bf16* tile, const KeySource<bf16>& source, i32 origin, const KeyRange& range, const void* anywhere) {
    using Tile = Panels<HEAD_DIM, KEYS>;
    constexpr int STEP = COPIERS / Tile::PIECES;
    const int thread = threadIdx.x % COPIERS, piece = thread % Tile::PIECES, first_row = thread / Tile::PIECES;
    const bool in_call = origin >= source.call_position;
    if (origin >= range.first && origin + KEYS - 1 <= range.last && (in_call || source.ring_holds(origin, KEYS))) {
        const bf16* from = source.at(origin + first_row) + 8 * piece;
        const i64 step = STEP * (in_call ? source.call_stride : HEAD_DIM);
        #pragma unroll 8
        for (int i = 0; i < KEYS; i += STEP) {
            async_copy_16(Tile::piece(tile, first_row + i, piece), from);
            from += step;
        }
    } else {
        #pragma unroll 1
        for (int row = first_row; row < KEYS; row += STEP) {
            const i32 position = origin + row;
            const bool present = position >= range.first && position <= range.last;
            async_copy_16(Tile::piece(tile, row, piece), present ? source.at(position) + 8 * piece : anywhere, present ? 16 : 0);
        }
    }
    async_commit();
    async_wait<0>();
}

// One warpgroup's 64 queries on their way through the tiles. What is an array here is registers.
template <int HEAD_DIM, int KEYS>
struct QueryGroup {
    using Queries = Panels<HEAD_DIM, GROUP_ROWS>;
    using Keys = Panels<HEAD_DIM, KEYS>;
    static constexpr int NT = HEAD_DIM / 8;

    f32 out[NT][4];
    f32 score[KEYS / 8][4];                 // … and then the weights
    u32 weights[KEYS / 16][4];              // as an operand
    LaneSoftmax softmax;
    f32 factor[2];                          // of what the tile before has left

    GK_DEVICE void start() {
        #pragma unroll
        for (int n = 0; n < NT; ++n)
            #pragma unroll
            for (int e = 0; e < 4; ++e) out[n][e] = 0.0f;
        softmax = LaneSoftmax();
    }

    // Starts the scores of a tile.
    GK_DEVICE void multiply_keys(const bf16* queries, const TileQueue& keys) {
        keys.wait_full();
        const u64 a = warpgroup_descriptor(queries, 16, 1024), b = warpgroup_descriptor(keys.tile(), 16, 1024);
        warpgroup_fence();
        #pragma unroll
        for (int k = 0; k < HEAD_DIM / 16; ++k)
            warpgroup_product(score, warpgroup_advance(a, k / 4 * Queries::BYTES + k % 4 * 32), warpgroup_advance(b, k / 4 * Keys::BYTES + k % 4 * 32), k > 0);
        warpgroup_commit();
    }

    // Starts the sum of a tile's values, which have landed.
    GK_DEVICE void multiply_values(const TileQueue& values) {
        const u64 b = warpgroup_descriptor(values.tile(), Keys::BYTES, 1024);
        warpgroup_settle(out);
        warpgroup_settle(weights);
        warpgroup_fence();
        #pragma unroll
        for (int k = 0; k < KEYS / 16; ++k) warpgroup_product<true>(out, weights[k], warpgroup_advance(b, k * 2048));
        warpgroup_commit();
    }

    GK_DEVICE void pack_weights() {
        #pragma unroll
        for (int k = 0; k < KEYS / 16; ++k)
            #pragma unroll
            for (int r = 0; r < 4; ++r) {
                const f32* const pair = &score[2 * k + r / 2][2 * (r % 2)];
                weights[k][r] = mma_pack(pair[0], pair[1]);
            }
    }

    GK_DEVICE void rescale() {
        #pragma unroll
        for (int n = 0; n < NT; ++n)
            #pragma unroll
            for (int e = 0; e < 4; ++e) out[n][e] *= factor[e / 2];
    }

    // Tiles first to last; each queue is at the first.
    GK_DEVICE void run(const bf16* queries, TileQueue& keys, TileQueue& values, i32 first, i32 last, f32 scale_log2) {
        multiply_keys(queries, keys);
        warpgroup_wait<0>();
        warpgroup_settle(score);
        keys.release();
        softmax.soften(score, first * KEYS, scale_log2, factor);
        pack_weights();
        values.wait_full();
        for (i32 tile = first + 1; tile <= last; ++tile) {
            multiply_keys(queries, keys);
            multiply_values(values);
            warpgroup_wait<1>();
            warpgroup_settle(score);
            keys.release();
            softmax.soften(score, tile * KEYS, scale_log2, factor);
            values.wait_full(1);   // the next ones; here, since NVIDIA's compiler moves no arithmetic across: it would wait for the product first otherwise
            warpgroup_wait<0>();
            warpgroup_settle(out);
            warpgroup_settle(weights);
            values.release();
            rescale();
            pack_weights();
        }
        multiply_values(values);
        warpgroup_wait<0>();
        warpgroup_settle(out);
        values.release();
    }

    // The lane's rows, if they are among [begin, end).
    GK_DEVICE void store(const WindowAttentionParams& p, const BlockRows& block, i32 lane_row, i32 begin, i32 end) {
        warp_sum<4>(softmax.total);
        f32 inverse[2];
        bf16* y[2];
        #pragma unroll
        for (int i = 0; i < 2; ++i) {
            const i32 row = lane_row + 8 * i, token = block.token_of(row), head = block.head_of(row);
            const bool mine = row >= begin && row < end;
            inverse[i] = 1.0f / softmax.total[i];
            y[i] = mine ? static_cast<bf16*>(p.y) + token * p.y_stride + static_cast<i64>(head) * HEAD_DIM : nullptr;
            if (mine && lane_id() % 4 == 0) store_log_sum_exp(p, token, head, softmax.maximum[i], softmax.total[i]);
        }
        store_lane_rows(out, inverse, y);
    }
};

// Rows [begin, end) of the block are padding.
template <int HEAD_DIM>
GK_DEVICE void zero_rows(const WindowAttentionParams& p, const BlockRows& block, i32 begin, i32 end) {
    constexpr int PIECES = HEAD_DIM / 8;
    for (i32 i = begin * PIECES + static_cast<i32>(threadIdx.x % GROUP); i < end * PIECES; i += GROUP) {
        const i32 token = block.token_of(i / PIECES), head = block.head_of(i / PIECES);
        store_fill<8>(static_cast<bf16*>(p.y) + token * p.y_stride + static_cast<i64>(head) * HEAD_DIM + i % PIECES * 8, 0.0f);
        if (i % PIECES == 0 && p.log_sum_exp != nullptr) p.log_sum_exp[token * p.log_sum_exp_stride + head] = 0.0f;
    }
}

template <int HEAD_DIM, int KEYS>
__global__ void __launch_bounds__((CONSUMERS + 1) * GROUP, 1) window_attention_warpgroup(WindowAttentionParams p) {
    using Group = QueryGroup<HEAD_DIM, KEYS>;
    using Queries = typename Group::Queries;
    using Keys = typename Group::Keys;
    extern __shared__ Vec<bf16, 8> shared_tiles[];
    __shared__ Mbarrier barriers[4 * PLACES];
    bf16* const tiles = shared_tiles[0].v + (1024 - static_cast<u32>(__cvta_generic_to_shared(shared_tiles)) % 1024) % 1024 / sizeof(bf16);
    TileQueue keys{tiles + CONSUMERS * Queries::TILE, barriers, barriers + PLACES, Keys::TILE, 0};
    TileQueue values{keys.tiles + PLACES * Keys::TILE, barriers + 2 * PLACES, barriers + 3 * PLACES, Keys::TILE, 0};
    if (threadIdx.x == 0) {
        TileQueue::init(keys.full, keys.empty);
        TileQueue::init(values.full, values.empty);
        mbarrier_init_fence();
    }
    __syncthreads();

    const i64 first_row = static_cast<i64>(gridDim.x - 1 - blockIdx.x) * (CONSUMERS * GROUP_ROWS);
    const BlockRows block{static_cast<i32>(first_row / p.heads), static_cast<i32>(first_row % p.heads), p.heads};
    const i32 end = min_of(block.token_of(CONSUMERS * GROUP_ROWS - 1) + 1, p.rows.tokens);
    const int group = warpgroup_id();

    if (group == CONSUMERS) {
        registers_decrease<56>();
        const int part = threadIdx.x % GROUP / COPIERS;
        TileQueue queue = part == 0 ? keys : values;
        for_each_segment(p, block.token, end, [](i32) {}, [&](const Segment& s) {
            const KeySource<bf16> source = key_source<bf16, HEAD_DIM>(p, s, part);
            const KeyRange range(p, s);
            for (i32 tile = range.first / KEYS; tile <= range.last / KEYS; ++tile) {
                queue.wait_empty();
                copy_tile<HEAD_DIM, KEYS>(queue.tile(), source, tile * KEYS, range, p.qkv);
                queue.publish();
            }
        });
    } else {
        registers_increase<224>();
        bf16* const queries = tiles + group * Queries::TILE;
        const i32 group_row = group * GROUP_ROWS, lane_row = group_row + warp_id() % 4 * 16 + lane_id() / 4;
        #pragma unroll 4
        for (int i = threadIdx.x % GROUP; i < GROUP_ROWS * Queries::PIECES; i += GROUP) {
            const int row = i / Queries::PIECES, piece = i % Queries::PIECES;
            const i32 t = block.token_of(group_row + row), head = block.head_of(group_row + row);
            const bf16* const from = static_cast<const bf16*>(p.qkv) + t * p.qkv_stride + static_cast<i64>(head) * HEAD_DIM + 8 * piece;
            async_copy_16(Queries::piece(queries, row, piece), t < end ? from : p.qkv, t < end ? 16 : 0);
        }
        async_commit();
        async_wait<0>();
        shared_proxy_fence();
        named_barrier_sync(1 + group, GROUP);

        Group state;
        const auto rows_of = [&](i32 first, i32 last) -> RowRange { return {max_of(block.first_row(first), group_row), min_of(block.first_row(last), group_row + GROUP_ROWS)}; };
        for_each_segment(p, block.token, end,
            [&](i32 t) {
                const RowRange rows = rows_of(t, t + 1);
                zero_rows<HEAD_DIM>(p, block, rows.first, rows.end);
            },
            [&](const Segment& s) {
                const KeyRange range(p, s);
                const RowRange rows = rows_of(s.first, s.end);
                const auto position_of = [&](i32 row) { return s.position + (block.token_of(row) - s.first); };
                i32 tile = range.first / KEYS;
                const auto skip_to = [&](i32 next) {
                    #pragma unroll 1
                    for (; tile < next; ++tile) {
                        keys.skip();
                        values.skip();
                    }
                };
                if (rows.first < rows.end) {
                    const i32 first = position_of(rows.first), last = position_of(rows.end - 1);
                    skip_to(first_visible(first, p.keys_visible, s.oldest) / KEYS);
                    state.start();
                    #pragma unroll
                    for (int i = 0; i < 2; ++i) {
                        state.softmax.position[i] = position_of(lane_row + 8 * i);
                        state.softmax.from[i] = first_visible(state.softmax.position[i], p.keys_visible, s.oldest);
                    }
                    state.softmax.unmasked_first = first_visible(last, p.keys_visible, s.oldest);
                    state.softmax.unmasked_last = first;
                    state.run(queries, keys, values, tile, last / KEYS, p.scale_log2);
                    tile = last / KEYS + 1;
                    state.store(p, block, lane_row, rows.first, rows.end);
                }
                skip_to(range.last / KEYS + 1);
            });
    }
}
