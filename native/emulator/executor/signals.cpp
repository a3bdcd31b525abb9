#include "executor/signals.h"

#include "executor/block_runner.h"

#include <csignal>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <ucontext.h>

namespace emu {

namespace {

struct Chained { int number; struct sigaction previous; };
Chained chained[] = {{SIGSEGV, {}}, {SIGBUS, {}}, {SIGFPE, {}}};

struct Caught { int number; int code; void* address; void* pc; };
__thread Caught caught;

// Runs on the thread's own stack after the handler has returned, where it may allocate and start programs.
[[noreturn]] void report() {
    BlockRunner& runner = *BlockRunner::current();
    const Caught fault = caught;
    const void* site = static_cast<char*>(fault.pc) + 1; // sites are return addresses
    char address[32];
    snprintf(address, sizeof(address), "0x%llx", static_cast<unsigned long long>(reinterpret_cast<uintptr_t>(fault.address)));
    if (fault.number == SIGFPE) runner.fail(CUDA_ERROR_LAUNCH_FAILED, "integer division by zero", site);
    if (runner.is_stack_guard(fault.address)) runner.fail(CUDA_ERROR_LAUNCH_FAILED, "a thread's local memory is exhausted", site);
    if (fault.code == SI_KERNEL)
        runner.fail(CUDA_ERROR_MISALIGNED_ADDRESS, "misaligned vector access, or an address that is not canonical", site);
    runner.fail(CUDA_ERROR_ILLEGAL_ADDRESS, std::string("illegal access to address ") + address, site);
}

void on_signal(int number, siginfo_t* info, void* raw_context) {
    BlockRunner* runner = BlockRunner::current();
    auto* context = static_cast<ucontext_t*>(raw_context);
    if (runner && runner->in_kernel()) {
        auto* registers = context->uc_mcontext.gregs;
        caught = {number, info->si_code, info->si_addr, reinterpret_cast<void*>(registers[REG_RIP])};
        uintptr_t stack = (reinterpret_cast<uintptr_t>(runner->main_stack_pointer()) - 512) & ~uintptr_t{15};
        registers[REG_RSP] = static_cast<greg_t>(stack - 8);
        registers[REG_RIP] = reinterpret_cast<greg_t>(&report);
        return;
    }
    for (const Chained& entry : chained) {
        if (entry.number != number) continue;
        if (entry.previous.sa_flags & SA_SIGINFO) {
            entry.previous.sa_sigaction(number, info, raw_context);
        } else if (entry.previous.sa_handler == SIG_DFL) {
            signal(number, SIG_DFL); // the faulting instruction runs again and ends the process
        } else if (entry.previous.sa_handler != SIG_IGN) {
            entry.previous.sa_handler(number);
        }
    }
}

void install_process_handler() {
    for (Chained& entry : chained) {
        sigaction(entry.number, nullptr, &entry.previous);
        // Handlers behind ours run under the conditions that they asked for: .NET dispatches exceptions of SIGFPE on the stack that
        // failed, which an alternate stack has no room for. An exhausted stack (SIGSEGV) needs the alternate one.
        struct sigaction action = entry.previous;
        action.sa_sigaction = &on_signal;
        action.sa_flags |= SA_SIGINFO;
        action.sa_flags &= ~static_cast<int>(SA_RESETHAND);
        if (entry.number == SIGSEGV) action.sa_flags |= SA_ONSTACK;
        sigaction(entry.number, &action, nullptr);
    }
}

struct AlternateStack {
    static constexpr size_t kBytes = 64 * 1024;
    std::unique_ptr<char[]> memory;

    AlternateStack() {
        stack_t present{};
        if (sigaltstack(nullptr, &present) == 0 && !(present.ss_flags & SS_DISABLE)) return;
        memory.reset(new char[kBytes]);
        stack_t ours{};
        ours.ss_sp = memory.get();
        ours.ss_size = kBytes;
        sigaltstack(&ours, nullptr);
    }

    ~AlternateStack() {
        if (!memory) return;
        stack_t off{};
        off.ss_flags = SS_DISABLE;
        sigaltstack(&off, nullptr);
    }
};

} // namespace

void install_signal_handler() {
    static std::once_flag once;
    std::call_once(once, install_process_handler);
    thread_local AlternateStack stack;
    (void)stack;
}

} // namespace emu
