// Reading the pixels of images, and of gradients as they are before ReLU and pooling.
#pragma once

#include <cstdint>
#include <cstring>

#include "plan.h"

namespace digits {

// N x H x W x C numbers. With `y`, a gradient before max(0, .): zero where the output y is. With `winner`, a gradient
// before pooling: that of the window for its winner, zero for the other pixels and beyond the last window.
struct Pixels {
  const float* x;
  int64_t h, w, c;  // Before pooling.
  const float* y = nullptr;
  const uint8_t* winner = nullptr;

  // `width` pixels of a row, VL channels from `channel` on: zeros for `low` pixels and wherever there is no image.
  NOINLINE void row(int64_t image, int64_t row, int64_t channel, int64_t low, int64_t width, float* out) const {
    const int64_t there = row < 0 || row >= h ? 0 : std::min(w, width - low);
    if (there <= 0) return void(std::memset(out, 0, width * VL * 4));
    for (int64_t i = 0; i < low; ++i, out += VL) store(out, vec{});
    if (winner)
      unpooled(image, row, channel, there, out);
    else if (y)
      rectified(((image * h + row) * w) * c + channel, c - channel, there, out);
    else
      plain(x + ((image * h + row) * w) * c + channel, c - channel, there, out);
    for (int64_t i = there; i < width - low; ++i) store(out + i * VL, vec{});
  }

  // The same with all channels side by side, if the numbers are those of the image itself; otherwise false.
  bool copy_row(int64_t image, int64_t row, int64_t low, int64_t width, float* out) const {
    if (y || winner) return false;
    std::memset(out, 0, width * c * 4);
    if (row >= 0 && row < h)
      std::memcpy(out + low * c, x + (image * h + row) * w * c, std::min(w, width - low) * c * 4);
    return true;
  }

  // Reads whole rows in their order, for which the processor fetches ahead. `row` then finds its strides in the cache.
  NOINLINE void fetch(int64_t image, int64_t row, int64_t rows) const {
    const int64_t half = winner ? 2 : 1, line = w / half * c;
    const int64_t first = std::max<int64_t>(row, 0) / half, last = std::min(row + rows, h) / half;
    if (c <= VL) return;
    for (int64_t i = (image * (h / half) + first) * line; i < (image * (h / half) + last) * line; i += 16) {
      asm volatile("" : : "r"(x[i]));
      if (y) asm volatile("" : : "r"(y[i]));
      if (winner) asm volatile("" : : "r"(winner[i]));
    }
  }

 private:
  void plain(const float* from, int64_t count, int64_t pixels, float* out) const {
    if (count >= VL)
      for (int64_t i = 0; i < pixels; ++i) store(out + i * VL, load(from + i * c));
    else
      for (int64_t i = 0; i < pixels; ++i) store(out + i * VL, load(from + i * c, count));
  }

  void rectified(int64_t at, int64_t count, int64_t pixels, float* out) const {
    for (int64_t i = 0; i < pixels; ++i, at += c)
      store(out + i * VL, load(y + at, count) > 0 ? load(x + at, count) : vec{});
  }

  void unpooled(int64_t image, int64_t row, int64_t channel, int64_t pixels, float* out) const {
    const int64_t windows = std::min(w / 2, up(pixels, 2)), count = c - channel;
    if (row / 2 >= h / 2) return void(std::memset(out, 0, pixels * VL * 4));
    int64_t at = ((image * (h / 2) + row / 2) * (w / 2)) * c + channel;
    const int place = int(row % 2 * 2);
    for (int64_t i = 0; i < windows; ++i, at += c) {
      bytes who = {};
      if (count >= VL)
        std::memcpy(&who, winner + at, VL);
      else
        std::memcpy(&who, winner + at, count);
      const ints winners = __builtin_convertvector(who, ints);
      const vec g = load(x + at, count);
      store(out + 2 * i * VL, winners == place ? g : vec{});
      if (2 * i + 1 < pixels) store(out + (2 * i + 1) * VL, winners == place + 1 ? g : vec{});
    }
    for (int64_t i = 2 * windows; i < pixels; ++i) store(out + i * VL, vec{});
  }
};

}  // namespace digits
