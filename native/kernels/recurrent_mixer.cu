// The convolution, both gates, the RG-LRU scan and the product with the GELU branch in one kernel: conv_gates.cu, then rg_lru_look_back of rg_lru_tiles.cu
//   z = conv(x + x_bias);  h_t = a_t·h_{t-1} + v_t of z and its gate logits;  out_t = round(h_t · gelu(y_t + y_bias)),
// with the roundings of both (z and the logits become bf16) and their bits. Neither z nor the logits reach memory. Padding gets zeros. The slots' h is
// updated, the convolution's states are read and not changed: conv1d_update follows.
//
// A block takes 64 tokens of one row in one block of the diagonal. x, with the three tokens before, goes to shared memory and becomes z there, the resident
// operand of all columns; the weights pass by in stages of 32 terms and 128 columns of each gate. A warp holds the sums of 16 channels of both gates and scans them
// where they are (include/mixer_scan.cuh). Carries travel by look-back between the warps of 16 channels. Tile k of row r has place
// row_start[r]/64 + r + k, as in rg_lru_tiles.cu.
//
// Shapes       bf16. x, y, out [tokens, l]; x_bias, conv_bias, y_bias [l] (x_bias, y_bias may be null); conv_weight [l, 4]; input_weight, recurrence_weight
//              [blocks, b, b] (in, out); input_bias, recurrence_bias, lambda [l]; l = blocks · b, b a multiple of 16; inner strides 1, others multiples of 8,
//              addresses of 16 bytes. tail [3, l] bf16 and hidden [l] f32 per slot (base null: every row is fresh, and leaves nothing).
//              workspace f32 [places, 2, l], progress u32 [1 + places · l / 16], zero before the launch; places = tokens/64 + rows.
// Launch       grid (places · blocks · splits), block (256), dynamic shared memory of 67 rows of z, STAGES stages of weights, y, the maps and the decays: 94 KB
//              at b = 256 with two stages. splits blocks share the columns of one block of the diagonal, and each makes z anew: for few tokens.
// Aliasing     out may be exactly y. A slot appears once in a call.
// Determinism  the same bits for the same call.
// Error        z, the logits and their error as conv_gates.cu, the rest as rg_lru_tiles.cu.
// Traffic      least: x and y once, out once, the weights once. x is requested splits · 67 / 64 times, the weights once for every place; a tile writes
//              8·l bytes of maps, which up to 7 others read from the cache.
// Prediction   H100, 8,192 × 2,560, b = 256, one row: 126 MB, 42 us at 3.0 TB/s; 21.5 GFLOP, 43 us of mma.sync; 336 MB of weights and 126 MB from and to the
//              level-2 cache, 84 us at 5.5 TB/s; about 130 instructions an element as sm_90 compiles it (51 of a warp's 64 × 16 channels' scan, 34 of its
//              products, the rest of convolution and carries), 92 us at full issue. 1,280 blocks, 2 on each of 132 SMs, 4.8 waves; 16 hops of closed groups
//              of about 1.5 us run beside them: 120 us, beside 110 + 75 us of the two kernels that it stands for.
#include "include/conv_tile.cuh"
#include "include/mixer_scan.cuh"

struct RecurrentMixerParams {
    const void* x;
    const void* x_bias;
    const void* conv_weight;
    const void* conv_bias;
    const void* input_weight;
    const void* input_bias;
    const void* recurrence_weight;
    const void* recurrence_bias;
    const void* y;
    const void* y_bias;
    const void* lambda;
    void* out;
    f32* workspace;
    u32* progress;
    PackedRows rows;
    SlotMemory tail;
    SlotMemory hidden;
    i64 x_stride;
    i64 y_stride;
    i64 out_stride;
    i32 blocks;
    i32 block_width;
    i32 splits;
};

constexpr i32 MIXER_COLUMNS = GATES_THREADS / 32 * MIXER_CHANNELS;   // of each gate, in a pass of the block
constexpr i32 MIXER_W_STRIDE = mma_stride(2 * MIXER_COLUMNS);

// What a block works on. It lies in shared memory, for the registers' sake.
struct MixerUnit {
    i32 place;
    i32 block;               // of the diagonal
    i32 split;
    Span span;
    bool plain;              // mixer_scan.cuh

    GK_DEVICE MixerUnit() = default;
    GK_DEVICE MixerUnit(const RecurrentMixerParams& p, i32 ticket)
        : place(ticket / p.splits / p.blocks), block(ticket / p.splits % p.blocks), split(ticket % p.splits), span(chunk_at(p.rows, MIXER_TOKENS, place)), plain(false) {}
};

