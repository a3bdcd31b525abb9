// Fixed-width types and the one qualifier of device helpers. Everything else in this folder stands on this file.
#pragma once

using i8 = signed char;
using u8 = unsigned char;
using i16 = short;
using u16 = unsigned short;
using i32 = int;
using u32 = unsigned int;
using i64 = long long;
using u64 = unsigned long long;
using f32 = float;

#define GK_DEVICE __device__ __forceinline__

template <typename T>
GK_DEVICE constexpr T min_of(T a, T b) { return b < a ? b : a; }

template <typename T>
GK_DEVICE constexpr T max_of(T a, T b) { return a < b ? b : a; }

template <typename T>
GK_DEVICE constexpr T ceil_div(T a, T b) { return (a + b - 1) / b; }
