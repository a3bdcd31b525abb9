// The backward pass of the RG-LRU, rg_lru_backward.cu (same formulas and arguments), reading its inputs once however it cuts time
//
// A block takes 64 channels of a row tile by tile (include/scan_tile.cuh), backwards: 32 tokens of bf16, 16 of f32. Everything that does not
// depend on G is done before it is known. A warp whose tokens are all there and go on takes them without selects: the same bits.
//   rg_lru_backward_ring       one block walks a row from its end; the next tile's inputs are copied while it works on this one. It leaves a part
//                              of dlambda for every row.
//   rg_lru_backward_look_back  one block a tile; carries travel by look-back. Tile k of row r has place row_start[r]/TOKENS + r + k; it leaves a
//                              part of dlambda for every place, zeros where that is unused.
//
// Shapes       as in rg_lru_backward.cu. dlambda_parts f32 [rows, width] or, look-back, [places, width]; look-back: carries f32 [places, 2, width],
//              progress u32 [1 + places · column blocks], zero before the launch; places = tokens/TOKENS + rows, column blocks = ceil(width / 64).
//              Width, strides and addresses in multiples of 16 bytes.
// Launch       rg_lru_backward_ring: grid (rows · column blocks), dynamic shared memory of two stages, 49 KB; rg_lru_backward_look_back: grid
//              (places · column blocks), 25 KB of static; columns fastest, block (256).
// Aliasing     none between what is read and what is written. Inputs of padding may be read, and count for nothing.
// Determinism  the same bits for the same call.
// Error        approximate functions (include/approx.cuh). As the chunked kernels of rg_lru_backward.cu, with the gate logits g_i and g_r, (16 + 2·|g_r|)·|L|
//              in place of 8·|L| in E_t, and 64 + 2·|g_i| + 4·|g_r| + (32 + 4·|g_r|)·|L| in place of 64 + 24·|L|.
// Traffic      10·tokens·width·sizeof(T), and hidden once more for every 32nd (16th) token; look-back: 4·width bytes a tile for dlambda and 8·width for
//              the carries written, the latter read by up to 7 others from the cache.
// Prediction   H100, bf16, 8,192 × 2,560, one row, look-back: 430 MB, 143 us at 3.0 TB/s; 142 instructions an element as sm_90 compiles it where
//              documents go on, 126 us; 9 special functions, 51 us. 10,240 blocks, 2 on each of 132 SMs, 39 waves; 32 hops of closed groups of
//              about 1.5 us run beside them: 147 us.
//              Ring: 115 instructions an element; rows whose blocks fill whole rounds of 264 places only.
#include "include/rg_lru_params.cuh"
#include "include/scan_tile.cuh"

// A block's channels, and the tokens of one warp in registers.
template <typename T>
struct BackwardTile {
    static constexpr i32 STEPS = VEC16<T> / 2;                    // tokens of a warp
    static constexpr i32 TOKENS = TILE_WARPS * STEPS;
    static constexpr i32 PLANE = TOKENS * TILE_CHANNELS;          // of z, input gates, recurrence gates, y and dout
    static constexpr i32 HIDDEN = 5 * PLANE;                      // of h, from the token before the tile on
    static constexpr i32 STAGE = 6 * PLANE + TILE_CHANNELS;

    const RgLruBackwardParams& p;
    i32 block_c;      // the block's first channel
    i32 c;            // the lane's
    bool active;
    bool plain;       // the warp's tokens all go on
    f32 decay[PAIR];
    f32 bias[PAIR];
    f32 dlambda[PAIR];
    // Of each token: carry_t = a·(dh + carry_{t+1}), and what G and carry_t are multiplied with.
    f32 a[STEPS][PAIR];
    f32 dh[STEPS][PAIR];
    f32 to_z[STEPS][PAIR];
    f32 to_input[STEPS][PAIR];
    f32 to_log[STEPS][PAIR];
    f32 to_recurrence[STEPS][PAIR];
    f32 to_lambda[STEPS][PAIR];

