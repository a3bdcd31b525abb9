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
// Prediction   H100, 8,192 × 2,560, b = 256: 170 MB, 57 us at 3.0 TB/s; 21.5 GFLOP, 43 us of mma.sync, with 6 instructions around each matrix
//              instruction and 28 an element for the convolution and the stores, 68 us; 336 MB of weights from L2, 60 us at 5.5 TB/s. 1,280 blocks, 2 on
//              each of 132 SMs, 4.8 waves: 72 us, beside 39 + 50 us of the two kernels that it stands for.
#include "include/conv_tile.cuh"

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

template <i32 STAGES>
__global__ void __launch_bounds__(GATES_THREADS, 2) conv_gates(ConvGatesParams p) {
    extern __shared__ Vec<bf16, 8> conv_gates_tiles[];   // z, then the stages of weights
    using Tile = GateTile<CONV_BM>;
    const i32 b = p.block_width, h = blockIdx.y / p.splits, split = blockIdx.y % p.splits, first = blockIdx.x * CONV_BM;
    const i32 stride = mma_stride(ceil_div(b, GATES_BK) * GATES_BK);
    bf16* const tile = conv_gates_tiles[0].v;
    const auto w_stage = [&](i32 step) { return tile + (CONV_BM + CONV_HALO) * stride + step % STAGES * GATES_W_STAGE; };
    const GateBlockWeights weights{static_cast<const bf16*>(p.input_weight), static_cast<const bf16*>(p.input_bias), static_cast<const bf16*>(p.recurrence_weight),
                                   static_cast<const bf16*>(p.recurrence_bias), p.blocks * b, b, h};
    const i32 terms = ceil_div(b, GATES_BK), tiles = ceil_div(b, GATES_BN);
    const i32 first_column = split * tiles / p.splits * GATES_BN, last_column = (split + 1) * tiles / p.splits * GATES_BN;
    i32 loaded = 0, load_column = first_column, load_term = 0;   // which stage is filled next, and with what
    const auto load = [&] {
        if (load_column < last_column) weights.load(w_stage(loaded), load_column, load_term * GATES_BK);
        async_commit();
        ++loaded;
        if (++load_term == terms) {
            load_term = 0;
            load_column += GATES_BN;
        }
    };

    const ConvTile conv{static_cast<const bf16*>(p.x), static_cast<const bf16*>(p.x_bias), static_cast<const bf16*>(p.conv_weight), static_cast<const bf16*>(p.conv_bias),
                        p.rows, p.state, p.x_stride, p.blocks * b, b, h, first, min_of(first + CONV_BM, p.rows.tokens)};
    conv.stage(tile, stride);
    async_commit();
    for (i32 stage = 0; stage < STAGES - 1; ++stage) load();
    async_wait<STAGES - 1>();
    __syncthreads();
    conv.convolve(tile, stride, p.rows.pos + first, split == 0 ? static_cast<bf16*>(p.z) : nullptr, p.z_stride, [](i32 r) { return CONV_HALO + r; });

    i32 step = 0;
    for (i32 column = first_column; column < last_column; column += GATES_BN) {
        Tile::Accumulator sum;
        sum.fill(0.0f);
        for (i32 term = 0; term < terms; ++term, ++step) {
            async_wait<STAGES - 2>();
            __syncthreads();   // this step's weights (and z) are there for all, and nobody still reads the ones that the next load replaces
            load();
            Tile::multiply(sum, tile + CONV_HALO * stride + term * GATES_BK, stride, w_stage(step));
        }
        Tile::store(sum, weights, column, static_cast<bf16*>(p.gates), p.gates_stride, first, p.rows.tokens);
    }
    async_wait<0>();
}
