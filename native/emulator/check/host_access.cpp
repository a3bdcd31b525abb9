// Accesses to device memory by the host side of the emulator: copies, fills, products.
#include "check/arena.h"

#include <cstring>

namespace check {

namespace {

bool is_checked(u64 address) {
    Allocation allocation;
    return find_allocation(address, &allocation) && allocation.checked;
}

} // namespace

bool check_rows(int device, u64 address, u64 rows, u64 row_bytes, u64 stride, const char* what, std::string* text) {
    if (rows == 0 || row_bytes == 0) return true;
    const u64 bytes = (rows - 1) * stride + row_bytes;
    Allocation allocation;
    if (find_allocation(address, &allocation) && bytes <= allocation.bytes - (address - allocation.address)) {
        if (allocation.device == device) return true;
        *text = std::string(what) + " of " + bytes_text(bytes) + ": " + describe_range(address, bytes) + " of another device";
        return false;
    }
    *text = std::string(what) + " of " + bytes_text(bytes) + ": " + describe_range(address, bytes);
    return false;
}

bool check_rows_initialised(int device, u64 address, u64 rows, u64 row_bytes, u64 stride, const char* what, std::string* text) {
    if (!check_rows(device, address, rows, row_bytes, stride, what, text)) return false;
    if (!is_checked(address)) return true;
    for (u64 row = 0; row < rows; ++row) {
        const u8* written = shadow_of(address + row * stride);
        const void* first = memchr(written, 0, row_bytes);
        if (first == nullptr) continue;
        const u64 column = static_cast<u64>(static_cast<const u8*>(first) - written);
        *text = std::string(what) + " was never written: byte " + std::to_string(column) + " of row " + std::to_string(row) + ", " +
                describe_range(address + row * stride + column, 1);
        return false;
    }
    return true;
}

void mark_initialised(u64 address, u64 rows, u64 row_bytes, u64 stride) {
    if (!is_checked(address)) return;
    for (u64 row = 0; row < rows; ++row) memset(shadow_of(address + row * stride), kWritten, row_bytes);
}

void copy_initialised(u64 destination, u64 source, u64 bytes) {
    if (!is_checked(destination)) return;
    if (is_checked(source)) memmove(shadow_of(destination), shadow_of(source), bytes);
    else memset(shadow_of(destination), kWritten, bytes);
}

} // namespace check
