// BlockDiagonalGates: gates[n, g·l + h·b + j] = round(sum_i z[n, h·b + i] · w_g[h, i, j] + bias_g[h·b + j])
// for gate g = 0 (input) and 1 (recurrence), block h < blocks, i and j < b, width l = blocks · b: the logits of both gates, side by side.
//
// Source       De et al., Griffin, arXiv:2402.19427; blocks of the diagonal and biases as the code released with RecurrentGemma has them.
// Shapes       z T [rows, l]; w_0, w_1 T [blocks, b, b] (in, out); bias_0, bias_1 T [l]; gates T [rows, 2·l]; inner strides 1.
// Kernels      gates_mma      bf16; b a multiple of 16; the strides of z and gates multiples of 8, all addresses of 16 bytes.
//              gates_step     for few rows; b, strides and addresses in multiples of 16 bytes; SLICES divides a sum among 1 thread or 32.
//              gates_general  anything.
// Launch       gates_mma      grid (ceil(rows / ROWS), blocks · ceil(b / 64)), block (256), dynamic shared STAGES · (80 · ROWS + 8704) bytes.
//              gates_step     grid (ceil(rows / BATCH), 2·blocks · ceil(b / COLUMNS)), COLUMNS and block 32·VEC and (32) with SLICES 1,
//                             8·VEC and (256) with SLICES 32; VEC elements make 16 bytes.
//              gates_general  grid (ceil(rows / 4), 2·blocks · ceil(b / 64)), block (64).
// Aliasing     none.
// Determinism  every output is one sum in an order that depends on b and the kernel alone, whatever the number of rows; where results
//              must not depend on that number, gates_mma serves all of them where it fits, else gates_general.
// Error        f32 accumulation, one rounding: one ulp of T plus b · 2^-23 · sum |z · w|.
// Traffic      least: z once, the weights and biases once, gates once. gates_mma requests z ceil(b / 64) times and the weights
//              ceil(rows / ROWS) times; gates_step z 2·b / VEC times (a broadcast within a warp) and the weights ceil(rows / BATCH) times;
//              gates_general z 2·b times (a broadcast, too) and the weights ceil(rows / 4) times.
#include "include/gate_tiles.cuh"
#include "include/vec.cuh"

struct BlockDiagonalGatesParams {
    const void* z;
    const void* input_weight;
    const void* input_bias;
    const void* recurrence_weight;
    const void* recurrence_bias;
    void* gates;
    i64 z_stride;
    i64 gates_stride;
    i32 rows;
    i32 blocks;
    i32 block_width;
};

// The tile of one gate's block of the diagonal that blockIdx.y stands for, with TILE columns.
template <typename T>
struct GateBlock {
    const T* weight;      // w_g[h]
    const T* bias;        // bias_g[h·b]
    i32 input;            // h·b, the first column of z
    i32 output;           // g·l + h·b, the first column of gates
    i32 first_column;     // of the tile, within the block

    GK_DEVICE GateBlock(const BlockDiagonalGatesParams& p, i32 tile_columns) {
        const i32 b = p.block_width, tiles = ceil_div(b, tile_columns), index = blockIdx.y / tiles;
        const bool recurrence = index >= p.blocks;
        const i32 h = recurrence ? index - p.blocks : index;
        weight = static_cast<const T*>(recurrence ? p.recurrence_weight : p.input_weight) + static_cast<i64>(h) * b * b;
        bias = static_cast<const T*>(recurrence ? p.recurrence_bias : p.input_bias) + h * b;
        input = h * b;
        output = index * b;
        first_column = blockIdx.y % tiles * tile_columns;
    }
};

constexpr i32 GATES_Z_STRIDE = mma_stride(GATES_BK);

