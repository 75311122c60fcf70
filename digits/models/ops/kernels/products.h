// Products of matrices in registers: channels times outputs for the values, pixels times outputs for the kernel.
#pragma once

#include <algorithm>
#include <cstdint>

#include "plan.h"

namespace digits {

// Where the tiles' values at one point lie, in numbers: from a line of tiles to the next of the same product, from a
// piece of the kernel to the one below, and from a block of VL channels to the next.
struct Strides {
  int64_t line, piece, block;
};

// out[y][t] = sum over pieces (rows first <= i < last), and channels of x * u.  u: pieces x channels x V vectors.
using Product = void (*)(const float* x, const Strides& at, const Plan& p, int64_t first, int64_t last, const float* u,
                         float* out, int64_t out_line);
constexpr int64_t kTogether = 64;   // Channels a sum. Sums of sums round less than one long sum.
constexpr int kMaxT = 7, kMaxY = 2;  // Accumulators: kRegisters; beside them kMaxV weights and one pixel.

template <int V, int T, int Y>
void product(const float* x, const Strides& at, const Plan& p, int64_t first, int64_t last, const float* u, float* out,
             int64_t out_line) {
  const int64_t line = at.line, block = at.block, parts = up(p.channels, kTogether);
  u += first * p.pieces_x * p.channels * V * VL;
  bool begun = false;
  for (int64_t i = first * p.pieces_x * parts; i < last * p.pieces_x * parts || !begun; ++i, begun = true) {
    vec acc[Y][T][V] = {};
    const int64_t piece = i / parts, channel = i % parts * kTogether;
    const float* xs = x + piece / p.pieces_x * at.piece + piece % p.pieces_x * VL + channel / VL * block;
    int64_t left = first < last ? std::min(p.channels - channel, kTogether) : 0;
    for (; left > 0; left -= VL, xs += block) {
      const int64_t count = left < VL ? left : VL;
      for (int64_t c = 0; c < count; ++c, u += V * VL) {
        vec w[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) keep(w[v] = load(u + v * VL));
#pragma GCC unroll 4
        for (int y = 0; y < Y; ++y)
#pragma GCC unroll 7
          for (int t = 0; t < T; ++t) {
            const float s = xs[y * line + t * VL + c];
#pragma GCC unroll 4
            for (int v = 0; v < V; ++v) acc[y][t][v] += s * w[v];
          }
      }
    }
#pragma GCC unroll 4
    for (int y = 0; y < Y; ++y)
#pragma GCC unroll 7
      for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          float* to = out + y * out_line + (t * V + v) * VL;
          store(to, begun ? load(to) + acc[y][t][v] : acc[y][t][v]);
        }
  }
}

struct Products {
  Product table[kMaxV + 1][kMaxT + 1][kMaxY + 1] = {};
  template <int V, int T, int Y>
  void put() {
    if constexpr (V * T * Y <= kRegisters) table[V][T][Y] = product<V, T, Y>;
  }
  template <int V, int T>
  void put_y() {
    put<V, T, 1>();
    put<V, T, 2>();
  }
  template <int V>
  void put_t() {
    put_y<V, 1>();
    put_y<V, 2>();
    put_y<V, 3>();
    put_y<V, 4>();
    put_y<V, 5>();
    put_y<V, 6>();
    put_y<V, 7>();
  }
  Products() {
    put_t<1>();
    put_t<2>();
    put_t<3>();
    put_t<kMaxV>();
  }
  // The widest for which there are registers.
  int tiles(int v, int64_t tiles) const {
    int t = int(std::min<int64_t>(tiles, kMaxT));
    while (!table[v][t][1]) --t;
    int64_t parts = up(tiles, t);
    return int(up(tiles, parts));
  }
  int lines(int v, int t) const {
    int y = kMaxY;
    while (!table[v][t][y]) --y;
    return y;
  }