// What a warp does with its channels of a tile, once it has their products.
struct MixerWarp {
    const RecurrentMixerParams& p;
    const MixerUnit& unit;
    i32 c;                   // the warp's first channel
    MixerMaps maps;
    MixerBranch branch;

    // Starts copying y.
    GK_DEVICE void stage() const { branch.stage(at(p.y, c) + unit.span.first * p.y_stride, p.y_stride, unit.span.last - unit.span.first); }

    GK_DEVICE static const bf16* at(const void* vector, i32 i) { return static_cast<const bf16*>(vector) + i; }

    // Values of the lane's channels.
    template <typename T>
    GK_DEVICE static void quad(const T* values, f32 (&v)[MIXER_QUAD]) {
        f32 low[2], high[2];
        load_floats<2>(values + lane_id() % 4 * 2, low);
        load_floats<2>(values + lane_id() % 4 * 2 + 8, high);
        v[0] = low[0]; v[1] = low[1]; v[2] = high[0]; v[3] = high[1];
    }

    template <bool PLAIN>
    GK_DEVICE void scan(const MmaAccumulator<4, 4>& sum, const bf16* z, i32 z_stride, const f32* decays, const i32* positions) const {
        const Span span = unit.span;
        MixerSteps<PLAIN> steps;
        steps.z = z;
        steps.z_stride = z_stride;
        steps.count = span.last - span.first - lane_id() / 4 * MIXER_STEPS;
        steps.positions = positions;
        steps.take(sum, at(p.input_bias, c), at(p.recurrence_bias, c));
        quad(decays, steps.log2_decay);
        #pragma unroll
        for (i32 i = 0; i < MIXER_QUAD; ++i) steps.log2_decay[i] *= LOG2_E;
        steps.make_all(maps);
        f32 h[MIXER_QUAD], y_bias[MIXER_QUAD] = {};
        __syncwarp();
        carry(span);
        async_wait<0>();   // y is there
        __syncwarp();
        MixerMaps::load(maps.pair(0) + MixerMaps::PLANE, h);
        if (p.y_bias != nullptr) quad(at(p.y_bias, c), y_bias);
        steps.walk(h, y_bias, branch);
        __syncwarp();
        branch.store(static_cast<bf16*>(p.out) + span.first * p.out_stride + c, p.out_stride, span.last - span.first);
        if (span.last == p.rows.row_start[span.row + 1]) keep(span.row, h);
    }

private:
    // From the lanes' maps to the h before each of them.
    GK_DEVICE void carry(const Span& span) const {
        const bool active = lane_id() < MIXER_CHANNELS;
        const i32 own = c + lane_id(), width = p.blocks * p.block_width, slot = p.rows.slot[span.row], before = (span.first - p.rows.row_start[span.row]) / MIXER_TOKENS;
        f32 a[1] = {1.0f}, v[1] = {}, h[1] = {};
        if (active) {
            maps.compose(a[0], v[0]);
            if (before < LOOK_BACK && p.hidden.base != nullptr && p.rows.seen[slot] > 0) h[0] = reinterpret_cast<const f32*>(slot_address(p.hidden, slot))[own];
        }
        const PublishedMaps<1, 1> published{p.progress + 1, p.workspace, width, width / MIXER_CHANNELS, c / MIXER_CHANNELS, own};
        published.look_back({unit.place, before, span.last < p.rows.row_start[span.row + 1]}, active, a, v, h);
        if (active) maps.apply(h[0]);
    }

    // The last lanes' h is the row's; rows of padding leave their state alone.
    GK_DEVICE void keep(i32 row, const f32 (&h)[MIXER_QUAD]) const {
        if (p.hidden.base == nullptr || lane_id() / 4 != MIXER_GROUPS - 1 || last_token(p.rows, row) < 0) return;
        f32* const state = reinterpret_cast<f32*>(slot_address(p.hidden, p.rows.slot[row])) + c + lane_id() % 4 * 2;
        const f32 low[2] = {h[0], h[1]}, high[2] = {h[2], h[3]};
        store_floats<2>(state, low);
        store_floats<2>(state + 8, high);
    }
};

