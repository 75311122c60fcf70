// The transforms of one algorithm: tiles of MY x MX pixels, a kernel in pieces of RY x RX taps, NY x NX points.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "pixels.h"
#include "plan.h"
#include "threads.h"
#include "toom_cook.h"

namespace digits {

constexpr int64_t kSerialNumbers = 1 << 15;

template <int MY, int RY, int MX, int RX>
struct Transforms {
  static constexpr int NY = MY + RY - 1, NX = MX + RX - 1, N = NY * NX;

  static Plan plan(const Shape& s) {
    Plan p{};
    p.my = MY, p.mx = MX, p.points = N;
    p.patches = N == 1 && s.c * s.k * s.k <= 64;
    p.pieces_y = p.patches ? 1 : up(s.k, RY), p.pieces_x = p.patches ? 1 : up(s.k, RX);
    p.channels = p.patches ? s.c * s.k * s.k : s.c;
    p.cblocks = up(p.channels, VL), p.vectors = up(s.o, VL);
    p.lines = up(s.ho(), MY), p.columns = up(s.wo(), MX);
    p.first = p.patches ? 0 : up(std::max<int64_t>(0, s.low - NY + 1), MY);
    p.last = p.patches ? p.lines : up(s.h + s.low, MY);
    return p;
  }

  // Lines of tiles of one image at all points, for VL channels. Along the rows first, then down the columns.
  template <typename X, typename Y>
  static void transform(const Pixels& pixels, int64_t image, int64_t from, int64_t low, int64_t channel, int64_t lines,
                        int64_t columns, float* out, int64_t out_point, int64_t out_line, int64_t out_tile,
                        float* sum) {
    const int64_t rows = (lines - 1) * MY + Y::in, width = (columns - 1) * MX + X::in, step = X::out * columns * VL;
    float *line = scratch(kLine, width * VL), *turned = scratch(kRows, rows * step);
    for (int64_t r = 0; r < rows; ++r) {
      pixels.row(image, from + r, channel, low, width, line);
      if (sum) add(line, width, sum);
      if (Y::out == 1)
        along<X>(line, VL, MX * VL, out + r * out_line, out_point, out_tile, columns);
      else
        along<X>(line, VL, MX * VL, turned + r * step, columns * VL, VL, columns);
    }
    if (Y::out == 1) return;
    for (int64_t l = 0; l < lines; ++l)
      for (int a = 0; a < X::out; ++a)
        along<Y>(turned + l * MY * step + a * columns * VL, step, VL, out + a * out_point + l * out_line,
                 X::out * out_point, out_tile, columns);
  }

  static void add(const float* line, int64_t width, float* sum) {
    vec total = load(sum);
    for (int64_t i = 0; i < width; ++i) total += load(line + i * VL);
    store(sum, total);
  }

  // A chunk of images to points x channel blocks x lines x columns x VL.
  NOINLINE static void transform_images(const Shape& s, const Plan& p, const Chunk& k, const Pixels& pixels, float* v) {
    if (p.patches) return patches(s, p, k, pixels, v);
    const int64_t lines = p.in_lines(k.lines), line = p.in_columns() * VL;
    const int64_t row = k.first * MY - s.low;
    for (int64_t i = 0; i < k.images; ++i) {
      pixels.fetch(k.image + i, row, lines * MY + NY - MY);
      for (int64_t cb = 0; cb < p.cblocks; ++cb)
        transform<InputToPoints<MX, RX>, InputToPoints<MY, RY>>(
            pixels, k.image + i, row, s.low, cb * VL, lines, p.in_columns(),
            v + cb * p.block_size(k) + i * lines * line, p.point_size(k), line, VL, nullptr);
    }
  }

  // Where channels are few, the pixels of a window become the channels.
  NOINLINE static void patches(const Shape& s, const Plan& p, const Chunk& k, const Pixels& pixels, float* v) {
    const int64_t w = s.w + s.low + s.high, line = w * s.c, window = s.k * s.c, rows = k.lines + s.k - 1;
    float *padded = scratch(kRows, rows * line + 2 * VL) + VL, *one = scratch(kLine, w * VL);
    for (int64_t i = 0; i < k.images; ++i) {
      for (int64_t r = 0; r < rows; ++r) {
        float* to = padded + r * line;
        if (pixels.copy_row(k.image + i, k.first + r - s.low, s.low, w, to)) continue;
        for (int64_t c = 0; c < s.c; c += VL) {
          pixels.row(k.image + i, k.first + r - s.low, c, s.low, w, one);
          for (int64_t j = 0; j < w; ++j)
            for (int64_t e = 0; e < std::min<int64_t>(VL, s.c - c); ++e) to[j * s.c + c + e] = one[j * VL + e];
        }
      }
      for (int64_t cb = 0; cb < p.cblocks; ++cb) {
        // The channels of a block are parts of the rows of a window: the pixels of each part, and its lanes of the vector.
        int64_t parts = 0, at[VL];
        ints lanes[VL];
        for (int64_t c = cb * VL, next; c < std::min<int64_t>(p.channels, (cb + 1) * VL); c = next, ++parts) {
          next = std::min({(c / window + 1) * window, p.channels, (cb + 1) * VL});
          at[parts] = c / window * line + c % window - c % VL;
          for (int j = 0; j < VL; ++j) lanes[parts][j] = j >= c % VL && j < next - cb * VL ? -1 : 0;
        }
        float* to = v + cb * p.block_size(k) + i * k.lines * p.columns * VL;
        for (int64_t y = 0; y < k.lines; ++y)
          for (int64_t t = 0; t < p.columns; ++t, to += VL) {
            vec pixels = {};
            for (int64_t j = 0; j < parts; ++j)
              pixels = lanes[j] ? load(padded + y * line + t * s.c + at[j]) : pixels;
            store(to, pixels);
          }
      }
    }
  }

