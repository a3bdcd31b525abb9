#include "check/poison.h"

#include <algorithm>
#include <cstring>
#include <sys/mman.h>
#include <unistd.h>

namespace check {

namespace {

constexpr std::uint64_t kPage = 4096;
constexpr std::uint64_t kFileBytes = std::uint64_t{16} << 20;   // larger ranges map it repeatedly

// The file, filled as far as anybody needed it so far.
int filled_file(std::uint64_t bytes) {
    static int file = -1;
    static std::uint64_t filled = 0;
    if (file < 0) {
        file = memfd_create("griffin-poison", MFD_CLOEXEC);
        if (file < 0 || ftruncate(file, kFileBytes) != 0) return -1;
    }
    unsigned char page[kPage];
    memset(page, 0xFF, sizeof(page));
    for (; filled < std::min(bytes, kFileBytes); filled += kPage)
        if (pwrite(file, page, kPage, static_cast<off_t>(filled)) != static_cast<ssize_t>(kPage)) return -1;
    return file;
}

} // namespace

bool map_poisoned(std::uint64_t address, std::uint64_t bytes) {
    const int file = filled_file(bytes);
    if (file < 0) return false;
    for (std::uint64_t done = 0; done < bytes; done += kFileBytes) {
        void* const part = reinterpret_cast<void*>(address + done);
        const std::uint64_t part_bytes = std::min(kFileBytes, bytes - done);
        if (mmap(part, part_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_NORESERVE | MAP_FIXED, file, 0) == MAP_FAILED) return false;
    }
    return true;
}

} // namespace check
