#include "executor/block_runner.h"

#include "check/hooks.h"
#include "core/random.h"
#include "executor/fault.h"
#include "executor/signals.h"

#include <cstdlib>
#include <cstring>
#include <memory>
#include <sys/mman.h>
#include <thread>

__thread EmuThread* emu_current;
__thread EmuBlock* emu_block;

namespace emu {

namespace {
__thread BlockRunner* running;

// Offset of the first shared array in the worker's arena, and the alignment of the dynamic one.
constexpr unsigned kSharedAlignment = 256;

constexpr std::chrono::seconds kLongestWait{10};
// Pauses further apart belong to different waits.
constexpr std::chrono::seconds kForgottenPause{2};
} // namespace

BlockRunner::BlockRunner() {
    void* memory = mmap(nullptr, kMaxThreads * sizeof(EmuThread), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (memory == MAP_FAILED) abort();
    _threads = static_cast<EmuThread*>(memory);
    for (unsigned i = 0; i < kMaxThreads; ++i) _threads[i].linear = i;
    _block.threads = _threads;
    _checker = check::create_worker();
}

BlockRunner::~BlockRunner() {
    check::destroy_worker(_checker);
    munmap(_threads, kMaxThreads * sizeof(EmuThread));
}

BlockRunner& BlockRunner::of_this_thread() {
    // On the heap: a library with initial-exec variables keeps all of its thread storage in the static block, and a loader has
    // little of that to give.
    thread_local const std::unique_ptr<BlockRunner> runner = std::make_unique<BlockRunner>();
    return *runner;
}

BlockRunner* BlockRunner::current() { return running; }

void BlockRunner::shape_threads(EmuDim shape) {
    if (shape.x == _shape.x && shape.y == _shape.y && shape.z == _shape.z) return;
    _shape = shape;
    unsigned linear = 0;
    for (unsigned z = 0; z < shape.z; ++z)
        for (unsigned y = 0; y < shape.y; ++y)
            for (unsigned x = 0; x < shape.x; ++x) _threads[linear++].index = {x, y, z};
}

// The order in which threads start: as numbered, or (checked) a permutation by seed.
void BlockRunner::order_threads(unsigned long long linear_block) {
    if (!_order) _order.reset(new unsigned[kMaxThreads]);
    Random random(_launch->seed ^ (linear_block * 0x9E3779B97F4A7C15ull));
    for (unsigned i = 0; i < _block.count; ++i) {
        unsigned j = _launch->checked ? static_cast<unsigned>(random.below(i + 1)) : i;
        _order[i] = _order[j];
        _order[j] = i;
    }
    _block.order = _order.get();
}

void BlockRunner::begin(const LaunchRequest& launch, check::Launch* checks, LaunchFault& fault) {
    _launch = &launch;
    _checks = checks;
    _fault = &fault;
    _watched = launch.instrumented;
    shape_threads(launch.block);
    _block.block_dim = launch.block;
    _block.grid_dim = launch.grid;
    _block.count = launch.block.x * launch.block.y * launch.block.z;
    _block.order = nullptr;
    unsigned char* shared = check::shared_arena(_checker) + kSharedAlignment;
    unsigned static_end = launch.shared_storage_bytes + check::kSharedGuardBytes;
    _block.static_shared = shared;
    _block.dynamic_shared = shared + (static_end + kSharedAlignment - 1) / kSharedAlignment * kSharedAlignment;
    install_signal_handler();
    if (_watched) check::use_worker(_checker);
    emu_block = &_block;
    running = this;
}

void BlockRunner::end() {
    if (_watched) check::use_worker(nullptr);
    running = nullptr;
    emu_block = nullptr;
    emu_current = nullptr;
}

void BlockRunner::run_block(unsigned long long linear_block) {
    const EmuDim grid = _launch->grid;
    _block.index = {static_cast<unsigned>(linear_block % grid.x), static_cast<unsigned>(linear_block / grid.x % grid.y),
                    static_cast<unsigned>(linear_block / grid.x / grid.y)};
    _block.next = 0;
    _block.ready = 0;
    _parked = 0;
    _ready_head = _ready_tail = 0;
    _barrier.arrived = 0;
    _last_pause = {};
    if (_watched) {
        order_threads(linear_block);
        announce_block();
    }
    _fibre = _fibres.take();
    _in_kernel = true;
    emu_switch(&_main_stack_pointer, FibrePool::prepare(_fibre, &fibre_entry));
    _in_kernel = false;
    if (_fault->raised.load(std::memory_order_relaxed)) {
        memset(_warp_arrived, 0, sizeof(_warp_arrived));
        for (unsigned i = 0; i < _block.count; ++i) _threads[i].wait = static_cast<unsigned>(Wait::None);
        _fibres.release_all();
    } else {
        _fibres.release(_fibre);
    }
    forget_block();
    if (_watched) check::end_block(_checker);
}

void BlockRunner::run_block(unsigned long long linear_block, Cluster& cluster, unsigned rank) {
    _cluster = &cluster;
    _cluster_rank = rank;
    _cluster_met = false;
    cluster.enter(rank, *this);
    if (!_fault->raised.load(std::memory_order_acquire)) run_block(linear_block);
    cluster.leave(rank);
    _cluster = nullptr;
    _cluster_rank = 0;
}

void BlockRunner::cluster_sync(const void* site) {
    block_rendezvous(nullptr, _watched ? [](void* const*, int) { check::cluster_arrived(running->_checker); } : EmuBlockStep{}, site);
    if (!_cluster) return;
    if (emu_current->linear == 0) {
        const unsigned phase = _cluster->arrive();
        while (!_cluster->passed(phase)) pause(site);
        _cluster_met = true;
    }
    block_rendezvous(nullptr, nullptr, site);
}

void BlockRunner::cluster_read(const void* own, unsigned rank, void* to, unsigned bytes, const void* site) {
    const unsigned size = _cluster ? _cluster->size() : 1;
    if (rank >= size)
        fail(CUDA_ERROR_ILLEGAL_ADDRESS, "reads shared memory of block " + std::to_string(rank) + " of a cluster of " + std::to_string(size), site);
    const auto refuse = [&](const char* why) {
        fail(CUDA_ERROR_ILLEGAL_ADDRESS, "reads shared memory of block " + std::to_string(rank) + " of its cluster, " + why, site);
    };
    // Whether the other has begun by now is chance: a block that has met no other must not ask.
    if (rank != _cluster_rank && !_cluster_met) refuse("which may not have begun: no barrier of the cluster lies before");
    BlockRunner* const other = rank == _cluster_rank ? this : _cluster->block(rank);
    if (!other) refuse("which has ended: no barrier of the cluster lies after");
    const auto offset = static_cast<const unsigned char*>(own) - check::shared_arena(_checker);
    if (_watched) check::cluster_read(_checker, other->_checker, static_cast<std::uint64_t>(offset), bytes, site);
    memcpy(to, check::shared_arena(other->_checker) + offset, bytes);
}

void BlockRunner::forget_block() {
    _async.reset();
    _bulk.reset();
    _mbarriers.reset();
    _named.reset();
    _products.reset();
    memset(_registers, 0, sizeof(_registers));
}

void BlockRunner::set_registers(unsigned registers) { _registers[emu_current->linear / WarpgroupProducts::kThreads] = registers; }

// Warpgroups that wait for registers which the others do not give wait for ever on a GPU. A launch gives each thread the same share of 65536, in eights.
void BlockRunner::check_registers() {
    const unsigned warpgroups = _block.count / WarpgroupProducts::kThreads;
    if (warpgroups == 0) return;
    const unsigned share = 65536 / _block.count / 8 * 8;
    unsigned taken = 0;
    for (unsigned i = 0; i < warpgroups; ++i) taken += _registers[i] ? _registers[i] : share;
    if (taken > share * warpgroups)
        fail(CUDA_ERROR_LAUNCH_FAILED, "the warpgroups of a block of " + std::to_string(_block.count) + " threads want " + std::to_string(taken) +
                                           " registers in sum where its launch gives " + std::to_string(share * warpgroups), nullptr);
}

void BlockRunner::announce_block() {
    check::begin_block(_checker, _checks, {_block.index.x, _block.index.y, _block.index.z});
    for (const SharedSlot& slot : *_launch->shared_slots)
        check::add_shared_array(_checker, _block.static_shared + slot.offset, slot.bytes, slot.name.c_str());
    if (_launch->dynamic_shared_bytes)
        check::add_shared_array(_checker, _block.dynamic_shared, _launch->dynamic_shared_bytes, "dynamic shared memory");
}

void BlockRunner::fibre_entry() {
    const LaunchRequest& launch = *running->_launch;
    launch.run(launch.parameters);
}

EmuThread* BlockRunner::take_ready() {
    --_block.ready;
    if (_launch->checked) {
        // Any of the waiting threads may be the next one to go on.
        unsigned waiting = _ready_tail - _ready_head;
        unsigned pick = _ready_head + static_cast<unsigned>((_launch->seed ^ _ready_tail * 0x9E3779B97F4A7C15ull) % waiting);
        std::swap(_ready[_ready_head % kMaxThreads], _ready[pick % kMaxThreads]);
    }
    return &_threads[_ready[_ready_head++ % kMaxThreads]];
}

// Bulk copies that others wait for land when nothing else can go on. True when somebody can now.
bool BlockRunner::land_waited_copies() {
    while (!_block.ready && _bulk.land_waited()) {}
    return _block.ready != 0;
}

// Chooses what runs next on this operating-system thread: a parked thread that may go on, else threads not started yet.
void* BlockRunner::next_stack_pointer() {
    if (!_block.ready && _block.next == _block.count) land_waited_copies();
    if (_block.ready) {
        EmuThread* thread = take_ready();
        --_parked;
        thread->wait = static_cast<unsigned>(Wait::None);
        _fibre = static_cast<Fibre*>(thread->fibre);
        emu_current = thread;
        if (_watched) check::set_thread(_checker, thread->linear);
        return thread->stack_pointer;
    }
    if (_block.next != _block.count) {
        _fibre = _fibres.take();
        return FibrePool::prepare(_fibre, &fibre_entry);
    }
    return nullptr;
}

void BlockRunner::park(EmuThread* self) {
    self->fibre = _fibre;
    ++_parked;
    void* next = next_stack_pointer();
    if (!next) fail_deadlock();
    emu_switch(&self->stack_pointer, next);
}

void BlockRunner::suspend(Wait wait, unsigned number, const void* site) {
    EmuThread* self = emu_current;
    self->site = site;
    self->wait = static_cast<unsigned>(wait);
    self->mask = number;
    park(self);
}

void BlockRunner::thread_ended() {
    _fibres.release(_fibre);
    emu_jump(next_stack_pointer());
}

void BlockRunner::threads_exhausted() {
    if (_block.ready || land_waited_copies()) thread_ended();
    if (_parked) fail_deadlock();
    if (_watched) check_registers();
    if (_watched && _bulk.under_way()) fail(CUDA_ERROR_LAUNCH_FAILED, "the block has ended, and nobody has waited for a bulk copy", nullptr);
    if (_watched && _products.under_way()) fail(CUDA_ERROR_LAUNCH_FAILED, "the block has ended, and nobody has waited for a product of a warpgroup", nullptr);
    emu_jump(_main_stack_pointer);
}

void BlockRunner::block_rendezvous(void* operands, EmuBlockStep step, const void* site) {
    EmuThread* self = emu_current;
    self->site = site;
    if (_barrier.arrived == 0) {
        _barrier.step = step;
        _barrier.site = site;
    } else if (_barrier.step != step || (_barrier.site != site && _launch->checked && !same_site(_barrier.site, site))) {
        for (unsigned i = 0; i < _block.count; ++i)
            if (_threads[i].wait == static_cast<unsigned>(Wait::Block)) fail_divergence(*self, _threads[i], "barrier", site);
    }
    _operands[self->linear] = operands;
    if (++_barrier.arrived < _block.count) {
        self->wait = static_cast<unsigned>(Wait::Block);
        park(self);
        return;
    }
    _barrier.arrived = 0;
    if (_watched) {
        check::barrier_passed(_checker);
        check::begin_step(_checker);
    }
    if (step) step(_operands, static_cast<int>(_block.count));
    if (_watched) check::end_step(_checker, true);
    for (unsigned i = 0; i < _block.count; ++i)
        if (&_threads[i] != self) make_ready(&_threads[i]);
}

unsigned BlockRunner::existing_lanes(unsigned warp) const {
    unsigned lanes = _block.count - warp * 32;
    return lanes >= 32 ? 0xFFFFFFFFu : (1u << lanes) - 1;
}

void BlockRunner::warp_rendezvous(unsigned mask, void* operands, EmuWarpStep step, const void* site) {
    EmuThread* self = emu_current;
    const unsigned warp = self->linear / 32, lane = self->linear % 32;
    mask &= existing_lanes(warp);
    self->site = site;
    if (!(mask >> lane & 1)) fail(CUDA_ERROR_LAUNCH_FAILED, "a warp operation is executed by a lane that its mask does not name", site);
    unsigned& arrived = _warp_arrived[warp];
    // Every lane that waits already and that either side names must be waiting for this very operation.
    EmuThread* lanes = &_threads[warp * 32];
    for (unsigned others = arrived; others; others &= others - 1) {
        unsigned other = static_cast<unsigned>(__builtin_ctz(others));
        bool related = (mask >> other & 1) || (lanes[other].mask >> lane & 1);
        if (!related) continue;
        bool same = lanes[other].mask == mask && _warp_steps[warp * 32 + other] == step &&
                    (lanes[other].site == site || !_launch->checked || same_site(lanes[other].site, site));
        if (!same) fail_divergence(*self, lanes[other], "warp operation", site);
        if (!_launch->checked) break;
    }
    self->operands = operands;
    self->mask = mask;
    _warp_steps[self->linear] = step;
    arrived |= 1u << lane;
    if ((arrived & mask) != mask) {
        self->wait = static_cast<unsigned>(Wait::Warp);
        park(self);
        return;
    }
    arrived &= ~mask;
    if (_watched) check::begin_step(_checker);
    if (step) {
        void* posted[32];
        for (unsigned i = 0; i < 32; ++i) posted[i] = mask >> i & 1 ? lanes[i].operands : nullptr;
        step(posted, mask);
    }
    if (_watched) {
        check::end_step(_checker, false);
        check::warp_met(_checker, warp, mask, true);
    }
    for (unsigned others = mask & ~(1u << lane); others; others &= others - 1) make_ready(&lanes[__builtin_ctz(others)]);
}

void BlockRunner::pause(const void* site) {
    if (_fault->raised.load(std::memory_order_acquire)) emu_jump(_main_stack_pointer);
    const auto now = std::chrono::steady_clock::now();
    if (now - _last_pause > kForgottenPause) _waiting_since = now;
    _last_pause = now;
    if (!_launch->cooperative && now - _waiting_since > kLongestWait)
        fail(CUDA_ERROR_LAUNCH_TIMEOUT, "has waited 10 seconds for other blocks: on a GPU, too, a block may wait only for blocks that are known to have begun", site);
    std::this_thread::yield();
}

void BlockRunner::fail(CUresult code, const std::string& text, const void* site) {
    std::string where = std::string("kernel ") + _launch->kernel + ", block " + describe_dim(_block.index);
    if (emu_current) where += ", thread " + describe_dim(emu_current->index);
    const std::string line = check::source_line(site);
    if (!line.empty()) where += ", " + line;
    abandon(code, where + ": " + text);
}

void BlockRunner::abandon(CUresult code, const std::string& text) {
    {
        std::lock_guard<std::mutex> lock(_fault->mutex);
        if (!_fault->raised.load(std::memory_order_relaxed)) {
            _fault->code = code;
            _fault->text = text;
            _fault->raised.store(true, std::memory_order_release);
        }
    }
    emu_jump(_main_stack_pointer);
}

} // namespace emu
