// BatchNorm of training: two passes over the images, and two over them and the gradient.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

#include "plan.h"
#include "threads.h"

namespace digits {

constexpr int64_t kRowsOfTask = 512, kRowsOfSum = 64;  // Pixels. Sums of sums round less than one long sum.

// Runs f(first, last) on ranges of the pixels: the same ones for any number of threads.
template <typename F>
void each_range(Pool& pool, int64_t rows, const F& f) {
  parallel(pool, up(rows, kRowsOfTask),
           [&](int64_t task) { f(task * kRowsOfTask, std::min(rows, (task + 1) * kRowsOfTask)); });
}

// Fills y, rows x c. value(at, channel, count) gives the vector of channels that begins at number `at`.
template <typename F>
void each_vector(Pool& pool, int64_t rows, int64_t c, float* y, const F& value) {
  const bool streams = rows * c * 4 >= kStreamBytes && c % VL == 0 && uintptr_t(y) % 64 == 0;
  each_range(pool, rows, [&](int64_t first, int64_t last) {
    for (int64_t row = first; row < last; ++row)
      for (int64_t i = 0; i < c; i += VL) {
        const int64_t at = row * c + i;
        const vec v = value(at, i, c - i);
        if (streams)
          stream(y + at, v);
        else
          store(y + at, v, c - i);
      }
    if (streams) finish_streams();
  });
}

// The sums over all pixels of two values for each of c channels: first c numbers, then c more.
// terms(at, channel, count, values) gives both for a vector of channels of the pixel that begins at number `at`.
template <typename F>
std::vector<double> sums(Pool& pool, int64_t rows, int64_t c, const F& terms) {
  const int64_t pad = up(c, VL) * VL, tasks = up(rows, kRowsOfTask);
  float* found = scratch(kShared, tasks * 2 * pad);
  each_range(pool, rows, [&](int64_t first, int64_t last) {
    float* to = found + first / kRowsOfTask * 2 * pad;
    std::memset(to, 0, 2 * pad * 4);
    for (int64_t channel = 0; channel < pad; channel += kMaxV * VL) {
      const int64_t width = std::min<int64_t>(kMaxV, (pad - channel) / VL);
      for (int64_t row = first; row < last;) {
        vec part[kMaxV][2] = {}, values[2];
        for (const int64_t end = std::min(row + kRowsOfSum, last); row < end; ++row)
#pragma GCC unroll 4
          for (int64_t j = 0; j < kMaxV; ++j) {
            if (j >= width) break;
            const int64_t i = channel + j * VL;
            terms(row * c + i, i, c - i, values);
            part[j][0] += values[0], part[j][1] += values[1];
          }
        for (int64_t j = 0; j < width; ++j)
          for (int64_t value = 0; value < 2; ++value) {
            float* sum = to + value * pad + channel + j * VL;
            store(sum, load(sum) + part[j][value]);
          }
      }
    }
  });
  std::vector<double> all(2 * c);
  for (int64_t task = 0; task < tasks; ++task)
    for (int64_t i = 0; i < c; ++i) {
      all[i] += found[task * 2 * pad + i];
      all[c + i] += found[task * 2 * pad + pad + i];
    }
  return all;
}

// y = (x - mean) / sqrt(variance + epsilon) * scale + bias, with mean and variance of the `rows` pixels.
inline void normalize(Pool& pool, int64_t rows, int64_t c, const float* x, const float* scale, const float* bias,
                      float epsilon, float* y, float* mean, float* variance) {
  const std::vector<double> all = sums(pool, rows, c, [=](int64_t at, int64_t, int64_t count, vec(&values)[2]) {
    values[0] = load(x + at, count);
    values[1] = values[0] * values[0];
  });
  std::vector<float> factor(c);
  for (int64_t i = 0; i < c; ++i) {
    const double m = all[i] / rows, v = std::max(0.0, all[c + i] / rows - m * m);
    mean[i] = float(m), variance[i] = float(v), factor[i] = float(scale[i] / std::sqrt(v + epsilon));
    if (all[i] != all[i]) variance[i] = mean[i];  // Not a number stays so, which std::max would hide.
  }
  each_vector(pool, rows, c, y, [&](int64_t at, int64_t i, int64_t left) {
    const vec centred = load(x + at, left) - load(mean + i, left);
    return centred * load(factor.data() + i, left) + load(bias + i, left);
  });
}

// The gradients of x, scale and bias from that of y.
inline void normalize_gradient(Pool& pool, int64_t rows, int64_t c, const float* x, const float* g, const float* mean,
                               const float* variance, const float* scale, float epsilon, float* dx, float* dscale,
                               float* dbias) {
  const std::vector<double> all = sums(pool, rows, c, [=](int64_t at, int64_t i, int64_t count, vec(&values)[2]) {
    values[0] = load(g + at, count);
    values[1] = values[0] * (load(x + at, count) - load(mean + i, count));
  });
  // dx = factor * g + slope * (x - mean) + level.
  std::vector<float> factor(c), slope(c), level(c);
  for (int64_t i = 0; i < c; ++i) {
    const double r = 1 / std::sqrt(double(variance[i]) + epsilon), f = scale[i] * r;
    dbias[i] = float(all[i]), dscale[i] = float(all[c + i] * r);
    factor[i] = float(f), slope[i] = float(-f * r * r * all[c + i] / rows), level[i] = float(-f * all[i] / rows);
  }
  each_vector(pool, rows, c, dx, [&](int64_t at, int64_t i, int64_t left) {
    const vec centred = load(x + at, left) - load(mean + i, left);
    return load(factor.data() + i, left) * load(g + at, left) + load(slope.data() + i, left) * centred +
           load(level.data() + i, left);
  });
}

}  // namespace digits
