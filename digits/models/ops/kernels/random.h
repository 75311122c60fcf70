// The random bits of JAX's default generator, threefry2x32 with 20 rounds (Salmon et al. 2011, "Parallel random numbers:
// as easy as 1, 2, 3").
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan.h"
#include "threads.h"

namespace digits {

typedef uint32_t words __attribute__((vector_size(VL * 4), aligned(4), may_alias));
constexpr int kWordsTogether = 4;  // Vectors whose rounds overlap: each round waits for the one before.
constexpr int64_t kWordsOfTask = 1 << 13;

// Word i is x ^ y for the counter (0, i), encrypted with the key.
inline void random_words(const uint32_t* key, uint32_t first, words* out) {
  constexpr int kRotations[2][4] = {{13, 15, 26, 6}, {17, 29, 16, 24}};
  const uint32_t keys[3] = {key[0], key[1], key[0] ^ key[1] ^ 0x1BD11BDA};
  words x[kWordsTogether], y[kWordsTogether];
  for (int v = 0; v < kWordsTogether; ++v) {
    for (int i = 0; i < VL; ++i) y[v][i] = first + v * VL + i + keys[1];
    x[v] = words{} + keys[0];
  }
#pragma GCC unroll 5
  for (uint32_t group = 0; group < 5; ++group) {
#pragma GCC unroll 4
    for (int round = 0; round < 4; ++round) {
      const int left = kRotations[group % 2][round];
#pragma GCC unroll 4
      for (int v = 0; v < kWordsTogether; ++v) x[v] += y[v], y[v] = x[v] ^ (y[v] << left | y[v] >> (32 - left));
    }
#pragma GCC unroll 4
    for (int v = 0; v < kWordsTogether; ++v) x[v] += keys[(group + 1) % 3], y[v] += keys[(group + 2) % 3] + group + 1;
  }
  for (int v = 0; v < kWordsTogether; ++v) out[v] = x[v] ^ y[v];
}

inline void random_bits(Pool& pool, const uint32_t* key, int64_t count, uint32_t* out) {
  constexpr int64_t kStep = kWordsTogether * VL;
  parallel(pool, up(count, kWordsOfTask), [&](int64_t task) {
    const int64_t end = std::min(count, (task + 1) * kWordsOfTask);
    words found[kWordsTogether];
    for (int64_t i = task * kWordsOfTask; i < end; i += kStep) {
      random_words(key, uint32_t(i), found);
      std::memcpy(out + i, found, std::min(kStep, end - i) * 4);
    }
  });
}

}  // namespace digits