    GK_DEVICE BackwardTile(const RgLruBackwardParams& params, i32 column_block)
        : p(params), block_c(column_block * TILE_CHANNELS), c(block_c + lane_id() * PAIR), active(c < params.width) {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) decay[i] = bias[i] = dlambda[i] = 0.0f;
        if (active && p.y_bias != nullptr) load_floats<PAIR>(static_cast<const T*>(p.y_bias) + c, bias);
    }

    // Each block's decays go through shared memory: two of its eight warps make them, all take theirs behind a barrier.
    GK_DEVICE void make_decays(f32* decays) const { leave_decays(decays, static_cast<const T*>(p.lambda) + block_c, p.width - block_c); }
    GK_DEVICE void take_decays(const f32* decays) { load_floats<PAIR>(decays + lane_id() * PAIR, decay); }

    // Warp 0 takes the last tokens.
    static GK_DEVICE i32 first_step() { return (TILE_WARPS - 1 - warp_id()) * STEPS; }

    // Starts copying the inputs of a span of at most TOKENS tokens of a row that starts at row_first.
    GK_DEVICE void stage(T* stage, const Span& span, i32 row_first) const {
        const TileCopy<T> copy(stage, block_c);
        if (copy.c >= p.width) return;
        const i32 first = span.first, count = span.last - first;
        copy.template rows<TOKENS>(0, p.z, p.z_stride, first, count);
        copy.template rows<TOKENS>(PLANE, p.gates, p.gates_stride, first, count);
        copy.template rows<TOKENS>(2 * PLANE, static_cast<const T*>(p.gates) + p.width, p.gates_stride, first, count);
        copy.template rows<TOKENS>(3 * PLANE, p.y, p.y_stride, first, count);
        copy.template rows<TOKENS>(4 * PLANE, p.dout, p.dout_stride, first, count);
        const i32 skipped = span.first == row_first ? 1 : 0;      // nothing comes before a row
        copy.template rows<TOKENS + 1>(HIDDEN + skipped * TILE_CHANNELS, p.hidden, p.hidden_stride, first - 1 + skipped, count + 1 - skipped);
    }

    // The warp's tokens without G, and as one map of the carry; writes dy. Padding, and what lies past the span, passes the carry on.
    GK_DEVICE void scan(const T* stage, const Span& span, i32 row_first, const i32* positions, const TileMaps& maps) {
        const i32 first = first_step();
        const T* const tokens = stage + first * TILE_CHANNELS + lane_id() * PAIR;
        T* const dy = static_cast<T*>(p.dy) + static_cast<u32>(span.first + first) * static_cast<u64>(p.dy_stride) + c;
        i32 position[STEPS];
        warp_positions(positions + first, position);
        f32 all_a[PAIR] = {1.0f, 1.0f}, all_v[PAIR] = {};
        const i32 in_row = span.first + first - row_first;
        plain = active && in_row > 0 && all_go_on(position);
        if (plain) make_steps<true>(tokens, dy, STEPS, in_row, position, all_a, all_v);
        else make_steps<false>(tokens, dy, active ? span.last - span.first - first : 0, in_row, position, all_a, all_v);
        maps.leave(warp_id(), all_a, all_v);
    }

    template <bool PLAIN>
    GK_DEVICE void make_steps(const T* tokens, T* dy, i32 count, i32 in_row, const i32 (&position)[STEPS], f32 (&all_a)[PAIR], f32 (&all_v)[PAIR]) {
        #pragma unroll
        for (i32 n = STEPS - 1; n >= 0; --n) {
            if (!PLAIN && n >= count) continue;
            const bool starts = !PLAIN && position[n] == 0, counts = PLAIN || position[n] >= 0;
            const T* const at = tokens + n * TILE_CHANNELS;
            f32 z[PAIR], input_gate[PAIR], recurrence_gate[PAIR], branch[PAIR], dout[PAIR], h[PAIR], to_branch[PAIR], before[PAIR] = {};
            load_floats<PAIR>(at, z);
            load_floats<PAIR>(at + PLANE, input_gate);
            load_floats<PAIR>(at + 2 * PLANE, recurrence_gate);
            load_floats<PAIR>(at + 3 * PLANE, branch);
            load_floats<PAIR>(at + 4 * PLANE, dout);
            load_floats<PAIR>(at + HIDDEN + TILE_CHANNELS, h);
            if (PLAIN || (position[n] > 0 && in_row + n > 0)) load_floats<PAIR>(at + HIDDEN, before);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) {
                const ValueAndSlope gelu = approx_gelu_tanh_with_slope(branch[i] + bias[i]);
                const ValueAndSlope gate = approx_sigmoid_with_slope(input_gate[i]), r = approx_sigmoid_with_slope(recurrence_gate[i]);
                const LruDecay step = approx_lru_decay(LOG2_E * decay[i] * r.value);
                const f32 inverse_m = fminf(approx_reciprocal(step.m), MOST_INVERSE_M), m = starts ? 1.0f : step.m;
                to_branch[i] = counts ? dout[i] * h[i] * gelu.slope : 0.0f;
                dh[n][i] = dout[i] * gelu.value;
                a[n][i] = starts ? 0.0f : step.a;
                to_log[n][i] = starts ? 0.0f : before[i] - step.a * gate.value * z[i] * inverse_m;
                to_z[n][i] = gate.value * m;
                to_input[n][i] = z[i] * gate.slope * m;
                to_recurrence[n][i] = decay[i] * r.slope;
                to_lambda[n][i] = -8.0f * r.value;
                if (!counts) continue;
                all_v[i] = starts ? 0.0f : a[n][i] * (all_v[i] + dh[n][i]);
                all_a[i] = starts ? 0.0f : all_a[i] * a[n][i];
            }
            store_floats<PAIR>(dy + n * p.dy_stride, to_branch);
        }
    }

    // Walks the warp's tokens backwards from the carry behind them and writes the rest.
    GK_DEVICE void walk(const Span& span, const i32* positions, f32 (&carry)[PAIR]) {
        const i32 first = first_step();
        const u32 token = static_cast<u32>(span.first + first);
        i32 position[STEPS] = {};
        if (plain) {
            take_steps<true>(token, STEPS, position, carry);
        } else {
            warp_positions(positions + first, position);
            take_steps<false>(token, active ? span.last - span.first - first : 0, position, carry);
        }
    }

    template <bool PLAIN>
    GK_DEVICE void take_steps(u32 token, i32 count, const i32 (&position)[STEPS], f32 (&carry)[PAIR]) {
        T* const dz = static_cast<T*>(p.dz) + token * static_cast<u64>(p.dz_stride) + c;
        T* const dgates = static_cast<T*>(p.dgates) + token * static_cast<u64>(p.dgates_stride) + c;
        T* const second = dgates + p.width;
        #pragma unroll
        for (i32 n = STEPS - 1; n >= 0; --n) {
            if (!PLAIN && n >= count) continue;
            const bool starts = !PLAIN && position[n] == 0, counts = PLAIN || position[n] >= 0;
            f32 z_gradient[PAIR], input_gradient[PAIR], recurrence_gradient[PAIR];
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) {
                const f32 g = carry[i] + dh[n][i], next = starts ? 0.0f : a[n][i] * g, log_gradient = starts ? 0.0f : next * to_log[n][i];
                z_gradient[i] = counts ? g * to_z[n][i] : 0.0f;
                input_gradient[i] = counts ? g * to_input[n][i] : 0.0f;
                recurrence_gradient[i] = counts && !starts ? log_gradient * to_recurrence[n][i] : 0.0f;
                if (!counts) continue;
                carry[i] = next;
                if (!starts) dlambda[i] = fmaf(to_lambda[n][i], log_gradient, dlambda[i]);
            }
            store_floats<PAIR>(dz + n * p.dz_stride, z_gradient);
            store_floats<PAIR>(dgates + n * p.dgates_stride, input_gradient);
            store_floats<PAIR>(second + n * p.dgates_stride, recurrence_gradient);
        }
    }

    // Adds up the warps' parts of dlambda, in order, and leaves them at this row, or place. The block's barriers lie around it.
    GK_DEVICE void leave(i32 unit, f32* shared_parts) const {
        store_floats<PAIR>(shared_parts + warp_id() * TILE_CHANNELS + lane_id() * PAIR, dlambda);
        __syncthreads();
        if (warp_id() != 0 || !active) return;
        f32 sum[PAIR] = {}, lambda[PAIR];
        #pragma unroll
        for (i32 w = 0; w < TILE_WARPS; ++w) {
            f32 part[PAIR];
            load_floats<PAIR>(shared_parts + w * TILE_CHANNELS + lane_id() * PAIR, part);
            #pragma unroll
            for (i32 i = 0; i < PAIR; ++i) sum[i] += part[i];
        }
        load_floats<PAIR>(static_cast<const T*>(p.lambda) + c, lambda);
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) sum[i] *= sigmoid(lambda[i]);
        store_floats<PAIR>(p.dlambda_parts + static_cast<i64>(unit) * p.width + c, sum);
    }
};

