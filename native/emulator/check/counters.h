/* Access counters of a device opened with count_accesses: one record per finished launch. Plain C, fixed widths, mirrored in managed
   code. */
#pragma once

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum { GRIFFIN_EMU_RECORD_ALLOCATIONS = 24, GRIFFIN_EMU_RECORD_NAME = 256 };

/* What one launch did to one allocation of device memory. A sector is 32 bytes, aligned; a request is one instruction of one warp. */
typedef struct {
    uint64_t address, bytes;                                /* the allocation */
    uint64_t bytes_read, bytes_written;                     /* requested by all threads; an atomic counts as both */
    uint64_t request_sectors_read, request_sectors_written; /* distinct sectors of each warp request, summed over the requests */
    uint64_t sectors_read, sectors_written;                 /* distinct sectors of the whole launch */
} GriffinEmuAllocationRecord;                               /* 64 bytes */

typedef struct {
    char kernel[GRIFFIN_EMU_RECORD_NAME];        /* the name expression, cut to fit, ends in 0 */
    uint32_t grid[3], block[3];
    uint32_t dynamic_shared_bytes;
    uint32_t allocation_count;                   /* allocations touched; those with the lowest addresses are below */
    uint64_t shared_bytes_read, shared_bytes_written;
    uint64_t bank_conflicts;                     /* shared-memory passes beyond the first, summed over the requests */
    uint64_t barriers;                           /* block-wide barriers passed, summed over the blocks */
    uint64_t matrix_multiply_adds;
    GriffinEmuAllocationRecord allocations[GRIFFIN_EMU_RECORD_ALLOCATIONS];
} GriffinEmuLaunchRecord;                        /* 1864 bytes */

/* Takes up to max records of the device (an ordinal of griffinEmuAddDevice), oldest first, and forgets them; returns how many. With
   records null: how many wait. Synchronise first: work that has not run has no record. */
int griffinEmuCountersTake(int device, GriffinEmuLaunchRecord* records, int max);

#ifdef __cplusplus
}
#endif
