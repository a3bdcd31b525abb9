// Host memory that copies may touch after the call that asked for them returned.
#pragma once

#include <cstddef>

namespace emu {

void* allocate_pinned(size_t bytes);
bool free_pinned(void* memory);
bool register_pinned(void* memory, size_t bytes);
bool unregister_pinned(void* memory);
bool is_pinned(const void* memory, size_t bytes);

} // namespace emu
