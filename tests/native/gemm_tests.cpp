// The matrix product behind the cuBLAS look-alike, with every set of kernels that this processor can run, against double loops.
#include "testing.h"

#include "blas/gemm.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

using namespace blas;

namespace {

float widen(uint16_t bits) {
    const uint32_t word = static_cast<uint32_t>(bits) << 16;
    float value;
    std::memcpy(&value, &word, sizeof value);
    return value;
}

uint16_t narrow(float value) {
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof bits);
    return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

// Values of either type, with their exact worth as floats. A NaN means "not yet written".
struct Array {
    Element type;
    std::vector<float> worth;
    std::vector<uint16_t> halves;

    Array(Element element, size_t count) : type(element), worth(count, std::numeric_limits<float>::quiet_NaN()), halves(count, 0x7fff) {}

    void fill(std::mt19937& generator) {
        std::normal_distribution<float> normal;
        for (size_t i = 0; i < worth.size(); ++i) {
            worth[i] = normal(generator);
            if (type == Element::BFloat16) worth[i] = widen(halves[i] = narrow(worth[i]));
        }
    }
    void* data() { return type == Element::Float32 ? static_cast<void*>(worth.data()) : halves.data(); }
    float at(size_t i) const { return type == Element::Float32 ? worth[i] : widen(halves[i]); }
};

struct Shape { int rows, columns, k; };

// Worst error of C over its bound; a NaN is infinitely wrong.
double worst_error(const Kernels& kernels, Element type, Element stored, const Shape& s, bool a_by_k, bool b_by_k, float alpha, float beta) {
    std::mt19937 generator(static_cast<unsigned>(s.rows * 7919 + s.columns * 31 + s.k));
    const int lda = (a_by_k ? s.k : s.rows) + 3, ldb = (b_by_k ? s.k : s.columns) + 1, ldc = s.rows + 2;
    Array a(type, static_cast<size_t>(lda) * (a_by_k ? s.rows : s.k)), b(type, static_cast<size_t>(ldb) * (b_by_k ? s.columns : s.k));
    Array c(stored, static_cast<size_t>(ldc) * s.columns);
    a.fill(generator);
    b.fill(generator);
    if (beta != 0) c.fill(generator);
    const Array before = c;
    multiply({s.rows,
              s.columns,
              s.k,
              {a.data(), type, a_by_k ? lda : 1, a_by_k ? 1 : lda},
              {b.data(), type, b_by_k ? ldb : 1, b_by_k ? 1 : ldb},
              {c.data(), stored, ldc, alpha, beta}},
             kernels);
    double worst = 0;
    for (int j = 0; j < s.columns; ++j)
        for (int i = 0; i < ldc; ++i) {
            const size_t at = static_cast<size_t>(j) * ldc + i;
            if (i >= s.rows) {   // between the columns nothing is written
                if (std::memcmp(&c.worth[at], &before.worth[at], 4) != 0 || c.halves[at] != before.halves[at]) return std::numeric_limits<double>::infinity();
                continue;
            }
            double sum = 0, magnitude = 0;
            for (int k = 0; k < s.k; ++k) {
                const double term = static_cast<double>(a.worth[a_by_k ? i * lda + k : k * lda + i]) * b.worth[b_by_k ? j * ldb + k : k * ldb + j];
                sum += term;
                magnitude += std::fabs(term);
            }
            const double expected = alpha * sum + (beta != 0 ? beta * static_cast<double>(before.worth[at]) : 0);
            const double rounding = std::fabs(expected) * (stored == Element::Float32 ? std::ldexp(1, -22) : std::ldexp(1, -8));
            const double error = std::fabs(c.at(at) - expected) / (std::fabs(alpha) * magnitude * s.k * std::ldexp(1, -23) + rounding + 1e-30);
            if (!(error <= worst)) worst = error;
        }
    return std::isnan(worst) ? std::numeric_limits<double>::infinity() : worst;
}

void check_all(const Kernels& kernels, bool halves_only) {
    const Shape shapes[] = {{1, 1, 1},    {1, 1, 2},     {3, 5, 7},      {16, 8, 32},  {17, 9, 33},   {31, 7, 31},  {33, 13, 257}, {64, 12, 64},  {65, 25, 513},
                            {128, 24, 1}, {129, 390, 40}, {300, 3, 1030}, {7, 8, 3},   {40, 1, 600}, {11, 4, 24}, {200, 60, 1100}, {5, 6, 95},
                            {9, 1, 1291}, {7, 2, 1291}, {6, 2, 3163}};
    for (const Shape& shape : shapes)
        for (int layout = 0; layout < 4; ++layout)
            for (int types = halves_only ? 1 : 0; types < 3; ++types)
                for (const float beta : {0.0f, -0.5f}) {
                    const Element type = types == 0 ? Element::Float32 : Element::BFloat16, stored = types == 1 ? Element::BFloat16 : Element::Float32;
                    const double worst = worst_error(kernels, type, stored, shape, layout & 1, layout & 2, beta == 0 ? 1.0f : 1.25f, beta);
                    testing::report(worst <= 1, __FILE__, __LINE__,
                                    std::string(kernels.name) + " " + std::to_string(shape.rows) + "x" + std::to_string(shape.columns) + "x" + std::to_string(shape.k) +
                                        " layout " + std::to_string(layout) + " types " + std::to_string(types) + " beta " + std::to_string(beta) + ": " +
                                        std::to_string(worst) + " times the bound");
                }
}

}