  // The sums of a chunk at one point: x as the transform leaves it, m: tiles x width vectors.
  void multiply(const Plan& p, const Chunk& k, const float* x, const float* u, int width, float* m) const {
    const Strides at{p.in_columns() * VL, p.in_columns() * VL, p.block_size(k)};
    if (p.pieces() == 1) return list(p, at, p.tiles(k), x, u, width, m);
    const int most = tiles(width, p.columns), both = lines(width, most);
    const int64_t m_line = p.columns * width * VL;
    for (int64_t image = 0; image < k.images; ++image, x += p.in_lines(k.lines) * at.line)
      for (int64_t line = 0, y; line < k.lines; line += y, m += y * m_line) {
        y = std::min<int64_t>(both, k.lines - line);
        const int64_t first = std::max<int64_t>(0, p.first - k.first - line - y + 1);
        const int64_t last = std::min(p.pieces_y, p.last - k.first - line);
        for (int64_t t = 0; t < p.columns; t += most) {
          const int64_t count = std::min<int64_t>(most, p.columns - t);
          table[width][count][y](x + line * at.line + t * VL, at, p, first, last, u, m + t * width * VL, m_line);
        }
      }
  }

  // If the kernel is one piece, lines of tiles need not end where the image's do. An odd number of tiles may be
  // rounded up: the values of the one beyond the end are overwritten by those of the next point.
  void list(const Plan& p, Strides at, int64_t tiles, const float* x, const float* u, int width, float* m) const {
    int64_t most = kMaxT * kMaxY;
    while (!block(width, most)) --most;
    const int64_t each = up(tiles, up(tiles, most));
    for (int64_t t = 0; t < tiles; t += each) {
      int64_t count = std::min(each, tiles - t);
      while (!block(width, count)) ++count;
      const int64_t y = count > kMaxT || !table[width][count][1] ? 2 : 1, of_line = count / y;
      at.line = of_line * VL;
      table[width][of_line][y](x + t * VL, at, p, 0, 1, u, m + t * width * VL, of_line * width * VL);
    }
  }
  // Whether so many tiles are one product.
  bool block(int width, int64_t tiles) const {
    if (tiles <= kMaxT && table[width][tiles][1]) return true;
    return tiles % 2 == 0 && table[width][tiles / 2][2];
  }
};
const Products kProducts;

// out[c] += sum over pixels of x[c] * g: R channels times V vectors.
using Outer = void (*)(const float* x, int64_t x_line, const float* g, int64_t g_line, int64_t g_tile, int64_t lines,
                       int64_t tiles, float* out, int64_t out_channel);

template <int R, int V>
void outer(const float* x, int64_t x_line, const float* g, int64_t g_line, int64_t g_tile, int64_t lines, int64_t tiles,
           float* out, int64_t out_channel) {
  vec acc[R][V] = {};
  for (int64_t y = 0; y < lines; ++y, x += x_line, g += g_line) {
    const float *xs = x, *gs = g;
    for (int64_t t = 0; t < tiles; ++t, xs += VL, gs += g_tile) {
      vec w[V];
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) keep(w[v] = load(gs + v * VL));
#pragma GCC unroll 16
      for (int r = 0; r < R; ++r) {
        const float s = xs[r];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) acc[r][v] += s * w[v];
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* to = out + r * out_channel + v * VL;
      store(to, load(to) + acc[r][v]);
    }
}

constexpr int channels_at_once(int v) {
  return kRegisters >= 24 ? (v == 1 ? 16 : v == 2 ? 8 : v == 3 ? 8 : 4) : (v == 1 ? 8 : v == 2 ? 4 : v == 3 ? 4 : 2);
}
static_assert(VL >= 4);
constexpr int rc(int v) { return channels_at_once(v) < VL ? channels_at_once(v) : VL; }
const Outer kOuter[5] = {nullptr, outer<rc(1), 1>, outer<rc(2), 2>, outer<rc(3), 3>, outer<rc(kMaxV), kMaxV>};

}  // namespace digits
