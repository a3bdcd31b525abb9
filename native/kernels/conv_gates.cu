// The convolution of conv1d.cu and both gates of block_diagonal_gates.cu on its result, in one kernel
//   x'_t = round(x_t + x_bias);  z_t = round(conv_bias + sum_k conv_weight[:, 3-k] · x'_{t-k}), k = 0 … min(3, available(t));  gates = logits of z
// with the numbers of both: the same terms in the same order with the same roundings, bit for bit. Padding gets zeros in z. The slots' states
// are read, not changed: conv1d_update follows.
//
// A block takes 64 tokens of one block of the diagonal. x, with the three tokens before, goes to shared memory and becomes z there, which serves as the
// resident operand of all columns; the weights pass by in stages, the first of them under way while the convolution runs.
//
// Shapes       bf16. x, z [tokens, l]; x_bias, conv_bias [l] (x_bias may be null); conv_weight [l, 4]; input_weight, recurrence_weight
//              [blocks, b, b] (in, out); input_bias, recurrence_bias [l]; gates [tokens, 2·l], input gate first; state [3, l] per slot, oldest
//              first (base null where all slots are fresh); l = blocks · b, b a multiple of 16; inner strides 1, others multiples of 8, addresses of 16 bytes.
// Launch       grid (ceil(tokens / 64), blocks · splits), block (256), dynamic shared memory of 67 rows of z and three stages of weights: 60 KB at
//              b = 256. splits blocks share the columns of one block of the diagonal, and each makes z anew: for few tokens.
// Aliasing     none.
// Determinism  equal bits under any split of a sequence into calls, any packing and any number of splits.
// Error        of z as conv1d.cu, of the logits as block_diagonal_gates.cu.
// Traffic      least: x and z once, gates once, weights once. x is requested splits · 67 / 64 times, the weights ceil(tokens / 64) times.
// Prediction   H100, 8,192 × 2,560, b = 256: 168 MB, 56 us at 3.0 TB/s; 21.5 GFLOP, 43 us of mma.sync; 336 MB of weights from L2, 60 us at 5.5 TB/s. 1,280
//              blocks, 2 on each of 132 SMs, 4.8 waves: 80 us, beside 28 + 55 us of the two kernels that it stands for.
#include "include/conv_window.cuh"
#include "include/gate_tiles.cuh"

struct ConvGatesParams {
    const void* x;
    const void* x_bias;
    const void* conv_weight;
    const void* conv_bias;
    const void* input_weight;
    const void* input_bias;
    const void* recurrence_weight;
    const void* recurrence_bias;
    void* z;
    void* gates;
    PackedRows rows;
    SlotMemory state;
    i64 x_stride;
    i64 z_stride;
    i64 gates_stride;
    i32 blocks;
    i32 block_width;
    i32 splits;
};

constexpr i32 CONV_TAPS = 4;
constexpr i32 CONV_HALO = CONV_TAPS - 1;
constexpr i32 CONV_STEPS = GATES_BM / (GATES_THREADS / 32);   // tokens of a warp
constexpr i32 CONV_VEC = 4;                                   // channels of a lane

// Starts copying the block's x to rows 0 … 66 of the tile; row j holds token first - 3 + j. Rows outside the call are left alone.
GK_DEVICE void stage_conv_inputs(const ConvGatesParams& p, bf16* tile, i32 stride, i32 first, i32 h) {
    const i32 pieces = p.block_width / VEC16<bf16>;
    for (i32 i = threadIdx.x; i < (GATES_BM + CONV_HALO) * pieces; i += GATES_THREADS) {
        const i32 row = i / pieces, c = i % pieces * VEC16<bf16>, t = first - CONV_HALO + row;
        if (t >= 0 && t < p.rows.tokens)
            async_copy_16(tile + row * stride + c, static_cast<const bf16*>(p.x) + t * p.x_stride + h * p.block_width + c);
    }
}

// z at a lane's channels of the warp's tokens, from the x' of those and of the three before.
GK_DEVICE void convolve_span(const ConvGatesParams& p, const Vec<bf16, CONV_VEC> (&x)[CONV_STEPS + CONV_HALO], bf16* tile, i32 stride, i32 first, i32 c, bool writes) {
    f32 w[CONV_TAPS][CONV_VEC], bias[CONV_VEC];
    load_taps<bf16, CONV_VEC, CONV_TAPS>(static_cast<const bf16*>(p.conv_weight) + static_cast<i64>(c) * CONV_TAPS, w);
    load_floats<CONV_VEC>(static_cast<const bf16*>(p.conv_bias) + c, bias);
    const i32 width = p.blocks * p.block_width;
    i32 row = first < p.rows.tokens ? row_of(p.rows, first) : 0;
    i32 row_first = p.rows.row_start[row], row_end = p.rows.row_start[row + 1];
    #pragma unroll
    for (i32 n = 0; n < CONV_STEPS; ++n) {
        const i32 t = first + n;
        f32 sum[CONV_VEC];
        #pragma unroll
        for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = bias[i];
        i32 reach = -1;
        if (t < p.rows.tokens) {
            while (t >= row_end) {
                ++row;
                row_first = row_end;
                row_end = p.rows.row_start[row + 1];
            }
            reach = min_of(available(p.rows, row, t), CONV_HALO);
        }
        #pragma unroll
        for (i32 k = 0; k < CONV_TAPS; ++k) {
            if (k > reach) break;
            f32 earlier[CONV_VEC];
            if (t - k >= row_first) {
                #pragma unroll
                for (i32 i = 0; i < CONV_VEC; ++i) earlier[i] = to_float(x[n + CONV_HALO - k][i]);
            } else {
                conv_history<bf16, CONV_VEC>(slot_address(p.state, p.rows.slot[row]), CONV_TAPS, row_first - (t - k), width, c, earlier);
            }
            #pragma unroll
            for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = fmaf(w[k][i], earlier[i], sum[i]);
        }
        if (reach < 0) {
            #pragma unroll
            for (i32 i = 0; i < CONV_VEC; ++i) sum[i] = 0.0f;
        }
        store_floats<CONV_VEC>(tile + n * stride, sum);
        if (writes && t < p.rows.tokens) store_floats<CONV_VEC>(static_cast<bf16*>(p.z) + t * p.z_stride + c, sum);
    }
}