// Eight neighbouring lanes copy one column of eight rows of z, and meet every bank once.
template <i32 ROWS>
GK_DEVICE void load_gate_inputs(const BlockDiagonalGatesParams& p, bf16* z_tile, i32 first_row, i32 h, i32 first_k) {
    const i32 b = p.block_width;
    const bf16* const z = static_cast<const bf16*>(p.z);
    #pragma unroll
    for (i32 first = 0; first < ROWS * GATES_BK / 8; first += GATES_THREADS) {
        const i32 i = first + static_cast<i32>(threadIdx.x), row = i / GATES_BK * 8 + i % 8, k = i / 8 % (GATES_BK / 8) * 8;
        const bool inside = first_row + row < p.rows && first_k + k < b;
        const bf16* const from = inside ? z + (first_row + row) * p.z_stride + h * b + first_k + k : z;
        async_copy_16(z_tile + row * GATES_Z_STRIDE + k, from, inside ? 16 : 0);
    }
}

template <i32 ROWS, i32 STAGES>
__global__ void __launch_bounds__(GATES_THREADS, 2) gates_mma(BlockDiagonalGatesParams p) {
    extern __shared__ Vec<bf16, 8> gates_tiles[];   // the stages of z, then those of the weights
    using Tile = GateTile<ROWS>;
    constexpr i32 Z_STAGE = ROWS * GATES_Z_STRIDE;
    const i32 b = p.block_width, tiles = ceil_div(b, GATES_BN);
    const i32 h = blockIdx.y / tiles, first_column = blockIdx.y % tiles * GATES_BN, first_row = blockIdx.x * ROWS;
    const GateBlockWeights weights{static_cast<const bf16*>(p.input_weight), static_cast<const bf16*>(p.input_bias), static_cast<const bf16*>(p.recurrence_weight),
                                   static_cast<const bf16*>(p.recurrence_bias), p.blocks * b, b, h};
    const auto z_stage = [&](i32 step) { return gates_tiles[0].v + step % STAGES * Z_STAGE; };
    const auto w_stage = [&](i32 step) { return gates_tiles[0].v + STAGES * Z_STAGE + step % STAGES * GATES_W_STAGE; };
    const auto load = [&](i32 step) {
        load_gate_inputs<ROWS>(p, z_stage(step), first_row, h, step * GATES_BK);
        weights.load(w_stage(step), first_column, step * GATES_BK);
    };

    typename Tile::Accumulator sum;
    sum.fill(0.0f);
    const i32 steps = ceil_div(b, GATES_BK);
    for (i32 step = 0; step < STAGES - 1; ++step) {
        if (step < steps) load(step);
        async_commit();
    }
    for (i32 step = 0; step < steps; ++step) {
        async_wait<STAGES - 2>();
        __syncthreads();   // this step's tiles are there for all, and nobody still reads the ones that the next load replaces
        if (step + STAGES - 1 < steps) load(step + STAGES - 1);
        async_commit();
        Tile::multiply(sum, z_stage(step), GATES_Z_STRIDE, w_stage(step));
    }
    async_wait<0>();
    Tile::store(sum, weights, first_column, static_cast<bf16*>(p.gates), p.gates_stride, first_row, p.rows);
}

// VEC columns of BATCH rows: the terms i = slice, slice + SLICES, ... of their sums. Rows past the end repeat the last.
template <typename T, i32 VEC, i32 BATCH, i32 SLICES>
GK_DEVICE void gate_slice(const BlockDiagonalGatesParams& p, const GateBlock<T>& block, i32 first_row, i32 column, i32 slice, f32 (&sum)[BATCH * VEC]) {
    const T* z[BATCH];
    #pragma unroll
    for (i32 r = 0; r < BATCH; ++r) z[r] = static_cast<const T*>(p.z) + min_of(first_row + r, p.rows - 1) * p.z_stride + block.input;
    #pragma unroll 4
    for (i32 i = slice; i < p.block_width; i += SLICES) {
        f32 w[VEC];
        load_floats<VEC>(block.weight + i * p.block_width + column, w);
        #pragma unroll
        for (i32 r = 0; r < BATCH; ++r) {
            const f32 x = to_float(z[r][i]);
            #pragma unroll
            for (i32 v = 0; v < VEC; ++v) sum[r * VEC + v] = fmaf(x, w[v], sum[r * VEC + v]);
        }
    }
}

