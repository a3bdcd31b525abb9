// The exported cuBLASLt interface, as far as a plain product needs it: names, types, attributes and status codes of CUDA 11, 12 and 13; column-major, result
// in place (D is C), factors on the host. Stricter than NVIDIA's: an algorithm is good for the shapes, the alignment and the workspace it was found for only.
#include "blas/product_call.h"

#include <algorithm>
#include <mutex>
#include <unordered_set>

using namespace blas;

constexpr int InPlaceReduction = 1, ReductionInComputeType = 2, ReductionInResultType = 4;   // CUBLASLT_REDUCTION_SCHEME_…

struct cublasLtContext {};

struct cublasLtMatmulDesc {
    int compute;
    int operation_a = NotTransposed;
    int operation_b = NotTransposed;
};

struct cublasLtMatrixLayout {
    int type;
    std::uint64_t rows;
    std::uint64_t columns;
    std::int64_t leading;
};

struct cublasLtMatmulPreference {
    std::uint64_t workspace = 0;
    std::uint32_t reductions = InPlaceReduction | ReductionInComputeType | ReductionInResultType;
    std::uint32_t alignment[4] = {256, 256, 256, 256};   // A, B, C, D
};

struct cublasLtMatmulAlgo {
    std::uint64_t data[8];
};

struct cublasLtMatmulHeuristicResult {
    cublasLtMatmulAlgo algo;
    std::size_t workspace;
    Status state;
    float waves;
    int reserved[4];
};
static_assert(sizeof(cublasLtMatmulHeuristicResult) == 96);

namespace {

constexpr int DescTransposeA = 3, DescTransposeB = 4;                    // CUBLASLT_MATMUL_DESC_…
constexpr int PreferWorkspace = 1, PreferReductions = 3, PreferAlignmentA = 5, PreferAlignmentD = 8;   // CUBLASLT_MATMUL_PREF_…
constexpr std::uint64_t WantedWorkspace = 64 << 10, WorkspaceAlignment = 16;
constexpr std::uint64_t Mark = 0x47726966666c4c74;

// The live objects of one kind: a pointer that is none of them is refused.
template <typename T>
struct Live {
    std::mutex mutex;
    std::unordered_set<const T*> objects;

    // Never destroyed: other threads may outlive main.
    static Live& all() {
        static auto* const live = new Live;
        return *live;
    }
    static int create(T** out, T* object) {
        const std::lock_guard lock(all().mutex);
        all().objects.insert(object);
        *out = object;
        return Success;
    }
    static int destroy(T* object) {
        const std::lock_guard lock(all().mutex);
        if (all().objects.erase(object) == 0) return InvalidValue;
        delete object;
        return Success;
    }
    static bool has(const T* object) {
        const std::lock_guard lock(all().mutex);
        return all().objects.count(object) != 0;
    }
};

using Handles = Live<cublasLtContext>;
using Descs = Live<cublasLtMatmulDesc>;
using Layouts = Live<cublasLtMatrixLayout>;
using Preferences = Live<cublasLtMatmulPreference>;

struct Shapes {
    const cublasLtMatmulDesc* desc;
    const cublasLtMatrixLayout* a;
    const cublasLtMatrixLayout* b;
    const cublasLtMatrixLayout* c;
    const cublasLtMatrixLayout* d;
};

bool alive(const Shapes& s) { return Descs::has(s.desc) && Layouts::has(s.a) && Layouts::has(s.b) && Layouts::has(s.c) && Layouts::has(s.d); }

Status describe(const Shapes& s, Call& call) {
    const bool a_plain = s.desc->operation_a == NotTransposed, b_plain = s.desc->operation_b == NotTransposed;
    const auto inner = a_plain ? s.a->columns : s.a->rows;
    if (inner != (b_plain ? s.b->rows : s.b->columns) || (a_plain ? s.a->rows : s.a->columns) != s.d->rows || (b_plain ? s.b->columns : s.b->rows) != s.d->columns)
        return InvalidValue;
    if (s.c->type != s.d->type || s.c->rows != s.d->rows || s.c->columns != s.d->columns || s.c->leading != s.d->leading) return NotSupported;
    call = {s.desc->operation_a,
            s.desc->operation_b,
            static_cast<std::int64_t>(s.d->rows),
            static_cast<std::int64_t>(s.d->columns),
            static_cast<std::int64_t>(inner),
            1,
            0,
            0,
            {nullptr, s.a->type, s.a->leading, 0},
            {nullptr, s.b->type, s.b->leading, 0},
            {nullptr, s.d->type, s.d->leading, 0},
            0,
            false,
            false};
    return validate(call, s.desc->compute);
}

// What an algorithm is good for.
std::uint64_t digest(const Call& call) {
    std::uint64_t hash = Mark;
    for (const std::uint64_t value : {static_cast<std::uint64_t>(call.operation_a), static_cast<std::uint64_t>(call.operation_b), static_cast<std::uint64_t>(call.m),
                                      static_cast<std::uint64_t>(call.n), static_cast<std::uint64_t>(call.k), static_cast<std::uint64_t>(call.a.type),
                                      static_cast<std::uint64_t>(call.c.type), static_cast<std::uint64_t>(call.a.leading), static_cast<std::uint64_t>(call.b.leading),
                                      static_cast<std::uint64_t>(call.c.leading)})
        hash = (hash ^ value) * 0x9e3779b97f4a7c15 + 1;
    return hash;
}

}

GRIFFIN_EXPORT int cublasLtCreate(cublasLtContext** handle) {
    if (!handle) return InvalidValue;
    *handle = nullptr;
    return emu::current_device() < 0 ? NotInitialized : Handles::create(handle, new cublasLtContext);
}

