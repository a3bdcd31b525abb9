// The RG-LRU scan of rg_lru.cu (same formulas, arguments, padding, state and `hidden`), reading its inputs once however it cuts time
//
// A block takes 64 channels of a row tile by tile (include/scan_tile.cuh): 64 tokens of bf16, 32 of f32. All special functions are off the
// dependent chain. A warp whose tokens are all there and go on takes them without selects: the same bits.
//   rg_lru_ring       one block walks a row in time; the next tile's inputs are copied while it works on this one. For many channels.
//   rg_lru_look_back  one block a tile; carries travel by look-back. For few channels and long rows. Tile k of row r has place
//                     row_start[r]/TOKENS + r + k, which never collide; some stay unused.
//
// Shapes       as in rg_lru.cu. rg_lru_look_back: workspace f32 [places, 2, width], progress u32 [1 + places · column blocks], zero before the
//              launch; places = tokens/TOKENS + rows, column blocks = ceil(width / 64).
//              Width, strides and addresses in multiples of 16 bytes.
// Launch       rg_lru_ring: grid (rows · column blocks), dynamic shared memory of two stages, 64 KB; rg_lru_look_back: grid (places · column
//              blocks), 32 KB of static; columns fastest, block (256).
// Aliasing     out may be exactly z or y. A slot appears once in a call. hidden shares nothing. Inputs of padding may be read, and count for nothing.
// Determinism  the same bits for the same call.
// Error        approximate functions (include/approx.cuh). With H_t as in rg_lru.cu and the gate logits g_i and g_r:
//              E_t ≤ a_t·E_{t-1} + 2^-24·(((16 + 2·|g_r|)·|L_t| + 4)·a_t·H_{t-1} + (24 + 2·|g_i| + |g_r|)·|v_t| + 4·H_t) for h, and 2^-63 in m
//              where L is below the normal numbers; out as in rg_lru.cu.
// Traffic      5·tokens·width·sizeof(T) (6 with hidden), the state once in and once out, pos once per block; look-back: 8·width bytes a tile
//              written, and read by up to 7 others from the cache.
// Prediction   H100, bf16, 8,192 × 2,560, one row, look-back: 212 MB, 71 us at 3.0 TB/s; 69 instructions an element as sm_90 compiles it where documents go
//              on, 61 us; 8 special functions, 45 us. 5,120 blocks, 3 on each of 132 SMs, 13 waves; 16 hops of closed groups of about 1.5 us run
//              beside them: 75 us.
//              Ring: 59 instructions an element; 9 rows of 8,192, 360 blocks for 396 places: 630 us of memory, and the quarter of a wave that a
//              kernel of less than one may lose.
#include "include/rg_lru_tile.cuh"

template <typename T>
__global__ void __launch_bounds__(TILE_THREADS, 3) rg_lru_ring(RgLruParams p) {
    using Tile = LruTile<T>;
    extern __shared__ Vec<u8, 16> lru_stages[];                   // two stages
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
    const auto stage_of = [&](i32 k) { return reinterpret_cast<T*>(lru_stages) + k % 2 * Tile::STAGE; };
    const i32 tiles = ceil_div(row_last - row_first, Tile::TOKENS);
    if (tiles == 0) return;

    f32 h[PAIR];
    tile.carried(row, h);
    if (warp_id() == 0) store_floats<PAIR>(carries + lane_id() * PAIR, h);
    tile.stage(stage_of(0), span_of(0));
    if (threadIdx.x < Tile::TOKENS) position_data[0].v[threadIdx.x] = tile_position<Tile::TOKENS>(p.rows, span_of(0));
    async_commit();
    tile.make_decays(decays);
    for (i32 k = 0; k < tiles; ++k) {
        async_wait<0>();
        __syncthreads();   // this tile's inputs are there for all, and nobody still reads what the next ones replace
        if (k == 0) tile.take_decays(decays);
        i32 next_position = -1;
        if (k + 1 < tiles) {
            tile.stage(stage_of(k + 1), span_of(k + 1));
            next_position = tile_position<Tile::TOKENS>(p.rows, span_of(k + 1));
        }
        async_commit();
        const i32* const positions = position_data[0].v + k % 2 * Tile::TOKENS;
        tile.scan(stage_of(k), span_of(k), positions, maps);
        __syncthreads();
        load_floats<PAIR>(carries + k % 2 * TILE_CHANNELS + lane_id() * PAIR, h);
        maps.apply(warp_id(), h);
        tile.walk(stage_of(k), span_of(k), positions, h);
        if (warp_id() == TILE_WARPS - 1) store_floats<PAIR>(carries + (k + 1) % 2 * TILE_CHANNELS + lane_id() * PAIR, h);
        if (threadIdx.x < Tile::TOKENS) position_data[0].v[(k + 1) % 2 * Tile::TOKENS + threadIdx.x] = next_position;
    }
    tile.keep(row, h);
}

template <typename T>
__global__ void __launch_bounds__(TILE_THREADS, 3) rg_lru_look_back(RgLruParams p) {
    using Tile = LruTile<T>;
    __shared__ Vec<u8, 16> lru_stage[Tile::STAGE * sizeof(T) / 16];
    __shared__ alignas(16) f32 map_data[2 * TILE_WARPS * TILE_CHANNELS];
    __shared__ alignas(16) f32 carry[TILE_CHANNELS];
    __shared__ alignas(16) f32 decays[TILE_CHANNELS];
    __shared__ Vec<i32, 4> position_data[Tile::TOKENS / 4];
    i32* const positions = position_data[0].v;
    __shared__ u32 turn[1];
    if (threadIdx.x == 0) turn[0] = take_ticket(p.progress);
    __syncthreads();
    const i32 column_blocks = ceil_div(p.width, TILE_CHANNELS);
    const i32 place = static_cast<i32>(turn[0]) / column_blocks, column_block = static_cast<i32>(turn[0]) % column_blocks;
    const Span span = chunk_at(p.rows, Tile::TOKENS, place);
    if (span.first == span.last) return;
    Tile tile(p, column_block);
    const TileMaps maps{map_data};
    T* const stage = reinterpret_cast<T*>(lru_stage);
    tile.stage(stage, span);
    async_commit();
    if (threadIdx.x < Tile::TOKENS) positions[threadIdx.x] = tile_position<Tile::TOKENS>(p.rows, span);
    tile.make_decays(decays);
    async_wait<0>();
    __syncthreads();
    tile.take_decays(decays);
    tile.scan(stage, span, positions, maps);
    __syncthreads();
    f32 h[PAIR];
    if (warp_id() == 0) {
        f32 a[PAIR], v[PAIR];
        maps.compose(a, v);
        tile.carried(span.row, h);
        const PublishedMaps<1> published{p.progress + 1, p.workspace, p.width, column_blocks, column_block, tile.c};
        published.look_back({place, place - first_place(p.rows, Tile::TOKENS, span.row), span.last < p.rows.row_start[span.row + 1]}, tile.active, a, v, h);
        store_floats<PAIR>(carry + lane_id() * PAIR, h);
    }
    __syncthreads();
    load_floats<PAIR>(carry + lane_id() * PAIR, h);
    maps.apply(warp_id(), h);
    tile.walk(stage, span, positions, h);
    if (span.last == p.rows.row_start[span.row + 1]) tile.keep(span.row, h);
}