template <typename T>
__global__ void __launch_bounds__(TILE_THREADS, 2) rg_lru_backward_ring(RgLruBackwardParams p) {
    using Tile = BackwardTile<T>;
    extern __shared__ Vec<u8, 16> backward_stages[];              // two stages
    __shared__ alignas(16) f32 map_data[2 * TILE_WARPS * TILE_CHANNELS];
    __shared__ alignas(16) f32 carries[2 * TILE_CHANNELS];
    __shared__ alignas(16) f32 decays[TILE_CHANNELS];
    __shared__ Vec<i32, 4> position_data[2 * Tile::TOKENS / 4];
    const i32 column_blocks = ceil_div(p.width, TILE_CHANNELS);
    const i32 row = static_cast<i32>(blockIdx.x) / column_blocks;
    Tile tile(p, static_cast<i32>(blockIdx.x) % column_blocks);
    const TileMaps maps{map_data};
    const i32 row_first = p.rows.row_start[row], row_last = p.rows.row_start[row + 1];
    const auto span_of = [&](i32 k) {
        const i32 first = row_first + k * Tile::TOKENS;
        return Span{row, first, min_of(first + Tile::TOKENS, row_last)};
    };
    const auto stage_of = [&](i32 k) { return reinterpret_cast<T*>(backward_stages) + k % 2 * Tile::STAGE; };
    const i32 tiles = ceil_div(row_last - row_first, Tile::TOKENS);

    tile.make_decays(decays);
    f32 carry[PAIR] = {};
    if (tiles > 0) {
        const i32 k = tiles - 1;
        if (warp_id() == 0) store_floats<PAIR>(carries + k % 2 * TILE_CHANNELS + lane_id() * PAIR, carry);
        tile.stage(stage_of(k), span_of(k), row_first);
        if (threadIdx.x < Tile::TOKENS) position_data[0].v[k % 2 * Tile::TOKENS + threadIdx.x] = tile_position<Tile::TOKENS>(p.rows, span_of(k));
        async_commit();
    }
    for (i32 k = tiles - 1; k >= 0; --k) {
        async_wait<0>();
        __syncthreads();   // this tile's inputs are there for all, and nobody still reads what the next ones replace
        if (k == tiles - 1) tile.take_decays(decays);
        i32 next_position = -1;
        if (k > 0) {
            tile.stage(stage_of(k - 1), span_of(k - 1), row_first);
            next_position = tile_position<Tile::TOKENS>(p.rows, span_of(k - 1));
        }
        async_commit();
        const i32* const positions = position_data[0].v + k % 2 * Tile::TOKENS;
        tile.scan(stage_of(k), span_of(k), row_first, positions, maps);
        __syncthreads();
        load_floats<PAIR>(carries + k % 2 * TILE_CHANNELS + lane_id() * PAIR, carry);
        maps.apply(warp_id(), carry);
        tile.walk(span_of(k), positions, carry);
        if (warp_id() == TILE_WARPS - 1) store_floats<PAIR>(carries + (k + 1) % 2 * TILE_CHANNELS + lane_id() * PAIR, carry);
        if (threadIdx.x < Tile::TOKENS) position_data[0].v[(k + 1) % 2 * Tile::TOKENS + threadIdx.x] = next_position;
    }
    __syncthreads();
    tile.leave(row, map_data);
}

