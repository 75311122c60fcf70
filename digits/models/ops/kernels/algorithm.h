// One algorithm: tiles of MY x MX pixels, a kernel in pieces of RY x RX taps, NY x NX points. `convolve` and
// `kernel_gradient` are where to start reading.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "pixels.h"
#include "plan.h"
#include "products.h"
#include "threads.h"
#include "toom_cook.h"

namespace digits {

constexpr int64_t kSumBytes = 512 << 10, kSerialNumbers = 1 << 15;
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
struct Algorithm {
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

  // Multiplications for an image, a channel and an output.
  static int64_t products(const Shape& s) {
    const Plan p = plan(s);
    int64_t pieces = 0;
    for (int64_t line = 0; line < p.lines; ++line)
      pieces += std::max<int64_t>(0, std::min(p.pieces_y, p.last - line) - std::max<int64_t>(0, p.first - line));
    return N * pieces * p.pieces_x * p.columns;
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