TEST_CASE("portable kernels") { check_all(portable_kernels(), false); }

TEST_CASE("AVX2 kernels") {
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) check_all(avx2_kernels(), false);
    else std::puts("skipped: no AVX2");
}

TEST_CASE("AVX-512 kernels") {
    if (__builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq")) check_all(avx512_kernels(), false);
    else std::puts("skipped: no AVX-512");
}

TEST_CASE("AVX-512 BF16 kernels") {
    if (__builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw")) check_all(avx512_bf16_kernels(), true);
    else std::puts("skipped: no AVX-512 BF16");
}

TEST_CASE("chosen kernels") {
    check_all(choose_kernels(Element::BFloat16), true);
    check_all(choose_kernels(Element::Float32), choose_kernels(Element::Float32).word_k == 2);
}

TEST_CASE("no terms or no alpha scale C") {
    float c[6] = {1, 2, 3, 4, 5, 6}, a[6] = {NAN, NAN, NAN, NAN, NAN, NAN};
    const Operand none{a, Element::Float32, 1, 3};
    multiply({3, 2, 0, none, none, {c, Element::Float32, 3, 1, 2}});
    CHECK(c[0] == 2 && c[5] == 12);
    multiply({3, 2, 2, none, {a, Element::Float32, 1, 2}, {c, Element::Float32, 3, 0, 0.5f}});
    CHECK(c[0] == 1 && c[5] == 6);
    multiply({3, 2, 0, none, none, {c, Element::Float32, 3, 1, 0}});
    CHECK(c[0] == 0 && c[5] == 0);
    multiply({0, 2, 3, none, none, {nullptr, Element::Float32, 3, 1, 0}});
}

TEST_CASE("a batch is its products one by one") {
    for (const Shape& s : {Shape{5, 9, 17}, Shape{64, 64, 96}, Shape{70, 3, 40}}) {
        constexpr int count = 9;
        std::mt19937 generator(3);
        const int size_a = s.rows * s.k + 5, size_b = s.columns * s.k + 1, size_c = s.rows * s.columns + 2;
        Array a(Element::BFloat16, static_cast<size_t>(size_a) * count), b(Element::BFloat16, static_cast<size_t>(size_b) * count);
        Array batched(Element::Float32, static_cast<size_t>(size_c) * count), single(Element::Float32, static_cast<size_t>(size_c) * count);
        a.fill(generator);
        b.fill(generator);
        const auto product = [&](Array& c, int i) {
            return Product{s.rows,
                           s.columns,
                           s.k,
                           {a.halves.data() + i * size_a, Element::BFloat16, s.k, 1},
                           {b.halves.data() + i * size_b, Element::BFloat16, s.k, 1},
                           {c.worth.data() + i * size_c, Element::Float32, s.rows, 1, 0}};
        };
        multiply_batch(product(batched, 0), size_a, size_b, size_c, count);
        for (int i = 0; i < count; ++i) multiply(product(single, i));
        CHECK(std::memcmp(batched.worth.data(), single.worth.data(), batched.worth.size() * sizeof(float)) == 0);
    }
}
