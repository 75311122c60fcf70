// Vectors of VL float32 channels, as wide as the processor's registers.
#pragma once

#include <cstdint>
#include <cstring>

#if defined(__AVX__)
#include <immintrin.h>
#endif

// One copy of what is long: inlined into every caller, it would take twice as long to compile and run no faster.
#define NOINLINE __attribute__((noinline))

namespace digits {

#if defined(__AVX512F__)
constexpr int VL = 16, kRegisters = 28, kMaxV = 4;
#elif defined(__AVX__)
constexpr int VL = 8, kRegisters = 12, kMaxV = 3;
#else
constexpr int VL = 4, kRegisters = 24, kMaxV = 4;
#endif
typedef float vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint8_t bytes __attribute__((vector_size(VL), aligned(1), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }

// The first `count` numbers, if there are fewer than VL.
inline vec load(const float* p, int64_t count) {
  if (count >= VL) return load(p);
#if defined(__AVX512F__)
  return (vec)_mm512_maskz_loadu_ps(__mmask16((1u << count) - 1), p);
#else
  vec v = {};
  for (int64_t i = 0; i < count; ++i) v[i] = p[i];
  return v;
#endif
}
inline void store(float* p, vec v, int64_t count) {
  if (count >= VL) return store(p, v);
#if defined(__AVX512F__)
  _mm512_mask_storeu_ps(p, __mmask16((1u << count) - 1), (__m512)v);
#else
  for (int64_t i = 0; i < count; ++i) p[i] = v[i];
#endif
}

// Keeps a value in a register: GCC would load it again at every use, and with sixteen registers loads are the limit.
inline void keep(vec& v) {
#if defined(__AVX__) && !defined(__AVX512F__)
  asm("" : "+x"(v));
#endif
}
inline vec positive(vec v) { return v <= 0 ? vec{} : v; }  // Not a number stays what it is.

constexpr int64_t kStreamBytes = 8 << 20;  // Larger results are written
// past the caches, where reading a line in order to overwrite it would cost more than writing it.
inline void stream(float* p, vec v) {
#if defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX__)
  _mm256_stream_ps(p, (__m256)v);
#else
  store(p, v);
#endif
}
inline void finish_streams() {
#if defined(__AVX__)
  _mm_sfence();
#endif
}

}  // namespace digits
