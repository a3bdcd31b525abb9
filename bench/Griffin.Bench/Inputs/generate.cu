// The benchmarks' own kernels: inputs drawn on the device with the bits of Generator.cs, and the two ceilings of memory.
//   draw_floats:   x[i] = round(draw(seed, first + i) · factor + shift), each step rounded to f32; draw is uniform or normal
//   draw_integers: x[i] = bits(seed, first + i, 0) mod bound
//   copy:          y[i] = x[i] in 16-byte pieces
//   read:          sums[block] = the sum of 16-byte pieces of x as bf16 pairs, in f32; one number a block
#include "include/block.cuh"
#include "include/vec.cuh"

// sqrt(3) / 65535, rounded to f32: four 16-bit numbers then add up to variance 1.
constexpr f32 NORMAL_UNIT = 2.642940126e-05f;

struct DrawParams { void* x; i64 count; i64 first; u32 seed; f32 factor; f32 shift; u32 bound; };

GK_DEVICE u32 mix_bits(u32 x) {
    x ^= x >> 16;
    x *= 0x7feb352du;
    x ^= x >> 15;
    x *= 0x846ca68bu;
    return x ^ (x >> 16);
}

GK_DEVICE u32 draw_bits(u32 seed, i64 index, u32 draw) {
    return mix_bits(static_cast<u32>(index) ^ mix_bits(static_cast<u32>(index >> 32) + 0x9e3779b9u * draw + seed * 0x85ebca6bu));
}

template <typename T, bool UNIFORM>
__global__ void __launch_bounds__(256) draw_floats(DrawParams p) {
    const i64 step = static_cast<i64>(gridDim.x) * blockDim.x;
    for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.count; i += step) {
        const u32 a = draw_bits(p.seed, p.first + i, 0);
        f32 value;
        if (UNIFORM) {
            value = static_cast<f32>(a >> 8) * (1.0f / 16777216.0f);
        } else {
            const u32 b = draw_bits(p.seed, p.first + i, 1);
            const i32 sum = static_cast<i32>((a & 0xffffu) + (a >> 16) + (b & 0xffffu) + (b >> 16));
            value = static_cast<f32>(sum - 131070) * NORMAL_UNIT;
        }
        value = value * p.factor;
        static_cast<T*>(p.x)[i] = from_float<T>(value + p.shift);
    }
}

template <int UNUSED>
__global__ void __launch_bounds__(256) draw_integers(DrawParams p) {
    const i64 step = static_cast<i64>(gridDim.x) * blockDim.x;
    for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.count; i += step)
        static_cast<i32*>(p.x)[i] = static_cast<i32>(draw_bits(p.seed, p.first + i, 0) % p.bound);
}

struct StreamParams { const void* x; void* y; i64 pieces; };

template <int PIECES>
__global__ void __launch_bounds__(256) copy(StreamParams p) {
    const i64 first = static_cast<i64>(blockIdx.x) * blockDim.x * PIECES + threadIdx.x;
    Vec<u32, 4> held[PIECES];
    #pragma unroll
    for (int n = 0; n < PIECES; ++n)
        if (first + n * blockDim.x < p.pieces) held[n] = load_vec<4>(static_cast<const u32*>(p.x) + (first + n * blockDim.x) * 4);
    #pragma unroll
    for (int n = 0; n < PIECES; ++n)
        if (first + n * blockDim.x < p.pieces) store_vec<4>(static_cast<u32*>(p.y) + (first + n * blockDim.x) * 4, held[n]);
}

template <int PIECES>
__global__ void __launch_bounds__(256) read(StreamParams p) {
    const i64 step = static_cast<i64>(gridDim.x) * blockDim.x;
    f32 sum = 0.0f;
    for (i64 i = static_cast<i64>(blockIdx.x) * blockDim.x + threadIdx.x; i < p.pieces; i += step * PIECES) {
        Vec<bf16, 8> held[PIECES];
        #pragma unroll
        for (int n = 0; n < PIECES; ++n)
            if (i + n * step < p.pieces) held[n] = load_vec<8>(static_cast<const bf16*>(p.x) + (i + n * step) * 8);
        #pragma unroll
        for (int n = 0; n < PIECES; ++n) {
            if (i + n * step >= p.pieces) continue;
            #pragma unroll
            for (int e = 0; e < 8; ++e) sum += to_float(held[n].v[e]);
        }
    }
    sum = block_sum<256>(sum);
    if (threadIdx.x == 0) static_cast<f32*>(p.y)[blockIdx.x] = sum;
}
