// One algorithm, see transforms.h. `convolve` and `kernel_gradient` are where to start reading.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "pixels.h"
#include "plan.h"
#include "products.h"
#include "threads.h"
#include "toom_cook.h"
#include "transforms.h"

namespace digits {

constexpr int64_t kSumBytes = 512 << 10;
constexpr int64_t kChunkBytes = 512 << 10;  // What a task writes and reads again, of the cache of its core.

// The maximum of 2 x 2 pixels; of equal ones the first in row order wins.
NOINLINE inline void pool_rows(const Shape& s, const float* top, const float* bottom, int width, float* y,
                               uint8_t* winner, int64_t count) {
  const int64_t pixel = width * VL;
  for (int64_t x = 0; x < s.pw(); ++x)
    for (int j = 0; j < width; ++j) {
      const float *upper = top + 2 * x * pixel + j * VL, *lower = bottom + 2 * x * pixel + j * VL;
      const vec a = load(upper), b = load(upper + pixel), c = load(lower), d = load(lower + pixel);
      const vec ab = a >= b ? a : b, cd = c >= d ? c : d;
      // If one is not a number, neither is the maximum: a training that diverged must not look sound.
      const ints valid = (a == a) & (b == b) & (c == c) & (d == d);
      const vec best = valid ? (ab >= cd ? ab : cd) : a + b + c + d;
      const ints i = ints{} + (b > a ? 1 : 0), k = ints{} + (d > c ? 3 : 2);
      ints who = ab >= cd ? i : k;
      if (s.relu) who = best > 0 ? who : 4;
      const bytes small = __builtin_convertvector(who, bytes);
      const int64_t left = count - j * VL;
      store(y + x * s.o + j * VL, best, left);
      if (left >= VL)
        std::memcpy(winner + x * s.o + j * VL, &small, VL);
      else
        std::memcpy(winner + x * s.o + j * VL, &small, left);
    }
}

// Where a block of outputs goes: numbers from row to row and pixel to pixel, and how many outputs there are.
struct Target {
  float* y;
  int64_t row, pixel, count;
  bool streams;
};

template <int MY, int RY, int MX, int RX>
struct Algorithm : Transforms<MY, RY, MX, RX> {
  using Base = Transforms<MY, RY, MX, RX>;
  using Base::N, Base::NX, Base::NY;
  using Base::plan, Base::transform_images, Base::transform_gradients, Base::transform_kernel, Base::each_channel_block;

  // Multiplications for an image, a channel and an output.
  static int64_t products(const Shape& s) {
    const Plan p = plan(s);
    int64_t pieces = 0;
    for (int64_t line = 0; line < p.lines; ++line)
      pieces += std::max<int64_t>(0, std::min(p.pieces_y, p.last - line) - std::max<int64_t>(0, p.first - line));
    return N * pieces * p.pieces_x * p.columns;
  }

  // y: pooled outputs; winner (if pooled): which pixel of the window they are of; 4 where all are negative.
  NOINLINE static void convolve(Pool& pool, const Shape& s, const Pixels& x, const float* w, bool flip,
                                const float* bias, float* y, uint8_t* winner) {
    const Plan p = plan(s);
    const Blocks blocks(p.vectors);
    const bool streams = s.n * s.ph() * s.pw() * s.o * 4 >= kStreamBytes && s.o % VL == 0 && uintptr_t(y) % 64 == 0;
    const int64_t kernel = N * p.pieces() * p.channels;
    float *u = scratch(kShared, (kernel + 1) * p.opad()), *b0 = u + kernel * p.opad();
    transform_kernel(pool, s, p, w, flip, u);
    for (int64_t o = 0; o < p.opad(); ++o) b0[o] = bias && o < s.o ? bias[o] : 0;
    const int64_t of_tile = N * (p.cpad() + blocks.width(0) * VL) * 4;
    const Chunks chunks(s, p, s.n, kChunkBytes / of_tile);
    parallel(pool, chunks.count(), [&](int64_t task) {
      const Chunk k = chunks.at(task, p);
      const int64_t point = p.point_size(k), tiles = p.tiles(k);
      float* v = scratch(kImage, N * point);
      transform_images(s, p, k, x, v);
      for (int64_t b = 0; b < blocks.parts; ++b) {
        const int width = blocks.width(b);
        const int64_t o = blocks.first(b) * VL, size = p.pieces() * p.channels * width * VL;
        float* m = scratch(kSums, N * tiles * width * VL);
        for (int a = 0; a < N; ++a)
          kProducts.multiply(p, k, v + a * point, u + kernel * o + a * size, width, m + a * tiles * width * VL);
        for (int64_t i = 0; i < k.images; ++i)
          finish(s, p, k, i, m, b0 + o, width, y + o, winner + o, s.o - o, streams);
      }
      if (streams) finish_streams();
    });
  }

