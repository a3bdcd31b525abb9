// Pages that read 0xFF (NaN in every floating-point format) until they are written, and cost nothing until then.
#pragma once

#include <cstdint>

namespace check {

// A file of 0xFF, mapped copy-on-write over the pages; false when the system has no memory or no mappings left. Calls must not overlap.
bool map_poisoned(std::uint64_t address, std::uint64_t bytes);

} // namespace check
