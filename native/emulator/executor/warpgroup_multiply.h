// The arithmetic of one m64nNk16 step.
#pragma once

namespace emu {

// sums[row][column] += a[row][k] · b[k][column], k ascending, one rounding a term: a product of two bfloat16 is exact.
void multiply_warpgroup_tile(float (*sums)[256], const float (*a)[16], const float (*b)[256], unsigned columns);

} // namespace emu