template <typename T>
__global__ void __launch_bounds__(TILE_THREADS, 2) rg_lru_backward_look_back(RgLruBackwardParams p) {
    using Tile = BackwardTile<T>;
    __shared__ Vec<u8, 16> backward_stage[Tile::STAGE * sizeof(T) / 16];
    __shared__ alignas(16) f32 map_data[2 * TILE_WARPS * TILE_CHANNELS];
    __shared__ alignas(16) f32 carry_data[TILE_CHANNELS];
    __shared__ alignas(16) f32 decays[TILE_CHANNELS];
    __shared__ Vec<i32, 4> position_data[Tile::TOKENS / 4];
    i32* const positions = position_data[0].v;
    __shared__ u32 turn[1];
    if (threadIdx.x == 0) turn[0] = take_ticket(p.progress);
    __syncthreads();
    const i32 column_blocks = ceil_div(p.width, TILE_CHANNELS), places = static_cast<i32>(gridDim.x) / column_blocks;
    const i32 place = places - 1 - static_cast<i32>(turn[0]) / column_blocks, column_block = static_cast<i32>(turn[0]) % column_blocks;
    const Span span = chunk_at(p.rows, Tile::TOKENS, place);
    Tile tile(p, column_block);
    if (span.first == span.last) {
        tile.leave(place, map_data);
        return;
    }
    const TileMaps maps{map_data};
    const i32 row_first = p.rows.row_start[span.row];
    const i32 behind = ceil_div(p.rows.row_start[span.row + 1] - span.last, Tile::TOKENS);   // tiles later in time
    T* const stage = reinterpret_cast<T*>(backward_stage);
    tile.stage(stage, span, row_first);
    async_commit();
    if (threadIdx.x < Tile::TOKENS) positions[threadIdx.x] = tile_position<Tile::TOKENS>(p.rows, span);
    tile.make_decays(decays);
    async_wait<0>();
    __syncthreads();
    tile.take_decays(decays);
    tile.scan(stage, span, row_first, positions, maps);
    __syncthreads();
    f32 carry[PAIR] = {};
    if (warp_id() == 0) {
        f32 a[PAIR], v[PAIR];
        maps.compose(a, v);
        const PublishedMaps<-1> published{p.progress + 1, p.carries, p.width, column_blocks, column_block, tile.c};
        published.look_back({place, behind, span.first > row_first}, tile.active, a, v, carry);
        store_floats<PAIR>(carry_data + lane_id() * PAIR, carry);
    }
    __syncthreads();
    load_floats<PAIR>(carry_data + lane_id() * PAIR, carry);
    maps.apply(warp_id(), carry);
    tile.walk(span, positions, carry);
    __syncthreads();
    tile.leave(place, map_data);
}
