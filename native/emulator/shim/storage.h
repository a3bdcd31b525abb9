// Shared memory and the registry of a module's kernels: the targets of the text that the emulated NVRTC rewrites and appends.
#pragma once

namespace emu {

// One slot of the block's static shared memory per declaration and instantiation: the tag is a local class of the declaring function.
template <class Tag, class T, unsigned Alignment> struct SharedSlot {
    static const unsigned offset;
};
template <class Tag, class T, unsigned Alignment> const unsigned SharedSlot<Tag, T, Alignment>::offset =
    emu_register_shared(sizeof(T), Alignment > alignof(T) ? Alignment : alignof(T), Tag::name(), Tag::kernel(), Tag::function());

template <class Tag, class T, unsigned Alignment> EMU_INLINE T& shared() {
    return *reinterpret_cast<T*>(emu_own(emu_own(emu_block)->static_shared) + emu_own(SharedSlot<Tag, T, Alignment>::offset));
}

// Dynamic shared memory declared at namespace scope.
template <class T> struct DynamicShared {
    EMU_INLINE operator T*() const { return reinterpret_cast<T*>(emu_own(emu_own(emu_block)->dynamic_shared)); }
};

template <class T> struct RemoveConst { using Type = T; };
template <class T> struct RemoveConst<const T> { using Type = T; };

template <class... A> struct Parameters {
    static constexpr unsigned align_up(unsigned offset, unsigned alignment) { return (offset + alignment - 1) / alignment * alignment; }
    struct Layout {
        EmuParameter items[sizeof...(A) + 1];
    };
    static constexpr Layout make() {
        const unsigned sizes[] = {sizeof(A)..., 0}, alignments[] = {alignof(A)..., 1};
        Layout layout{};
        unsigned offset = 0;
        for (unsigned i = 0; i < sizeof...(A); ++i) {
            offset = align_up(offset, alignments[i]);
            layout.items[i] = {offset, sizes[i]};
            offset += sizes[i];
        }
        return layout;
    }
    static constexpr Layout layout = make();
};

template <unsigned... I> struct Indices {};
template <unsigned N, unsigned... I> struct MakeIndices : MakeIndices<N - 1, N - 1, I...> {};
template <unsigned... I> struct MakeIndices<0, I...> { using Type = Indices<I...>; };

// Runs the block's threads one after another; a thread that parks leaves the rest to another fibre, which calls this again.
template <auto K> struct Kernel;
template <class... A, void (*K)(A...)> struct Kernel<K> {
    static constexpr unsigned parameter_count = sizeof...(A);
    static constexpr const EmuParameter* parameters = Parameters<A...>::layout.items;

    // The executor's own loop is not part of the kernel: its accesses are not reported.
    EMU_NOT_INSTRUMENTED static void run(void* const* arguments) { run_threads(typename MakeIndices<sizeof...(A)>::Type{}, arguments); }

    template <unsigned... I> EMU_NOT_INSTRUMENTED static void run_threads(Indices<I...>, [[maybe_unused]] void* const* arguments) {
        loop(*static_cast<const typename RemoveConst<A>::Type*>(arguments[I])...);
    }

    EMU_NOT_INSTRUMENTED static void loop(A... arguments) {
        EmuBlock* block = emu_block;
        while (block->next != block->count) {
#if defined(GRIFFIN_CHECKED)
            emu_current = block->threads + block->order[block->next++];
            emu_thread_started();
#else
            emu_current = block->threads + block->next++;
#endif
            K(arguments...);
            if (__builtin_expect(block->ready != 0, 0)) emu_resume_ready();
        }
        emu_threads_exhausted();
    }
};

} // namespace emu
