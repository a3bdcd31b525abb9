#include "blas/product_call.h"

#include "check/hooks.h"

#include <algorithm>
#include <string>

namespace blas {
namespace {

bool known(int type) { return type == Float32Type || type == BFloat16Type; }
Element element(int type) { return type == Float32Type ? Element::Float32 : Element::BFloat16; }

}

Status validate(const Call& call, int compute) {
    const auto operation = [](int o) { return o >= NotTransposed && o <= Conjugated; };
    if (!operation(call.operation_a) || !operation(call.operation_b)) return InvalidValue;
    if (call.m < 0 || call.n < 0 || call.k < 0 || call.batch < 0) return InvalidValue;
    if (call.a.leading < std::max<std::int64_t>(1, call.operation_a == NotTransposed ? call.m : call.k)) return InvalidValue;
    if (call.b.leading < std::max<std::int64_t>(1, call.operation_b == NotTransposed ? call.k : call.n)) return InvalidValue;
    if (call.c.leading < std::max<std::int64_t>(1, call.m)) return InvalidValue;
    if (compute != ComputeFloat32 && compute != ComputeFloat32Pedantic) return NotSupported;
    if (!known(call.a.type) || call.a.type != call.b.type || (call.c.type != call.a.type && call.c.type != Float32Type)) return NotSupported;
    return Success;
}

namespace {

// The columns of a column-major matrix, for each of the batch.
template <typename Visit>
bool visit(const Call& call, const Matrix& matrix, std::int64_t rows, std::int64_t columns, Visit visit_columns) {
    if (rows == 0 || columns == 0) return true;
    const auto size = static_cast<std::uint64_t>(size_of(element(matrix.type)));
    const int batch = matrix.stride == 0 ? 1 : call.batch;
    for (int i = 0; i < batch; ++i) {
        const std::uint64_t address = reinterpret_cast<std::uint64_t>(matrix.data) + static_cast<std::uint64_t>(i * matrix.stride) * size;
        if (!visit_columns(address, static_cast<std::uint64_t>(columns), rows * size, matrix.leading * size)) return false;
    }
    return true;
}

bool operands_are_sound(const Call& call, std::string& text) {
    const auto readable = [&](const char* what) {
        return [&text, &call, what](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
            return check::check_rows_initialised(call.device, address, columns, bytes, stride, what, &text);
        };
    };
    const auto writable = [&](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
        return check::check_rows(call.device, address, columns, bytes, stride, "cuBLAS product, operand C", &text);
    };
    const bool a_plain = call.operation_a == NotTransposed, b_plain = call.operation_b == NotTransposed;
    const bool reads = call.alpha != 0 && call.k != 0;
    return (!reads || visit(call, call.a, a_plain ? call.m : call.k, a_plain ? call.k : call.m, readable("cuBLAS product, operand A"))) &&
           (!reads || visit(call, call.b, b_plain ? call.k : call.n, b_plain ? call.n : call.k, readable("cuBLAS product, operand B"))) &&
           (call.beta == 0 || visit(call, call.c, call.m, call.n, readable("cuBLAS product, operand C"))) && visit(call, call.c, call.m, call.n, writable);
}

void run(const Call& call) {
    if (call.checked) {
        std::string text;
        if (!operands_are_sound(call, text)) return emu::fail_current(CUDA_ERROR_ILLEGAL_ADDRESS, text.c_str());
    }
    const bool a_plain = call.operation_a == NotTransposed, b_plain = call.operation_b == NotTransposed;
    const auto part = [&](std::int64_t from, std::int64_t to, float beta) {
        const auto at = [from](const Matrix& matrix, std::int64_t step) { return static_cast<const char*>(matrix.data) + from * step * size_of(element(matrix.type)); };
        const Product product{
            call.m,
            call.n,
            to - from,
            {at(call.a, a_plain ? call.a.leading : 1), element(call.a.type), a_plain ? 1 : call.a.leading, a_plain ? call.a.leading : 1},
            {at(call.b, b_plain ? 1 : call.b.leading), element(call.b.type), b_plain ? call.b.leading : 1, b_plain ? 1 : call.b.leading},
            {const_cast<void*>(call.c.data), element(call.c.type), call.c.leading, call.alpha, beta},
        };
        multiply_batch(product, call.a.stride, call.b.stride, call.c.stride, call.batch);
    };
    // What a caller allows is done: a split of the sum whose parts meet in C.
    const std::int64_t middle = call.rounds_parts && call.c.type == BFloat16Type ? call.k / 2 : 0;
    if (middle > 0) part(0, middle, call.beta);
    part(middle, call.k, middle > 0 ? 1 : call.beta);
    if (call.checked)
        visit(call, call.c, call.m, call.n, [](std::uint64_t address, std::uint64_t columns, std::uint64_t bytes, std::uint64_t stride) {
            check::mark_initialised(address, columns, bytes, stride);
            return true;
        });
}

}

Status submit(CUstream stream, Call call, const void* alpha, const void* beta, int compute) {
    if (!alpha || !beta) return InvalidValue;
    __builtin_memcpy(&call.alpha, alpha, sizeof call.alpha);
    __builtin_memcpy(&call.beta, beta, sizeof call.beta);
    if (const Status status = validate(call, compute)) return status;
    if (call.m == 0 || call.n == 0 || call.batch == 0) return Success;
    call.device = emu::current_device();
    if (call.device < 0) return NotInitialized;
    call.checked = emu::current_device_is_checked();
    return emu::enqueue(stream, "cuBLAS product", [call] { run(call); }) == CUDA_SUCCESS ? Success : ExecutionFailed;
}

}