// WIDTH: b where it is known beforehand, which spares the loops their arithmetic and lets two blocks share a multiprocessor; else 0.
template <i32 WIDTH, i32 STAGES>
__global__ void __launch_bounds__(GATES_THREADS, WIDTH > 0 ? 2 : 1) recurrent_mixer(RecurrentMixerParams p) {
    extern __shared__ Vec<bf16, 8> mixer_tiles[];   // z, the stages of weights, y, the maps, the decays
    __shared__ i32 positions[MIXER_TOKENS];
    __shared__ i32 ordered[MIXER_TOKENS];           // the same in the products' order of rows
    __shared__ MixerUnit units[1];
    if (threadIdx.x == 0) units[0] = MixerUnit(p, static_cast<i32>(take_ticket(p.progress)));
    __syncthreads();
    const MixerUnit& unit = units[0];
    const i32 b = WIDTH > 0 ? WIDTH : p.block_width, h = unit.block;
    if (unit.span.first == unit.span.last) return;

    const i32 terms = ceil_div(b, GATES_BK), stride = mma_stride(terms * GATES_BK), passes = ceil_div(b, MIXER_COLUMNS);
    const i32 first_pass = unit.split * passes / p.splits, last_pass = (unit.split + 1) * passes / p.splits;
    bf16* const tile = mixer_tiles[0].v;
    bf16* const w_stages = tile + (MIXER_TOKENS + CONV_HALO) * stride;
    bf16* const branches = w_stages + STAGES * GATES_BK * MIXER_W_STRIDE;
    f32* const maps = reinterpret_cast<f32*>(branches + GATES_THREADS / 32 * MixerBranch::SIZE);
    f32* const decays = maps + GATES_THREADS / 32 * MixerMaps::SIZE;
    const auto w_stage = [&](i32 step) { return w_stages + step % STAGES * GATES_BK * MIXER_W_STRIDE; };
    const GateBlockWeights weights{static_cast<const bf16*>(p.input_weight), static_cast<const bf16*>(p.input_bias), static_cast<const bf16*>(p.recurrence_weight),
                                   static_cast<const bf16*>(p.recurrence_bias), p.blocks * b, b, h};
    const auto load = [&](i32 step) {
        const i32 pass = first_pass + step / terms;
        if (pass < last_pass) weights.load<MIXER_COLUMNS>(w_stage(step), pass * MIXER_COLUMNS, step % terms * GATES_BK);
        async_commit();
    };
    const ConvTile conv{static_cast<const bf16*>(p.x), static_cast<const bf16*>(p.x_bias), static_cast<const bf16*>(p.conv_weight), static_cast<const bf16*>(p.conv_bias),
                        p.rows, p.tail, p.x_stride, p.blocks * b, b, h, unit.span.first, unit.span.last};

    conv.stage(tile, stride);
    async_commit();
    for (i32 step = 0; step < STAGES - 1; ++step) load(step);
    if (threadIdx.x < MIXER_TOKENS) {
        positions[threadIdx.x] = tile_position<MIXER_TOKENS>(p.rows, unit.span);
        const i32 t = unit.span.first + mixer_row(static_cast<i32>(threadIdx.x));
        ordered[threadIdx.x] = t < unit.span.last ? p.rows.pos[t] : -1;
    }
    for (i32 i = threadIdx.x; i < b; i += GATES_THREADS) decays[i] = lru_decay(to_float(static_cast<const bf16*>(p.lambda)[h * b + i]));
    async_wait<STAGES - 1>();
    __syncthreads();
    conv.convolve(tile, stride, positions, nullptr, 0, mixer_row);
    if (warp_id() == 0) {
        const i32 most = warp_reduce<MaxOf>(max_of(-positions[lane_id()], -positions[lane_id() + 32]));
        if (lane_id() == 0) units[0].plain = most < 0;
    }

    for (i32 pass = first_pass; pass < last_pass; ++pass) {
        const i32 column = pass * MIXER_COLUMNS + warp_id() * MIXER_CHANNELS;
        const MixerWarp warp{p, unit, h * b + column, {maps + warp_id() * MixerMaps::SIZE}, {branches + warp_id() * MixerBranch::SIZE}};
        if (column < b) warp.stage();
        MmaAccumulator<4, 4> sum;
        sum.fill(0.0f);
        for (i32 term = 0; term < terms; ++term) {
            const i32 step = (pass - first_pass) * terms + term;
            async_wait<STAGES - 2>();
            __syncthreads();   // this step's weights (and z) are there for all, and nobody still reads the ones that the next load replaces
            load(step + STAGES - 1);
            if (column < b) mma_tile<GATES_BK / 16>(sum, MmaRowsA{tile + term * GATES_BK, stride}, MmaColumnsB{w_stage(step) + warp_id() * 2 * MIXER_CHANNELS, MIXER_W_STRIDE});
        }
        if (column >= b) continue;
        if (unit.plain) warp.scan<true>(sum, tile + column, stride, decays + column, ordered);
        else warp.scan<false>(sum, tile + column, stride, decays + column, ordered);
    }
    async_wait<0>();
}