  // The outputs of an image of a chunk, pooled.
  static void finish(const Shape& s, const Plan& p, const Chunk& k, int64_t i, const float* m, const float* bias,
                     int width, float* y, uint8_t* winner, int64_t count, bool streams) {
    const int64_t m_point = p.tiles(k) * width * VL, m_line = p.columns * width * VL, row = s.wo() * width * VL;
    const int64_t together = s.pool == 2 && MY % 2 ? 2 : 1;  // Lines whose pixels are whole windows.
    float* rows = s.pool == 2 ? scratch(kRows, 2 * MY * row) : nullptr;
    m += i * k.lines * m_line;
    for (int64_t l = 0; l < k.lines; ++l, m += m_line) {
      const int64_t first = (k.first + l) * MY, left = s.ho() - first;
      if (s.pool == 1) {
        float* to = y + ((k.image + i) * s.ho() + first) * s.wo() * s.o;
        finish_line(s, p, m, m_point, bias, width, {to, s.wo() * s.o, s.o, count, streams}, left);
        continue;
      }
      float* to = rows + l % together * MY * row;
      finish_line(s, p, m, m_point, bias, width, {to, row, width * VL, width * VL, false}, left);
      if ((l + 1) % together && l + 1 < k.lines) continue;
      const int64_t from = first - l % together * MY;
      for (int64_t r = 0; r + 1 < std::min<int64_t>(first + MY, s.ho()) - from; r += 2) {
        const int64_t at = ((k.image + i) * s.ph() + (from + r) / 2) * s.pw() * s.o;
        pool_rows(s, rows + r * row, rows + (r + 1) * row, width, y + at, winner + at, count);
      }
    }
  }

  // A' of the products, bias and activation: the pixels of a line of tiles, of which `left` rows exist.
  NOINLINE static void finish_line(const Shape& s, const Plan& p, const float* m, int64_t m_point, const float* bias,
                                   int width, const Target& to, int64_t left) {
    for (int64_t t = 0; t < p.columns; ++t)
      for (int j = 0; j < width; ++j) {
        vec rows[MY][NX], points[NY], column[MY], pixels[MX];
        const float* from = m + (t * width + j) * VL;
#pragma GCC unroll 8
        for (int a = 0; a < NX; ++a) {
#pragma GCC unroll 8
          for (int i = 0; i < NY; ++i) points[i] = load(from + (i * NX + a) * m_point);
          apply<PointsToOutput<MY, RY>>(points, column);
#pragma GCC unroll 8
          for (int i = 0; i < MY; ++i) rows[i][a] = column[i];
        }
        const vec b = load(bias + j * VL);
        float* y = to.y + t * MX * to.pixel + j * VL;
#pragma GCC unroll 8
        for (int r = 0; r < MY; ++r, y += to.row) {
          if (r >= left) break;
          apply<PointsToOutput<MX, RX>>(rows[r], pixels);
#pragma GCC unroll 8
          for (int i = 0; i < MX; ++i) {
            if (t * MX + i >= s.wo()) break;
            vec sum = pixels[i] + b;
            if (s.relu) sum = positive(sum);
            if (to.streams)
              stream(y + i * to.pixel, sum);
            else
              store(y + i * to.pixel, sum, to.count - j * VL);
          }
        }
      }
  }

