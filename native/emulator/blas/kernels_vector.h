// The kernels of kernels.h in float32 vectors of BLAS_WIDTH lanes, compiled once per instruction set. The including file defines
//     BLAS_TARGET    function attribute that turns the instructions on
//     BLAS_WIDTH     lanes of a vector
//     BLAS_COLUMNS   tile columns: 2 * BLAS_COLUMNS accumulators and three more vectors fit the registers
// and opens an anonymous namespace. bfloat16 operands are widened on the way in.

#define BLAS_INLINE BLAS_TARGET __attribute__((always_inline)) inline

typedef float Floats __attribute__((vector_size(4 * BLAS_WIDTH), aligned(4), may_alias));
typedef std::uint32_t Words __attribute__((vector_size(4 * BLAS_WIDTH)));
typedef std::uint16_t Halves __attribute__((vector_size(2 * BLAS_WIDTH), aligned(2), may_alias));

constexpr int TileRows = 2 * BLAS_WIDTH;
constexpr int TileColumns = BLAS_COLUMNS;

BLAS_INLINE float widen(std::uint16_t bits) {
    const std::uint32_t word = static_cast<std::uint32_t>(bits) << 16;
    float value;
    __builtin_memcpy(&value, &word, 4);
    return value;
}

BLAS_INLINE float element(const float* p) { return *p; }
BLAS_INLINE float element(const std::uint16_t* p) { return widen(*p); }

BLAS_INLINE void load(Floats& to, const float* p) { to = *reinterpret_cast<const Floats*>(p); }
BLAS_INLINE void load(Floats& to, const std::uint16_t* p) {
    to = reinterpret_cast<Floats>(__builtin_convertvector(*reinterpret_cast<const Halves*>(p), Words) << 16);
}

template <typename T>
BLAS_TARGET void pack_elements(float* panel, int tile, const T* source, const Operand& from, int rows, int count) {
    for (int r = 0; r < tile; ++r) {
        const T* p = source + r * from.row_stride;
        if (r >= rows)
            for (int k = 0; k < count; ++k) panel[k * tile + r] = 0;
        else
            for (int k = 0; k < count; ++k) panel[k * tile + r] = element(p + k * from.k_stride);
    }
}

BLAS_TARGET void pack(std::uint32_t* panel, int tile, const Operand& source, std::int64_t first_row, int rows, std::int64_t first_k, int count) {
    float* to = reinterpret_cast<float*>(panel);
    const std::int64_t offset = first_row * source.row_stride + first_k * source.k_stride;
    if (source.type == Element::Float32)
        pack_elements(to, tile, static_cast<const float*>(source.data) + offset, source, rows, count);
    else
        pack_elements(to, tile, static_cast<const std::uint16_t*>(source.data) + offset, source, rows, count);
}

BLAS_TARGET void multiply(float* sum, std::int64_t stride, const std::uint32_t* a_words, const std::uint32_t* b_words, int words, bool accumulate) {
    const float* a = reinterpret_cast<const float*>(a_words);
    const float* b = reinterpret_cast<const float*>(b_words);
    Floats c[TileColumns][2];
#pragma GCC unroll 16
    for (int j = 0; j < TileColumns; ++j)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) c[j][v] = accumulate ? *reinterpret_cast<const Floats*>(sum + j * stride + v * BLAS_WIDTH) : Floats{};
    for (int k = 0; k < words; ++k, a += TileRows, b += TileColumns) {
        const Floats low = *reinterpret_cast<const Floats*>(a);
        const Floats high = *reinterpret_cast<const Floats*>(a + BLAS_WIDTH);
#pragma GCC unroll 16
        for (int j = 0; j < TileColumns; ++j) {
            c[j][0] += low * b[j];
            c[j][1] += high * b[j];
        }
    }
#pragma GCC unroll 16
    for (int j = 0; j < TileColumns; ++j)
#pragma GCC unroll 2
        for (int v = 0; v < 2; ++v) *reinterpret_cast<Floats*>(sum + j * stride + v * BLAS_WIDTH) = c[j][v];
}

// Dot products of Rows rows of A with Columns rows of B.
template <int Rows, int Columns, typename T>
BLAS_TARGET void dot_rows(float* sum, std::int64_t stride, const T* a, std::int64_t a_stride, const T* b, std::int64_t b_stride, std::int64_t count) {
    Floats c[Rows][Columns] = {};
    std::int64_t k = 0;
    for (; k + BLAS_WIDTH <= count; k += BLAS_WIDTH) {
        Floats weights[Rows];
#pragma GCC unroll 4
        for (int r = 0; r < Rows; ++r) load(weights[r], a + r * a_stride + k);
#pragma GCC unroll 8
        for (int j = 0; j < Columns; ++j) {
            Floats x;
            load(x, b + j * b_stride + k);
#pragma GCC unroll 4
            for (int r = 0; r < Rows; ++r) c[r][j] += weights[r] * x;
        }
    }
    for (int r = 0; r < Rows; ++r)
        for (int j = 0; j < Columns; ++j) {
            float total = 0;
            for (int lane = 0; lane < BLAS_WIDTH; ++lane) total += c[r][j][lane];
            for (std::int64_t i = k; i < count; ++i) total += element(a + r * a_stride + i) * element(b + j * b_stride + i);
            sum[j * stride + r] = total;
        }
}

