// The RG-LRU scan of rg_lru.cu by tiles as rg_lru_tiles.cu has them (same formulas, arguments, padding, state and `hidden`), whose carries travel
// through the shared memory of clusters (sm_90)
//
// A cluster of 8 blocks takes 64 channels of 8 neighbouring tiles of a row, one tile a block. Each block leaves what its tile does to h; after a
// barrier of the cluster each reads what those before it have left. h behind a whole cluster goes to the next one in the row through global
// memory, as in the look-back: clusters are taken in order of tickets.
//
// Shapes       as in rg_lru.cu; workspace f32 [places, 2, width] (h in the first half of each), progress u32 [1 + places · column blocks], zero before
//              the launch; places = tokens/(8 · TOKENS) + rows, column blocks = ceil(width / 64). Width, strides and addresses in multiples of 16 bytes.
// Launch       grid (places · column blocks · 8), columns faster than places, blocks of a cluster fastest; block (256), 38 KB of static shared memory.
// Aliasing     out may be exactly z or y. A slot appears once in a call. hidden shares nothing. Inputs of padding may be read, and count for nothing.
// Determinism  the same bits for the same call.
// Error        as rg_lru_tiles.cu.
// Traffic      as the ring of rg_lru_tiles.cu, and 8·width bytes a cluster written and read; 8·7/2·512 bytes of maps a cluster between multiprocessors.
// Prediction   H100, bf16, 8,192 × 2,560, one row: as the look-back, 71 us of memory; 16 hops of about 1.5 us from cluster to cluster as there, without the
//              flags, maps and waits of tiles in between: what it saves is latency of few tiles, so short rows gain most.
#include "include/cluster.cuh"
#include "include/rg_lru_tile.cuh"

constexpr i32 CLUSTER_TILES = 8;

// A tile's map, or all maps of tiles before one, two channels a lane.
struct PairMap {
    f32 a[PAIR] = {1.0f, 1.0f};
    f32 v[PAIR] = {};

    // This map, then another.
    GK_DEVICE void then(const f32 (&next_a)[PAIR], const f32 (&next_v)[PAIR]) {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) {
            v[i] = scan_advance(v[i], next_a[i], next_v[i]);
            a[i] = scan_decay(a[i], next_a[i]);
        }
    }

    GK_DEVICE void apply(f32 (&h)[PAIR]) const {
        #pragma unroll
        for (i32 i = 0; i < PAIR; ++i) h[i] = scan_advance(h[i], a[i], v[i]);
    }
};

template <typename T>
__global__ void __cluster_dims__(CLUSTER_TILES) __launch_bounds__(TILE_THREADS, 3) rg_lru_cluster(RgLruParams p) {
    using Tile = LruTile<T>;
    __shared__ Vec<u8, 16> lru_stage[Tile::STAGE * sizeof(T) / 16];
    __shared__ alignas(16) f32 map_data[2 * TILE_WARPS * TILE_CHANNELS];
    __shared__ alignas(16) f32 own_map[2 * TILE_CHANNELS];                    // read by the blocks after this one
    __shared__ alignas(16) f32 carry[TILE_CHANNELS];
    __shared__ alignas(16) f32 decays[TILE_CHANNELS];
    __shared__ Vec<i32, 4> position_data[Tile::TOKENS / 4];
    i32* const positions = position_data[0].v;
    __shared__ u32 turn[1];
    const i32 rank = cluster_rank();
    if (rank == 0 && threadIdx.x == 0) turn[0] = take_ticket(p.progress);
    cluster_sync();
    const i32 ticket = static_cast<i32>(cluster_load(turn, 0));
    const i32 column_blocks = ceil_div(p.width, TILE_CHANNELS);
    const i32 place = ticket / column_blocks, column_block = ticket % column_blocks;
    const Span whole = chunk_at(p.rows, CLUSTER_TILES * Tile::TOKENS, place);
    const i32 row_last = p.rows.row_start[whole.row + 1], first = min_of(whole.first + rank * Tile::TOKENS, whole.last);
    const Span span{whole.row, first, min_of(first + Tile::TOKENS, whole.last)};
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
    const i32 lane_c = lane_id() * PAIR;
    f32 a[PAIR], v[PAIR], h[PAIR];
    if (warp_id() == 0) {
        maps.compose(a, v);
        store_floats<PAIR>(own_map + lane_c, a);
        store_floats<PAIR>(own_map + TILE_CHANNELS + lane_c, v);
        // Before the barrier, and so before this cluster's flag: the row's last cluster writes the state, when all flags before it have been raised.
        tile.carried(whole.row, h);
    }
    cluster_sync();
    if (warp_id() == 0) {
        PairMap before;
        for (i32 earlier = 0; earlier < rank; ++earlier) {
            f32 next_a[PAIR], next_v[PAIR];
            cluster_load(own_map + lane_c, earlier, next_a);
            cluster_load(own_map + TILE_CHANNELS + lane_c, earlier, next_v);
            before.then(next_a, next_v);
        }
        u32* const flag = p.progress + 1 + static_cast<i64>(place) * column_blocks + column_block;
        f32* const behind = p.workspace + static_cast<i64>(place) * 2 * p.width + tile.c;
        if (place > first_place(p.rows, CLUSTER_TILES * Tile::TOKENS, whole.row) && whole.first < whole.last) {
            if (lane_id() == 0) await_flag(flag - column_blocks);
            __syncwarp();
            if (tile.active) load_floats<PAIR>(behind - 2 * static_cast<i64>(p.width), h);
        }
        before.apply(h);
        store_floats<PAIR>(carry + lane_c, h);
        if (rank == CLUSTER_TILES - 1 && whole.last < row_last) {
            PairMap own;
            own.then(a, v);
            own.apply(h);
            if (tile.active) store_floats<PAIR>(behind, h);
            __syncwarp();
            if (lane_id() == 0) raise_flag(flag);
        }
    }
    cluster_sync();   // the carry is there for the block's warps, and nobody reads this block's map any more
    load_floats<PAIR>(carry + lane_c, h);
    maps.apply(warp_id(), h);
    tile.walk(stage, span, positions, h);
    if (span.first < span.last && span.last == row_last) tile.keep(span.row, h);
}
