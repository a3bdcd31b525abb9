// cp.async: copies that land only when their thread waits for them.
#pragma once

#include "shim/abi.h"

#include <vector>

namespace emu {

class AsyncCopies {
public:
    void issue(const EmuThread& thread, void* destination, const void* source, unsigned bytes, unsigned valid_bytes, const void* site);
    void commit(const EmuThread& thread);
    void wait(const EmuThread& thread, int groups_left);
    // Forgets what the threads of the last block left behind.
    void reset();

private:
    struct Copy {
        unsigned char* destination;
        const unsigned char* source;
        unsigned bytes, valid_bytes, group;
    };
    struct Queue {
        std::vector<Copy> pending;
        unsigned landed = 0;     // copies at the front that have landed
        unsigned group = 0;      // number of the open group
    };

    Queue& queue_of(const EmuThread& thread);
    static void land(const EmuThread& thread, const Copy& copy);

    std::vector<Queue> _queues;
    bool _used = false;
};

} // namespace emu