  // A chunk of gradients to points x tiles x outputs; the pixels are added to `sum`.
  NOINLINE static void transform_gradients(const Plan& p, const Chunk& k, const Pixels& pixels, float* q, float* sum) {
    const int64_t line = p.columns * p.opad();
    for (int64_t i = 0; i < k.images; ++i) {
      pixels.fetch(k.image + i, k.first * MY, k.lines * MY);
      for (int64_t o = 0; o < p.opad(); o += VL)
        transform<GradientToPoints<MX, RX>, GradientToPoints<MY, RY>>(
            pixels, k.image + i, k.first * MY, 0, o, k.lines, p.columns, q + i * k.lines * line + o,
            p.tiles(k) * p.opad(), line, p.opad(), sum + o);
    }
  }

  // Kernel to output blocks x points x pieces x channels x (vectors of the block).
  NOINLINE static void transform_kernel(Pool& pool, const Shape& s, const Plan& p, const float* w, bool flip,
                                        float* u) {
    const Blocks blocks(p.vectors);
    each_channel_block(pool, p, [&](int64_t piece, int64_t c) {
      const int64_t ky = piece / p.pieces_x * RY, kx = piece % p.pieces_x * RX;
      for (int64_t b = 0, o = 0; b < blocks.parts; ++b) {
        const int64_t width = blocks.width(b) * VL, size = p.pieces() * p.channels * width;
        float* to = u + N * p.pieces() * p.channels * o + (piece * p.channels + c) * width;
        for (int64_t j = 0; j < width; j += VL) {
          vec rows[NX][RY], taps[RX], turned[NX], column[NY];
          for (int r = 0; r < RY; ++r) {
            for (int i = 0; i < RX; ++i) taps[i] = outputs_of(s, p, w, flip, ky + r, kx + i, c, o + j);
            apply<KernelToPoints<MX, RX>>(taps, turned);
            for (int a = 0; a < NX; ++a) rows[a][r] = turned[a];
          }
          for (int a = 0; a < NX; ++a) {
            apply<KernelToPoints<MY, RY>>(rows[a], column);
            for (int i = 0; i < NY; ++i) store(to + (i * NX + a) * size + j, column[i]);
          }
        }
        o += width;
      }
    });
  }

  // The weights of a tap from channel c to the outputs from o on.
  static vec outputs_of(const Shape& s, const Plan& p, const float* w, bool flip, int64_t ky, int64_t kx, int64_t c,
                        int64_t o) {
    if (ky >= s.k || kx >= s.k) return vec{};  // The last piece reaches beyond the kernel.
    int64_t tap = ky * s.k + kx;
    if (p.patches) tap = c / s.c, c = c % s.c;  // There, the channels count the whole window.
    if (!flip) return load(w + (tap * s.c + c) * s.o + o, s.o - o);
    vec v = {};
    const float* from = w + ((s.k * s.k - 1 - tap) * s.o + o) * s.c + c;
    for (int64_t i = 0; i < std::min<int64_t>(VL, s.o - o); ++i) v[i] = from[i * s.c];
    return v;
  }

  // f(piece, channel) for all that remain as sums; on several threads where they are many.
  template <typename F>
  static void each_channel_block(Pool& pool, const Plan& p, const F& f) {
    const auto block = [&](int64_t task) {
      const int64_t first = task % p.cblocks * VL;
      for (int64_t c = first; c < std::min<int64_t>(first + VL, p.channels); ++c) f(task / p.cblocks, c);
    };
    const int64_t tasks = p.pieces() * p.cblocks;
    if (N * p.pieces() * p.channels * p.opad() > kSerialNumbers)
      parallel(pool, tasks, block);
    else
      for (int64_t task = 0; task < tasks; ++task) call(block, task);
  }
};

}  // namespace digits