  NOINLINE static void kernel_gradient(Pool& pool, const Shape& s, const Pixels& x, const Pixels& g, float* dw,
                                       float* db) {
    const Plan p = plan(s);
    const Blocks blocks(p.vectors);
    const int64_t size = (N * p.pieces() * p.cpad() + 1) * p.opad();  // The last row is the bias's.
    // Which images are summed together depends on the number of threads only: the same bits in every run. Several
    // sums a thread, where they are small, because threads are not equally fast.
    const int64_t each = size * 4 <= kSumBytes ? 4 : 1;
    const int64_t parts = std::min<int64_t>(s.n, each * std::max<int64_t>(1, pool.num_threads()));
    float* sums = scratch(kShared, parts * size);
    parallel(pool, parts, [&](int64_t part) {
      float* du = sums + part * size;
      std::memset(du, 0, size * 4);
      const int64_t begin = part * s.n / parts, images = (part + 1) * s.n / parts - begin;
      const Chunks chunks(s, p, images, kChunkBytes / (N * (p.cpad() + p.opad()) * 4));
      for (int64_t task = 0; task < chunks.count(); ++task) {
        Chunk k = chunks.at(task, p);
        k.image += begin;
        float *v = scratch(kImage, N * p.point_size(k)), *q = scratch(kSums, N * p.tiles(k) * p.opad());
        transform_images(s, p, k, x, v);
        transform_gradients(p, k, g, q, du + size - p.opad());
        for (int a = 0; a < N; ++a) sum_products(p, k, blocks, v + a * p.point_size(k), q + a * p.tiles(k) * p.opad(),
                                                 du + a * p.pieces() * p.cpad() * p.opad());
      }
    });
    for (int64_t o = 0; o < s.o; o += VL) {
      vec sum = {};
      for (int64_t part = 0; part < parts; ++part) sum += load(sums + (part + 1) * size - p.opad() + o);
      store(db + o, sum, s.o - o);
    }
    each_channel_block(pool, p, [&](int64_t piece, int64_t c) {
      const int64_t ky = piece / p.pieces_x * RY, kx = piece % p.pieces_x * RX;
      for (int64_t o = 0; o < s.o; o += VL) {
        vec rows[RY][NX], points[NY], column[RY], taps[RX];
        for (int a = 0; a < NX; ++a) {
          for (int i = 0; i < NY; ++i) {
            const float* from = sums + (((i * NX + a) * p.pieces() + piece) * p.cpad() + c) * p.opad() + o;
            points[i] = load(from);
            for (int64_t part = 1; part < parts; ++part) points[i] += load(from + part * size);
          }
          apply<PointsToKernel<MY, RY>>(points, column);
          for (int r = 0; r < RY; ++r) rows[r][a] = column[r];
        }
        for (int r = 0; r < RY; ++r) {
          apply<PointsToKernel<MX, RX>>(rows[r], taps);
          for (int i = 0; i < RX; ++i)
            if (ky + r < s.k && kx + i < s.k) {
              const int64_t row = p.patches ? c : ((ky + r) * s.k + kx + i) * s.c + c;
              store(dw + row * s.o + o, taps[i], s.o - o);
            }
        }
      }
    });
  }

  // Adds the products of a chunk's images and gradients at one point.
  static void sum_products(const Plan& p, const Chunk& k, const Blocks& blocks, const float* v, const float* q,
                           float* du) {
    const int64_t line = p.in_columns() * VL, q_line = p.columns * p.opad();
    for (int64_t piece = 0; piece < p.pieces(); ++piece) {
      const int64_t i = piece / p.pieces_x, j = piece % p.pieces_x;
      const bool list = p.pieces() == 1;
      // Lines that meet the image, not its padding.
      const int64_t first = list ? 0 : std::max<int64_t>(0, p.first - k.first - i);
      const int64_t last = list ? 1 : std::min(k.lines, p.last - k.first - i);
      const int64_t tiles = list ? p.tiles(k) : p.columns;
      for (int64_t image = 0; image < (list ? 1 : k.images) && first < last; ++image)
        for (int64_t cb = 0; cb < p.cblocks; ++cb)
          for (int64_t b = 0; b < blocks.parts; ++b) {
            const int width = blocks.width(b), step = rc(width);
            const int64_t count = std::min<int64_t>(VL, p.channels - cb * VL);
            const float* x = v + cb * p.block_size(k) + (image * p.in_lines(k.lines) + first + i) * line + j * VL;
            const float* g = q + (image * k.lines + first) * q_line + blocks.first(b) * VL;
            for (int64_t c = 0; c < count; c += step)
              kOuter[width](x + c, line, g, q_line, p.opad(), last - first, tiles,
                            du + (piece * p.cpad() + cb * VL + c) * p.opad() + blocks.first(b) * VL, p.opad());
          }
    }
  }
};

}  // namespace digits