GRIFFIN_EXPORT int cublasLtDestroy(cublasLtContext* handle) { return Handles::destroy(handle); }

GRIFFIN_EXPORT std::size_t cublasLtGetVersion() { return Version; }

GRIFFIN_EXPORT int cublasLtMatmulDescCreate(cublasLtMatmulDesc** desc, int compute, int scale_type) {
    if (!desc || scale_type != Float32Type) return InvalidValue;
    return Descs::create(desc, new cublasLtMatmulDesc{compute});
}

GRIFFIN_EXPORT int cublasLtMatmulDescDestroy(cublasLtMatmulDesc* desc) { return Descs::destroy(desc); }

GRIFFIN_EXPORT int cublasLtMatmulDescSetAttribute(cublasLtMatmulDesc* desc, int attribute, const void* value, std::size_t bytes) {
    if (!Descs::has(desc) || !value) return InvalidValue;
    if (attribute != DescTransposeA && attribute != DescTransposeB) return NotSupported;
    if (bytes != sizeof(std::int32_t)) return InvalidValue;
    __builtin_memcpy(attribute == DescTransposeA ? &desc->operation_a : &desc->operation_b, value, bytes);
    return Success;
}

GRIFFIN_EXPORT int cublasLtMatrixLayoutCreate(cublasLtMatrixLayout** layout, int type, std::uint64_t rows, std::uint64_t columns, std::int64_t leading) {
    if (!layout) return InvalidValue;
    return Layouts::create(layout, new cublasLtMatrixLayout{type, rows, columns, leading});
}

GRIFFIN_EXPORT int cublasLtMatrixLayoutDestroy(cublasLtMatrixLayout* layout) { return Layouts::destroy(layout); }

GRIFFIN_EXPORT int cublasLtMatmulPreferenceCreate(cublasLtMatmulPreference** preference) {
    if (!preference) return InvalidValue;
    return Preferences::create(preference, new cublasLtMatmulPreference);
}

GRIFFIN_EXPORT int cublasLtMatmulPreferenceDestroy(cublasLtMatmulPreference* preference) { return Preferences::destroy(preference); }

GRIFFIN_EXPORT int cublasLtMatmulPreferenceSetAttribute(cublasLtMatmulPreference* preference, int attribute, const void* value, std::size_t bytes) {
    if (!Preferences::has(preference) || !value) return InvalidValue;
    if (attribute == PreferWorkspace && bytes == sizeof preference->workspace) {
        __builtin_memcpy(&preference->workspace, value, bytes);
        return Success;
    }
    if (attribute != PreferReductions && (attribute < PreferAlignmentA || attribute > PreferAlignmentD)) return NotSupported;
    if (bytes != sizeof preference->alignment[0]) return InvalidValue;
    __builtin_memcpy(attribute == PreferReductions ? &preference->reductions : &preference->alignment[attribute - PreferAlignmentA], value, bytes);
    return Success;
}

GRIFFIN_EXPORT int cublasLtMatmulAlgoGetHeuristic(cublasLtContext* handle, const cublasLtMatmulDesc* desc, const cublasLtMatrixLayout* a, const cublasLtMatrixLayout* b,
                                                  const cublasLtMatrixLayout* c, const cublasLtMatrixLayout* d, const cublasLtMatmulPreference* preference, int wanted,
                                                  cublasLtMatmulHeuristicResult* results, int* found) {
    const Shapes shapes{desc, a, b, c, d};
    if (!Handles::has(handle)) return NotInitialized;
    if (!alive(shapes) || !Preferences::has(preference) || wanted < 1 || !results || !found) return InvalidValue;
    *found = 0;
    Call call;
    if (const Status status = describe(shapes, call)) return status;
    const std::uint64_t workspace = std::min(preference->workspace, WantedWorkspace);
    const std::uint32_t* const alignment = preference->alignment;
    results[0] = {{{Mark, digest(call), workspace, alignment[0], alignment[1], alignment[2], alignment[3], preference->reductions}}, workspace, Success, 1, {}};
    *found = 1;
    return Success;
}

GRIFFIN_EXPORT int cublasLtMatmul(cublasLtContext* handle, const cublasLtMatmulDesc* desc, const void* alpha, const void* a, const cublasLtMatrixLayout* a_layout,
                                  const void* b, const cublasLtMatrixLayout* b_layout, const void* beta, const void* c, const cublasLtMatrixLayout* c_layout, void* d,
                                  const cublasLtMatrixLayout* d_layout, const cublasLtMatmulAlgo* algo, void* workspace, std::size_t workspace_bytes, CUstream stream) {
    const Shapes shapes{desc, a_layout, b_layout, c_layout, d_layout};
    if (!Handles::has(handle)) return NotInitialized;
    if (!alive(shapes)) return InvalidValue;
    Call call;
    if (const Status status = describe(shapes, call)) return status;
    if (c != d) return NotSupported;
    if (!algo || algo->data[0] != Mark || algo->data[1] != digest(call) || workspace_bytes < algo->data[2]) return InvalidValue;
    if (algo->data[2] > 0 && (!workspace || reinterpret_cast<std::uint64_t>(workspace) % WorkspaceAlignment != 0)) return InvalidValue;
    const void* const operands[] = {a, b, c, d};
    for (int i = 0; i < 4; ++i)
        if (reinterpret_cast<std::uint64_t>(operands[i]) % std::max<std::uint64_t>(1, algo->data[3 + i]) != 0) return InvalidValue;
    call.a.data = a;
    call.b.data = b;
    call.c.data = d;
    call.rounds_parts = (algo->data[7] & (InPlaceReduction | ReductionInResultType)) != 0;
    return submit(stream, call, alpha, beta, desc->compute);
}