// SLICES 1: a thread sums its columns alone, with no barrier (what the emulator likes). SLICES 32: four neighbouring lanes and the block's eight warps
// share the terms, so that few columns still keep a GPU busy.
template <typename T, i32 BATCH, i32 SLICES>
__global__ void __launch_bounds__(SLICES == 1 ? 32 : 256) gates_step(BlockDiagonalGatesParams p) {
    constexpr i32 VEC = VEC16<T>;
    constexpr i32 COLUMNS = (SLICES == 1 ? 32 : 8) * VEC;
    const GateBlock<T> block(p, COLUMNS);
    const i32 b = p.block_width, first_row = blockIdx.x * BATCH;
    f32 sum[BATCH * VEC] = {};
    if constexpr (SLICES == 1) {
        const i32 column = block.first_column + lane_id() * VEC;
        if (column >= b) return;
        gate_slice<T, VEC, BATCH, 1>(p, block, first_row, column, 0, sum);
        f32 bias[VEC];
        load_floats<VEC>(block.bias + column, bias);
        #pragma unroll
        for (i32 r = 0; r < BATCH; ++r) {
            if (first_row + r >= p.rows) continue;
            f32 out[VEC];
            #pragma unroll
            for (i32 v = 0; v < VEC; ++v) out[v] = sum[r * VEC + v] + bias[v];
            store_floats<VEC>(static_cast<T*>(p.gates) + (first_row + r) * p.gates_stride + block.output + column, out);
        }
    } else {
        constexpr i32 ROW = COLUMNS + COLUMNS / 32;   // a word more every 32 columns: lanes VEC columns apart meet different banks
        __shared__ f32 parts[8 * BATCH * ROW];
        const i32 mine = lane_id() / 4 * VEC;
        if (block.first_column + mine < b)
            gate_slice<T, VEC, BATCH, SLICES>(p, block, first_row, block.first_column + mine, warp_id() * 4 + lane_id() % 4, sum);
        warp_sum<4>(sum);
        if (lane_id() % 4 == 0) {
            #pragma unroll
            for (i32 i = 0; i < BATCH * VEC; ++i) parts[(warp_id() * BATCH + i / VEC) * ROW + mine + mine / 32 + i % VEC] = sum[i];
        }
        __syncthreads();
        for (i32 i = threadIdx.x; i < BATCH * COLUMNS; i += 256) {
            const i32 r = i / COLUMNS, c = i % COLUMNS, row = first_row + r, column = block.first_column + c;
            if (row >= p.rows || column >= b) continue;
            const f32* const part = parts + r * ROW + c + c / 32;
            f32 total = part[0];
            #pragma unroll
            for (i32 w = 1; w < 8; ++w) total += part[w * BATCH * ROW];
            static_cast<T*>(p.gates)[row * p.gates_stride + block.output + column] = from_float<T>(total + to_float(block.bias[column]));
        }
    }
}

template <typename T>
__global__ void __launch_bounds__(64) gates_general(BlockDiagonalGatesParams p) {
    const GateBlock<T> block(p, 64);
    const i32 column = block.first_column + static_cast<i32>(threadIdx.x), first_row = blockIdx.x * 4;
    if (column >= p.block_width) return;
    f32 sum[4] = {};
    gate_slice<T, 1, 4, 1>(p, block, first_row, column, 0, sum);
    const f32 bias = to_float(block.bias[column]);
    #pragma unroll
    for (i32 r = 0; r < 4; ++r)
        if (first_row + r < p.rows) static_cast<T*>(p.gates)[(first_row + r) * p.gates_stride + block.output + column] = from_float<T>(sum[r] + bias);
}