// Turns the tile of x into z, in place: token first + r ends in row 3 + r. A lane takes 4 channels at a time, a warp 8 tokens. Columns of the
// last step past the block become zeros.
GK_DEVICE void convolve_tile(const ConvGatesParams& p, bf16* tile, i32 stride, i32 first, i32 h, bool writes) {
    const i32 b = p.block_width, columns = ceil_div(b, GATES_BK) * GATES_BK;
    for (i32 pass = 0; pass < columns; pass += 32 * CONV_VEC) {
        const i32 column = pass + lane_id() * CONV_VEC, c = h * b + column, mine = warp_id() * CONV_STEPS;
        Vec<bf16, CONV_VEC> x[CONV_STEPS + CONV_HALO] = {};
        if (column < b) {
            f32 bias[CONV_VEC];
            if (p.x_bias != nullptr) load_floats<CONV_VEC>(static_cast<const bf16*>(p.x_bias) + c, bias);
            #pragma unroll
            for (i32 j = 0; j < CONV_STEPS + CONV_HALO; ++j) {
                const i32 t = first + mine - CONV_HALO + j;
                if (t < 0 || t >= p.rows.tokens) continue;
                f32 raw[CONV_VEC];
                load_floats<CONV_VEC>(tile + (mine + j) * stride + column, raw);
                #pragma unroll
                for (i32 i = 0; i < CONV_VEC; ++i) x[j][i] = from_float<bf16>(p.x_bias == nullptr ? raw[i] : raw[i] + bias[i]);
            }
        }
        __syncthreads();   // every warp has read what its neighbours overwrite
        bf16* const out = tile + (CONV_HALO + mine) * stride + column;
        if (column < b) {
            convolve_span(p, x, out, stride, first + mine, c, writes);
        } else if (column < columns) {
            #pragma unroll
            for (i32 n = 0; n < CONV_STEPS; ++n) store_fill<CONV_VEC>(out + n * stride, 0.0f);
        }
    }
}

template <i32 STAGES>
__global__ void __launch_bounds__(GATES_THREADS, 2) conv_gates(ConvGatesParams p) {
    extern __shared__ Vec<bf16, 8> conv_gates_tiles[];   // z, then the stages of weights
    const i32 b = p.block_width, h = blockIdx.y / p.splits, split = blockIdx.y % p.splits, first = blockIdx.x * GATES_BM;
    const i32 stride = mma_stride(ceil_div(b, GATES_BK) * GATES_BK);
    bf16* const tile = conv_gates_tiles[0].v;
    const auto w_stage = [&](i32 step) { return tile + (GATES_BM + CONV_HALO) * stride + step % STAGES * GATES_W_STAGE; };
    const GateBlockWeights weights{static_cast<const bf16*>(p.input_weight), static_cast<const bf16*>(p.input_bias), static_cast<const bf16*>(p.recurrence_weight),
                                   static_cast<const bf16*>(p.recurrence_bias), p.blocks * b, b, h};
    const i32 terms = ceil_div(b, GATES_BK), tiles = ceil_div(b, GATES_BN);
    const i32 first_tile = split * tiles / p.splits, last_tile = (split + 1) * tiles / p.splits, steps = (last_tile - first_tile) * terms;
    const auto column_of_step = [&](i32 step) { return (first_tile + step / terms) * GATES_BN; };
    const auto load = [&](i32 step) { weights.load(w_stage(step), column_of_step(step), step % terms * GATES_BK); };

    stage_conv_inputs(p, tile, stride, first, h);
    async_commit();
    for (i32 step = 0; step < STAGES - 1; ++step) {
        if (step < steps) load(step);
        async_commit();
    }
    async_wait<STAGES - 1>();
    __syncthreads();
    convolve_tile(p, tile, stride, first, h, split == 0);

    MmaAccumulator<2, 4> sum;
    sum.fill(0.0f);
    for (i32 step = 0; step < steps; ++step) {
        async_wait<STAGES - 2>();
        __syncthreads();   // this step's weights (and z) are there for all, and nobody still reads the ones that the next load replaces
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        async_commit();
        GateTile::multiply(sum, tile + CONV_HALO * stride + step % terms * GATES_BK, stride, w_stage(step));
        if (step % terms == terms - 1) {
            GateTile::store(sum, weights, column_of_step(step), static_cast<bf16*>(p.gates), p.gates_stride, first, p.rows.tokens);
            sum.fill(0.0f);
        }
    }
    async_wait<0>();
}
