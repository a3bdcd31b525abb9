#include "check/ordering.h"

#include <algorithm>

namespace check {

namespace {

void join(u32* clock, const u32* other, u32 threads) {
    for (u32 i = 0; i < threads; ++i) clock[i] = std::max(clock[i], other[i]);
}

} // namespace

void Ordering::start_block(u32 threads) {
    active_ = false;
    threads_ = threads;
}

void Ordering::use() {
    if (active_) return;
    active_ = true;
    forget();
}

void Ordering::forget() {
    if (!active_) return;
    clocks_.assign(static_cast<size_t>(threads_) * threads_, 0);
    objects_.clear();
}

void Ordering::release(u64 object, u32 thread, u32 time) {
    use();
    Object& held = objects_[object];
    held.gathering.resize(threads_);
    clock(thread)[thread] = time;
    join(held.gathering.data(), clock(thread), threads_);
}

// What was gathered for earlier phases stays: an arrival comes after those of the phase before.
void Ordering::complete_phase(u64 object) {
    use();
    Object& held = objects_[object];
    held.gathering.resize(threads_);
    held.completed = held.gathering;
}

void Ordering::acquire(u64 object, u32 thread) {
    use();
    const Object& held = objects_[object];
    if (!held.completed.empty()) join(clock(thread), held.completed.data(), threads_);
}

void Ordering::begin_product(u32 reader, u32 first, u32 threads) {
    if (!active_) return;
    u32* seen = clock(reader);
    std::fill(seen, seen + threads_, ~0u);
    for (u32 thread = first; thread < first + threads; ++thread) {
        const u32* own = clock(thread);
        for (u32 i = 0; i < threads_; ++i)
            if (i != thread) seen[i] = std::min(seen[i], own[i]);
    }
}

void Ordering::see(u32 thread, u32 other, u32 time) {
    use();
    clock(thread)[other] = time;
}

void Ordering::join_warp(u32 warp, u32 time) {
    if (!active_) return;
    const u32 first = warp * 32, last = std::min(first + 32, threads_);
    for (u32 thread = first + 1; thread < last; ++thread) join(clock(first), clock(thread), threads_);
    std::fill(clock(first) + first, clock(first) + last, time);
    for (u32 thread = first + 1; thread < last; ++thread) std::copy(clock(first), clock(first) + threads_, clock(thread));
}

} // namespace check