// The dot product of a row of A with one of B, in four sums, so that one does not wait for the last.
template <typename T>
BLAS_TARGET float dot_row(const T* a, const T* b, std::int64_t count) {
    constexpr int parts = 4;
    Floats sum[parts] = {};
    std::int64_t k = 0;
    for (; k + parts * BLAS_WIDTH <= count; k += parts * BLAS_WIDTH) {
#pragma GCC unroll 4
        for (int part = 0; part < parts; ++part) {
            Floats weights, x;
            load(weights, a + k + part * BLAS_WIDTH);
            load(x, b + k + part * BLAS_WIDTH);
            sum[part] += weights * x;
        }
    }
    const Floats all = (sum[0] + sum[1]) + (sum[2] + sum[3]);
    float total = 0;
    for (int lane = 0; lane < BLAS_WIDTH; ++lane) total += all[lane];
    for (; k < count; ++k) total += element(a + k) * element(b + k);
    return total;
}

template <int Columns, typename T>
BLAS_TARGET void dot_all_rows(float* sum, std::int64_t stride, const T* a, std::int64_t a_stride, int rows, const T* b, std::int64_t b_stride, std::int64_t count) {
    constexpr int together = Columns <= 2 ? 4 : 2;
    int r = 0;
    if (one_by_one(Columns, count * static_cast<std::int64_t>(sizeof(T))))
        for (; r < rows; ++r)
            for (int j = 0; j < Columns; ++j) sum[j * stride + r] = dot_row(a + r * a_stride, b + j * b_stride, count);
    for (; r + together <= rows; r += together) dot_rows<together, Columns>(sum + r, stride, a + r * a_stride, a_stride, b, b_stride, count);
    for (; r < rows; ++r) dot_rows<1, Columns>(sum + r, stride, a + r * a_stride, a_stride, b, b_stride, count);
}

template <typename T>
BLAS_TARGET void stream_elements(float* sum, std::int64_t stride, const Operand& a, std::int64_t first_row, int rows, const Operand& b, int columns, std::int64_t k) {
    const T* weights = static_cast<const T*>(a.data) + first_row * a.row_stride;
    const T* x = static_cast<const T*>(b.data);
    for (int j = 0; j < columns;) {
        const int left = columns - j;
        const T* from = x + j * b.row_stride;
        float* to = sum + j * stride;
        if (left >= 4) {
            dot_all_rows<4>(to, stride, weights, a.row_stride, rows, from, b.row_stride, k);
            j += 4;
        } else if (left >= 2) {
            dot_all_rows<2>(to, stride, weights, a.row_stride, rows, from, b.row_stride, k);
            j += 2;
        } else {
            dot_all_rows<1>(to, stride, weights, a.row_stride, rows, from, b.row_stride, k);
            j += 1;
        }
    }
}

BLAS_TARGET void stream(float* sum, std::int64_t stride, const Operand& a, std::int64_t first_row, int rows, const Operand& b, int columns, std::int64_t k) {
    if (a.type == Element::Float32)
        stream_elements<float>(sum, stride, a, first_row, rows, b, columns, k);
    else
        stream_elements<std::uint16_t>(sum, stride, a, first_row, rows, b, columns, k);
}

// To nearest, ties to even; a NaN stays a NaN.
BLAS_INLINE std::uint16_t narrow(float value) {
    std::uint32_t bits;
    __builtin_memcpy(&bits, &value, 4);
    const std::uint32_t rounded = (bits + 0x7fffu + (bits >> 16 & 1)) >> 16;
    return static_cast<std::uint16_t>((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : rounded);
}

template <typename T>
BLAS_INLINE void store_column(T* to, const float* sum, int rows, float alpha, float beta) {
    for (int i = 0; i < rows; ++i) {
        float value = alpha * sum[i];
        if (beta != 0) value += beta * element(to + i);
        if constexpr (sizeof(T) == 4)
            to[i] = value;
        else
            to[i] = narrow(value);
    }
}

template <typename T>
BLAS_INLINE void store_columns(const Destination& c, std::int64_t first_row, int rows, std::int64_t first_column, int columns, const float* sum,
                               std::int64_t stride) {
    for (int j = 0; j < columns; ++j) {
        T* to = static_cast<T*>(c.data) + (first_column + j) * c.column_stride + first_row;
        if (c.beta == 0)
            store_column(to, sum + j * stride, rows, c.alpha, 0.0f);
        else
            store_column(to, sum + j * stride, rows, c.alpha, c.beta);
    }
}

BLAS_TARGET void store(const Destination& c, std::int64_t first_row, int rows, std::int64_t first_column, int columns, const float* sum, std::int64_t stride) {
    if (c.type == Element::Float32)
        store_columns<float>(c, first_row, rows, first_column, columns, sum, stride);
    else
        store_columns<std::uint16_t>(c, first_row, rows, first_column, columns, sum, stride);
}
