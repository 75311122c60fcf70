// Convolutions with stride 1 and their weight gradients on the CPU, in float32, called by XLA through its FFI.
//
// An image row is cut into tiles of M output pixels. By Winograd's minimal filtering (Toom-Cook's algorithm along the
// rows of the image only) each tile and each kernel row are evaluated at N = M + K - 1 points; per point there remains
// a product of (pixels x channels) with (channels x outputs), summed over kernel rows: K * N / M multiplications per
// output and channel instead of K * K. Where no such algorithm is used, there is one "point", the pixel itself, and
// the kernel's columns are summed like its rows. All intermediate values of an image stay in the core's cache.

#include <algorithm>
#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <cstring>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#if defined(__AVX__)
#include <immintrin.h>
#endif

#include "xla/ffi/api/ffi.h"

namespace ffi = xla::ffi;

// One copy of what is long: inlined into every caller, it would take twice as long to compile and run no faster.
#define NOINLINE __attribute__((noinline))

namespace {

#if defined(__AVX512F__)
constexpr int VL = 16, kRegisters = 28, kMaxV = 4;
#elif defined(__AVX__)
constexpr int VL = 8, kRegisters = 12, kMaxV = 3;
#else
constexpr int VL = 4, kRegisters = 24, kMaxV = 4;
#endif
constexpr int kMaxT = 7, kMaxY = 2;  // Accumulators: kRegisters; beside them kMaxV weights and one pixel.
typedef float vec __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef int32_t ints __attribute__((vector_size(VL * 4), aligned(4), may_alias));
typedef uint8_t bytes __attribute__((vector_size(VL), aligned(1), may_alias));

inline vec load(const float* p) { return *reinterpret_cast<const vec*>(p); }
inline void store(float* p, vec v) { *reinterpret_cast<vec*>(p) = v; }
inline vec load(const float* p, int64_t count) {
  if (count >= VL) return load(p);
  vec v = {};
  std::memcpy(&v, p, count * 4);
  return v;
}
inline void store(float* p, vec v, int64_t count) {
  if (count >= VL)
    store(p, v);
  else
    std::memcpy(p, &v, count * 4);
}
// Keeps a value in a register: GCC would load it again at every use, and with sixteen registers loads are the limit.
inline void keep(vec& v) {
#if defined(__AVX__) && !defined(__AVX512F__)
  asm("" : "+x"(v));
#endif
}
inline vec positive(vec v) { return v <= 0 ? vec{} : v; }  // Not a number stays what it is.

// Past the caches, where reading a line in order to overwrite it would cost more than writing it.
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
constexpr int64_t kStreamBytes = 8 << 20;

// ---------------------------------------------------------------- Toom-Cook matrices
// y = A' ((G w) * (B' x)) for M outputs of a filter with R taps, at the points below and infinity.
constexpr double kPoints[7] = {0, 1, -1, 2, -0.5, -2, 0.5};

template <int M, int R>
struct Toom {
  static constexpr int N = M + R - 1;
  float at[M][N], g[N][R], bt[N][N];
};

template <int M, int R>
constexpr Toom<M, R> toom() {
  constexpr int N = M + R - 1;
  Toom<M, R> t{};
  if (N == 1) {
    t.at[0][0] = t.g[0][0] = t.bt[0][0] = 1;
    return t;
  }
  for (int k = 0; k < N; ++k) {
    double roots[N + 1] = {1}, norm = 1;  // Product of (x - q) over the other points.
    int degree = 0;
    for (int q = 0; q < N - 1; ++q) {
      if (q == k) continue;
      for (int i = ++degree; i >= 0; --i) roots[i] = (i ? roots[i - 1] : 0) - kPoints[q] * roots[i];
      if (k < N - 1) norm *= kPoints[k] - kPoints[q];
    }
    double power = 1;
    // Rows are scaled by powers of two, such that neither side grows.
    double sum = 0, scale = 1;
    for (int i = 0; i < N; ++i) sum += roots[i] < 0 ? -roots[i] : roots[i];
    while (sum / scale > 1.5) scale *= 2;
    for (int i = 0; i < N; ++i) t.bt[k][i] = float(roots[i] / scale);
    if (k == N - 1) {
      t.at[M - 1][k] = 1;
      t.g[k][R - 1] = float(scale);
      continue;
    }
    for (int i = 0; i < (M > R ? M : R); ++i, power *= kPoints[k]) {
      if (i < M) t.at[i][k] = float(power);
      if (i < R) t.g[k][i] = float(power / norm * scale);
    }
  }
  return t;
}

// ---------------------------------------------------------------- what is computed
struct Shape {
  int64_t n, h, w, c, o, k, low, high;  // Images, their size and channels, outputs, kernel, padding.
  bool relu = false;                    // max(0, .) after the bias,
  int64_t pool = 1;                     // then the maximum of pool x pool pixels: 1 or 2.
  int64_t ho() const { return h + low + high - k + 1; }
  int64_t wo() const { return w + low + high - k + 1; }
  int64_t ph() const { return ho() / pool; }
  int64_t pw() const { return wo() / pool; }
};

inline int64_t up(int64_t a, int64_t b) { return (a + b - 1) / b; }

// The sums that remain: taps kh x kw of `channels` at `points` points of `tiles` tiles a row.
struct Plan {
  int64_t points, m, kh, kw, channels, tiles, rows, columns, cblocks, vectors;
  int64_t opad() const { return vectors * VL; }
  int64_t row_size() const { return points * cblocks * columns * VL; }  // of the transformed image
  int64_t image_size() const { return rows * row_size(); }
  int64_t taps() const { return kh * kw; }
  bool is_patches(const Shape& s) const { return kh < s.k; }  // The window itself became the channels.
};

// ---------------------------------------------------------------- threads
// The compiler decides for each copy of the code which products and sums it contracts, and so how they are rounded. All
// threads must run the same copy: otherwise the bits would depend on which of them has computed what.
template <typename F>
NOINLINE void call(const F& f, int64_t task) {
  f(task);
}

// Runs f(0), ..., f(tasks - 1) on the caller's thread and on those of the pool that are free.
template <typename F>
void parallel(ffi::ThreadPool& pool, int64_t tasks, const F& f) {
  struct State {
    std::atomic<int64_t> next{0}, running{0};
    std::mutex mutex;
    std::condition_variable idle;
  };
  auto state = std::make_shared<State>();
  const F* body = &f;
  auto work = [state, body, tasks] {
    for (int64_t i; (i = state->next.fetch_add(1)) < tasks;) call(*body, i);
  };
  int64_t helpers = std::min<int64_t>(pool.num_threads(), tasks) - 1;
  for (int64_t i = 0; i < helpers; ++i) {
    pool.Schedule([state, work, tasks] {
      state->running.fetch_add(1);
      if (state->next.load() < tasks) work();  // A helper that comes too late must not touch the body.
      {
        std::lock_guard<std::mutex> lock(state->mutex);
        state->running.fetch_sub(1);
      }
      state->idle.notify_one();
    });
  }
  work();
  std::unique_lock<std::mutex> lock(state->mutex);
  state->idle.wait(lock, [&] { return state->running.load() == 0; });
}

float* scratch(int slot, int64_t size) {
  static thread_local std::vector<float> buffers[5];
  auto& b = buffers[slot];
  if (int64_t(b.size()) < size + 64) b.resize(size + 64);
  return reinterpret_cast<float*>((reinterpret_cast<uintptr_t>(b.data()) + 63) & ~uintptr_t(63));
}

// ---------------------------------------------------------------- products
// out[y][t] = sum over kernel rows first <= kh < last, columns and channels of x * u.  u: taps x channels x V vectors.
using Product = void (*)(const float* x, const Plan& p, int64_t first, int64_t last, const float* u, float* out,
                         int64_t out_row);

template <int V, int T, int Y>
void product(const float* x, const Plan& p, int64_t first, int64_t last, const float* u, float* out, int64_t out_row) {
  vec acc[Y][T][V] = {};
  const int64_t row = p.row_size(), block = p.columns * VL;
  u += first * p.kw * p.channels * V * VL;
  for (int64_t kh = first; kh < last; ++kh)
    for (int64_t kw = 0; kw < p.kw; ++kw) {
      const float* xs = x + kh * row + kw * VL;
      for (int64_t left = p.channels; left > 0; left -= VL, xs += block) {
        const int64_t count = left < VL ? left : VL;
        for (int64_t c = 0; c < count; ++c, u += V * VL) {
          vec w[V];
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) keep(w[v] = load(u + v * VL));
#pragma GCC unroll 4
          for (int y = 0; y < Y; ++y)
#pragma GCC unroll 7
            for (int t = 0; t < T; ++t) {
              const float s = xs[y * row + t * VL + c];
#pragma GCC unroll 4
              for (int v = 0; v < V; ++v) acc[y][t][v] += s * w[v];
            }
        }
      }
    }
#pragma GCC unroll 4
  for (int y = 0; y < Y; ++y)
#pragma GCC unroll 7
    for (int t = 0; t < T; ++t)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v) store(out + y * out_row + (t * V + v) * VL, acc[y][t][v]);
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
};
const Products kProducts;

// out[c] += sum over pixels of x[c] * g: R channels times V vectors.
using Outer = void (*)(const float* x, int64_t x_row, const float* g, int64_t g_row, int64_t g_tile, int64_t rows,
                       int64_t tiles, float* out, int64_t out_channel);

template <int R, int V>
void outer(const float* x, int64_t x_row, const float* g, int64_t g_row, int64_t g_tile, int64_t rows, int64_t tiles,
           float* out, int64_t out_channel) {
  vec acc[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) acc[r][v] = load(out + r * out_channel + v * VL);
  for (int64_t y = 0; y < rows; ++y, x += x_row, g += g_row) {
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
    for (int v = 0; v < V; ++v) store(out + r * out_channel + v * VL, acc[r][v]);
}

constexpr int channels_at_once(int v) {
  return kRegisters >= 24 ? (v == 1 ? 16 : v == 2 ? 8 : v == 3 ? 8 : 4) : (v == 1 ? 8 : v == 2 ? 4 : v == 3 ? 4 : 2);
}
static_assert(VL >= 4);
constexpr int rc(int v) { return channels_at_once(v) < VL ? channels_at_once(v) : VL; }
const Outer kOuter[5] = {nullptr, outer<rc(1), 1>, outer<rc(2), 2>, outer<rc(3), 3>, outer<rc(kMaxV), kMaxV>};

// Output vectors in blocks of at most kMaxV, as even as possible.
struct Blocks {
  int64_t vectors, parts;
  explicit Blocks(int64_t v) : vectors(v), parts(up(v, kMaxV)) {}
  int64_t first(int64_t b) const { return b * vectors / parts; }
  int width(int64_t b) const { return int(first(b + 1) - first(b)); }
};

// ---------------------------------------------------------------- pixels
// One image, H x W x C, by pixel and first channel; `count` of a vector's channels exist.
struct Image {
  const float* x;
  int64_t w, c;
  vec at(int64_t row, int64_t column, int64_t channel, int64_t count) const {
    return load(x + (row * w + column) * c + channel, count);
  }
};

// The gradient before max(0, .): zero where the output y is.
struct Rectified {
  Image g, y;
  vec at(int64_t row, int64_t column, int64_t channel, int64_t count) const {
    return y.at(row, column, channel, count) > 0 ? g.at(row, column, channel, count) : vec{};
  }
};

// The gradient before pooling: that of the window for its winner, zero for the others and beyond the last window.
struct Unpooled {
  Image g;
  const uint8_t* winner;
  int64_t h;
  vec at(int64_t row, int64_t column, int64_t channel, int64_t count) const {
    const int64_t y = row / 2, x = column / 2;
    if (y >= h || x >= g.w) return vec{};
    bytes who = {};
    std::memcpy(&who, winner + (y * g.w + x) * g.c + channel, count < VL ? count : VL);
    const int place = int(row % 2 * 2 + column % 2);
    return __builtin_convertvector(who, ints) == place ? g.at(y, x, channel, count) : vec{};
  }
};

// The gradient of a forward pass's results: calls f with what gives the pixels of image n before pooling.
struct Gradient {
  const Shape& s;
  const float *g, *y;
  const uint8_t* winner;
  template <typename F>
  void image(int64_t n, F&& f) const {
    const int64_t from = n * s.ph() * s.pw() * s.o;
    const Image pixels{g + from, s.pw(), s.o};
    if (s.pool == 2)
      f(Unpooled{pixels, winner + from, s.ph()});
    else if (s.relu)
      f(Rectified{pixels, {y + from, s.pw(), s.o}});
    else
      f(pixels);
  }
};
constexpr int64_t kKernelBytes = 512 << 10, kSumBytes = 512 << 10, kSerialNumbers = 1 << 15;

// ---------------------------------------------------------------- one algorithm
template <int M, int R>
struct Algorithm {
  static constexpr int N = M + R - 1;
  static constexpr Toom<M, R> kT = toom<M, R>();

  static Plan plan(const Shape& s) {
    Plan p{};
    p.points = N, p.m = M;
    const bool patches = R == 1 && s.c * s.k * s.k <= 64;  // The window itself becomes the channels.
    p.kh = patches ? 1 : s.k;
    p.kw = R == 1 && !patches ? s.k : 1;
    p.channels = patches ? s.c * s.k * s.k : s.c;
    p.tiles = up(s.wo(), M);
    p.rows = s.ho() + p.kh - 1;
    p.columns = p.tiles + p.kw - 1;
    p.cblocks = up(p.channels, VL);
    p.vectors = up(s.o, VL);
    return p;
  }

  // One image, H x W x C, to rows x points x channel blocks x columns x VL.
  template <typename Pixels>
  NOINLINE static void transform_image(const Shape& s, const Plan& p, const Pixels& x, float* v) {
    if (p.is_patches(s)) return patch_image(s, p, x, v);
    const int64_t block = p.columns * VL, point = p.cblocks * block;
    for (int64_t y = 0; y < p.rows; ++y, v += p.row_size()) {
      const int64_t from = y - s.low;
      if (from < 0 || from >= s.h) {
        std::memset(v, 0, p.row_size() * 4);
        continue;
      }
      for (int64_t t = 0; t < p.columns; ++t)
        for (int64_t cb = 0; cb < p.cblocks; ++cb) {
          const int64_t count = s.c - cb * VL;
          const int64_t left = t * M - s.low;
          vec d[N];
          if (left >= 0 && left + N <= s.w && count >= VL) {
#pragma GCC unroll 8
            for (int i = 0; i < N; ++i) d[i] = x.at(from, left + i, cb * VL, VL);
          } else {
            for (int i = 0; i < N; ++i)
              d[i] = left + i >= 0 && left + i < s.w ? x.at(from, left + i, cb * VL, count) : vec{};
          }
          float* to = v + cb * block + t * VL;
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a) {
            vec sum = {};
#pragma GCC unroll 8
            for (int i = 0; i < N; ++i)
              if (kT.bt[a][i] != 0) sum += kT.bt[a][i] * d[i];
            store(to + a * point, sum);
          }
        }
    }
  }

  template <typename Pixels>
  NOINLINE static void patch_image(const Shape& s, const Plan& p, const Pixels& x, float* v) {
    const int64_t w = s.w + s.low + s.high, line = w * s.c, window = s.k * s.c, block = p.columns * VL;
    float* padded = scratch(3, (s.h + s.low + s.high) * line);
    std::memset(padded, 0, (s.h + s.low + s.high) * line * 4);
    for (int64_t i = 0; i < s.h; ++i)
      for (int64_t j = 0; j < s.w; ++j)
        for (int64_t c = 0; c < s.c; c += VL)
          store(padded + (i + s.low) * line + (s.low + j) * s.c + c, x.at(i, j, c, s.c - c), s.c - c);
    for (int64_t y = 0; y < p.rows; ++y, v += p.row_size())
      for (int64_t i = 0; i < s.k; ++i)
        for (int64_t j = 0; j < window; ++j) {
          const int64_t channel = i * window + j;
          const float* from = padded + (y + i) * line + j;
          float* to = v + channel / VL * block + channel % VL;
          for (int64_t t = 0; t < p.tiles; ++t) to[t * VL] = from[t * s.c];
        }
  }

  // Kernel to output blocks x points x taps x channels x (vectors of the block).
  NOINLINE static void transform_kernel(ffi::ThreadPool& pool, const Shape& s, const Plan& p, const float* w, bool flip,
                                        float* u) {
    const Blocks blocks(p.vectors);
    each_channel_block(pool, p, [&](int64_t tap, int64_t c) {
      float* out = u;
      for (int64_t b = 0; b < blocks.parts; ++b) {
        const int64_t width = blocks.width(b) * VL, size = p.taps() * p.channels * width;
        float* to = out + (tap * p.channels + c) * width;
        for (int64_t j = 0; j < width; j += VL) {
          vec taps[R];
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r)
            taps[r] = outputs_of(s, p, w, flip, R == 1 ? tap : tap * R + r, c, blocks.first(b) * VL + j);
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a) {
            vec sum = {};
#pragma GCC unroll 8
            for (int r = 0; r < R; ++r)
              if (kT.g[a][r] != 0) sum += kT.g[a][r] * taps[r];
            store(to + a * size + j, sum);
          }
        }
        out += N * size;
      }
    });
  }

  // The weights of tap `tap` (of K x K) from channel c to the outputs from o on.
  static vec outputs_of(const Shape& s, const Plan& p, const float* w, bool flip, int64_t tap, int64_t c, int64_t o) {
    if (p.is_patches(s)) tap = c / s.c, c = c % s.c;  // There, the channels count the whole window.
    if (!flip) return load(w + (tap * s.c + c) * s.o + o, s.o - o);
    vec v = {};
    const float* from = w + ((s.k * s.k - 1 - tap) * s.o + o) * s.c + c;
    for (int64_t i = 0; i < std::min<int64_t>(VL, s.o - o); ++i) v[i] = from[i * s.c];
    return v;
  }

  // f(tap, channel) for all taps and channels that remain as sums; on several threads where they are many.
  template <typename F>
  static void each_channel_block(ffi::ThreadPool& pool, const Plan& p, const F& f) {
    const auto block = [&](int64_t task) {
      const int64_t first = task % p.cblocks * VL;
      for (int64_t c = first; c < std::min<int64_t>(first + VL, p.channels); ++c) f(task / p.cblocks, c);
    };
    const int64_t tasks = p.taps() * p.cblocks;
    if (N * p.taps() * p.channels * p.opad() > kSerialNumbers)
      parallel(pool, tasks, block);
    else
      for (int64_t task = 0; task < tasks; ++task) call(block, task);
  }

  // y: pooled outputs; winner (if pooled): which pixel of the window they are of; 4 where all are negative.
  NOINLINE static void forward(ffi::ThreadPool& pool, const Shape& s, const float* x, const Gradient* g, const float* w,
                               bool flip, const float* bias, float* y, uint8_t* winner) {
    const Plan p = plan(s);
    const Blocks blocks(p.vectors);
    const bool streams = s.n * s.ph() * s.pw() * s.o * 4 >= kStreamBytes && s.o % VL == 0 && uintptr_t(y) % 64 == 0;
    float* u = scratch(0, N * p.taps() * p.channels * p.opad() + p.opad());
    float* b0 = u + N * p.taps() * p.channels * p.opad();
    transform_kernel(pool, s, p, w, flip, u);
    for (int64_t o = 0; o < p.opad(); ++o) b0[o] = bias && o < s.o ? bias[o] : 0;
    const int64_t height = s.ph() * s.pool;
    parallel(pool, s.n, [&](int64_t image) {
      float* v = scratch(1, p.image_size());
      const auto transform = [&](const auto& pixels) { transform_image(s, p, pixels, v); };
      if (g)
        g->image(image, transform);
      else
        transform(Image{x + image * s.h * s.w * s.c, s.w, s.c});
      const float* ub = u;
      for (int64_t b = 0; b < blocks.parts; ++b) {
        const int width = blocks.width(b);
        const int64_t size = p.taps() * p.channels * width * VL;
        const int most = kProducts.tiles(width, p.tiles), lines = kProducts.lines(width, most);
        // While a block's kernel fits in the cache beside the image, finish lines one by one; else point by point.
        const int64_t group = N * size * 4 <= kKernelBytes ? std::max<int64_t>(lines, s.pool) : height;
        const int64_t m_row = p.tiles * width * VL, m_point = group * m_row;
        float *m = scratch(2, N * m_point + 2 * M * m_row), *rows = m + N * m_point;
        for (int64_t y0 = 0; y0 < height; y0 += group) {
          const int64_t y1 = std::min(y0 + group, height);
          for (int a = 0; a < N; ++a)
            for (int64_t row = y0; row < y1;) {
              const int ly = int(std::min<int64_t>(lines, y1 - row));
              const bool whole = p.is_patches(s);
              const int64_t first = whole ? 0 : std::max<int64_t>(0, s.low - row - ly + 1);
              const int64_t last = whole ? 1 : std::min<int64_t>(p.kh, s.h + s.low - row);
              for (int64_t t = 0; t < p.tiles; t += most) {
                const int lt = int(std::min<int64_t>(most, p.tiles - t));
                kProducts.table[width][lt][ly](v + row * p.row_size() + a * p.cblocks * p.columns * VL + t * VL, p,
                                               first, last, ub + a * size,
                                               m + a * m_point + (row - y0) * m_row + t * width * VL, m_row);
              }
              row += ly;
            }
          const int64_t o = blocks.first(b) * VL;
          for (int64_t row = y0; row < y1; row += s.pool) {
            const float* sums = m + (row - y0) * m_row;
            const int64_t at = (image * s.ph() + row / s.pool) * s.pw() * s.o + o;
            if (s.pool == 1) {
              if (streams)
                finish_row<true>(s, p, sums, m_point, b0 + o, width, y + at, s.o, s.o - o);
              else
                finish_row<false>(s, p, sums, m_point, b0 + o, width, y + at, s.o, s.o - o);
            } else {
              float* below = rows + M * m_row;
              finish_row<false>(s, p, sums, m_point, b0 + o, width, rows, width * VL, width * VL);
              finish_row<false>(s, p, sums + m_row, m_point, b0 + o, width, below, width * VL, width * VL);
              pool_rows(s, rows, below, width, y + at, winner + at, s.o - o);
            }
          }
        }
        ub += N * size;
      }
      finish_streams();
    });
  }

  // A' of the products, bias and activation: a row of outputs, of which there are `count`, `stride` numbers a pixel.
  template <bool kStream>
  NOINLINE static void finish_row(const Shape& s, const Plan& p, const float* m, int64_t m_point, const float* bias,
                                  int width, float* y, int64_t stride, int64_t count) {
    for (int64_t t = 0; t < p.tiles; ++t)
      for (int j = 0; j < width; ++j) {
        vec q[N];
        const vec b = load(bias + j * VL);
#pragma GCC unroll 8
        for (int a = 0; a < N; ++a) q[a] = load(m + a * m_point + (t * width + j) * VL);
#pragma GCC unroll 8
        for (int i = 0; i < M; ++i) {
          if (t * M + i >= s.wo()) break;
          vec sum = b;
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a)
            if (kT.at[i][a] != 0) sum += kT.at[i][a] * q[a];
          if (s.relu) sum = positive(sum);
          float* to = y + (t * M + i) * stride + j * VL;
          if (kStream)
            stream(to, sum);
          else
            store(to, sum, count - j * VL);
        }
      }
  }

  // The maximum of 2 x 2 pixels; of equal ones the first in row order wins.
  NOINLINE static void pool_rows(const Shape& s, const float* top, const float* bottom, int width, float* y,
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
        std::memcpy(winner + x * s.o + j * VL, &small, std::min<int64_t>(VL, left));
      }
  }

  // A of a gradient image: rows x points x tiles x outputs; its pixels are added to `sum`.
  template <typename Pixels>
  NOINLINE static void transform_gradient(const Shape& s, const Plan& p, const Pixels& g, float* q, float* sum) {
    for (int64_t y = 0; y < s.ho(); ++y)
      for (int64_t t = 0; t < p.tiles; ++t)
        for (int64_t j = 0; j < p.vectors; ++j) {
          const int64_t o = j * VL;
          vec d[M];
          if ((t + 1) * M <= s.wo() && s.o - o >= VL) {
#pragma GCC unroll 8
            for (int i = 0; i < M; ++i) d[i] = g.at(y, t * M + i, o, VL);
          } else {
            for (int i = 0; i < M; ++i) d[i] = t * M + i < s.wo() ? g.at(y, t * M + i, o, s.o - o) : vec{};
          }
          vec total = load(sum + o);
#pragma GCC unroll 8
          for (int i = 0; i < M; ++i) total += d[i];
          store(sum + o, total);
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a) {
            vec sum = {};
#pragma GCC unroll 8
            for (int i = 0; i < M; ++i)
              if (kT.at[i][a] != 0) sum += kT.at[i][a] * d[i];
            store(q + ((y * N + a) * p.tiles + t) * p.opad() + o, sum);
          }
        }
  }

  NOINLINE static void kernel_gradient(ffi::ThreadPool& pool, const Shape& s, const float* x, const Gradient& g,
                                       float* dw, float* db) {
    const Plan p = plan(s);
    const Blocks blocks(p.vectors);
    const int64_t cpad = p.cblocks * VL, size = (N * p.taps() * cpad + 1) * p.opad();  // The last row is the bias's.
    // Which images are summed together depends on the number of threads only: the same bits in every run. Several
    // sums a thread, where they are small, because threads are not equally fast.
    const int64_t each = size * 4 <= kSumBytes ? 4 : 1;
    const int64_t parts = std::min<int64_t>(s.n, each * std::max<int64_t>(1, pool.num_threads()));
    float* sums = scratch(0, parts * size);
    parallel(pool, parts, [&](int64_t part) {
      float* du = sums + part * size;
      std::memset(du, 0, size * 4);
      const int64_t q_row = N * p.tiles * p.opad();
      float *v = scratch(1, p.image_size()), *q = scratch(2, s.ho() * q_row);
      for (int64_t image = part * s.n / parts; image < (part + 1) * s.n / parts; ++image) {
        transform_image(s, p, Image{x + image * s.h * s.w * s.c, s.w, s.c}, v);
        g.image(image, [&](const auto& pixels) { transform_gradient(s, p, pixels, q, du + size - p.opad()); });
        for (int a = 0; a < N; ++a)
          for (int64_t kh = 0; kh < p.kh; ++kh)
            for (int64_t kw = 0; kw < p.kw; ++kw)
              for (int64_t cb = 0; cb < p.cblocks; ++cb)
                for (int64_t b = 0; b < blocks.parts; ++b) {
                  const int width = blocks.width(b), step = rc(width);
                  const int64_t count = std::min<int64_t>(VL, p.channels - cb * VL);
                  // Rows that meet the image, not its padding.
                  const bool whole = p.is_patches(s);
                  const int64_t first = whole ? 0 : std::max<int64_t>(0, s.low - kh);
                  const int64_t last = whole ? s.ho() : std::min<int64_t>(s.ho(), s.h + s.low - kh);
                  for (int64_t c = 0; c < count; c += step)
                    kOuter[width](
                        v + (first + kh) * p.row_size() + (a * p.cblocks + cb) * p.columns * VL + kw * VL + c,
                        p.row_size(), q + first * q_row + a * p.tiles * p.opad() + blocks.first(b) * VL, q_row,
                        p.opad(), last - first, p.tiles,
                        du + (((a * p.kh + kh) * p.kw + kw) * cpad + cb * VL + c) * p.opad() + blocks.first(b) * VL,
                        p.opad());
                }
      }
    });
    for (int64_t o = 0; o < s.o; o += VL) {
      vec sum = {};
      for (int64_t part = 0; part < parts; ++part) sum += load(sums + (part + 1) * size - p.opad() + o);
      store(db + o, sum, s.o - o);
    }
    const int64_t point = p.taps() * cpad * p.opad();
    each_channel_block(pool, p, [&](int64_t tap, int64_t c) {
      for (int64_t o = 0; o < s.o; o += VL) {
        vec q[N] = {};
        for (int64_t part = 0; part < parts; ++part)
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a) q[a] += load(sums + part * size + a * point + (tap * cpad + c) * p.opad() + o);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          vec sum = {};
#pragma GCC unroll 8
          for (int a = 0; a < N; ++a)
            if (kT.g[a][r] != 0) sum += kT.g[a][r] * q[a];
          const int64_t row = p.is_patches(s) ? c : (R == 1 ? tap : tap * R + r) * s.c + c;
          store(dw + row * s.o + o, sum, s.o - o);
        }
      }
    });
  }
};

template <typename F>
void choose(const Shape& s, F&& f) {
  const bool narrow = s.c * s.k * s.k <= 64 || s.c < VL / 2;
  if (!narrow && s.k == 2 && s.wo() >= 3) return f(Algorithm<4, 2>());
  if (!narrow && s.k == 3 && s.wo() >= 3) return f(Algorithm<4, 3>());
  if (!narrow && s.k == 5 && s.wo() >= 3) return f(Algorithm<4, 5>());
  if (!narrow && s.k == 7 && s.wo() >= 2) return f(Algorithm<2, 7>());
  return f(Algorithm<1, 1>());
}

using Array = ffi::Buffer<ffi::F32, 4>;
using Vector = ffi::Buffer<ffi::F32, 1>;
using Winner = ffi::Buffer<ffi::U8, 4>;
template <typename T>
using Result = ffi::Result<T>;

// Each part may be compiled by itself, both at the same time.
#ifndef DIGITS_GRADIENT

// x: N x H x W x C; kernel: K x K x C x O. y: pooled max(0, x * kernel + bias).
ffi::Error Convolve(ffi::ThreadPool pool, Array x, Array w, Vector bias, Result<Array> y, Result<Winner> winner,
                    int64_t low, int64_t high, bool relu, int64_t window) {
  auto xd = x.dimensions(), wd = w.dimensions();
  Shape s{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  choose(s, [&](auto algorithm) {
    algorithm.forward(pool, s, x.typed_data(), nullptr, w.typed_data(), false, bias.typed_data(), y->typed_data(),
                      winner->typed_data());
  });
  return ffi::Error::Success();
}

// The gradient of x from that of y: the full correlation with the kernel turned by 180 degrees.
ffi::Error InputGradient(ffi::ThreadPool pool, Array g, Array y, Winner winner, Array w, Result<Array> dx, int64_t low,
                         int64_t high, bool relu, int64_t window) {
  auto xd = dx->dimensions(), wd = w.dimensions();
  const Shape f{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  const Gradient gradient{f, g.typed_data(), y.typed_data(), winner.typed_data()};
  const Shape s{f.n, f.ho(), f.wo(), f.o, f.c, f.k, f.k - 1 - low, f.k - 1 - high};
  choose(s, [&](auto algorithm) {
    algorithm.forward(pool, s, nullptr, &gradient, w.typed_data(), true, nullptr, dx->typed_data(), nullptr);
  });
  return ffi::Error::Success();
}

#endif
#ifndef DIGITS_FORWARD

ffi::Error KernelGradient(ffi::ThreadPool pool, Array x, Array g, Array y, Winner winner, Result<Array> dw,
                          Result<Vector> db, int64_t low, int64_t high, bool relu, int64_t window) {
  auto xd = x.dimensions(), wd = dw->dimensions();
  const Shape s{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  const Gradient gradient{s, g.typed_data(), y.typed_data(), winner.typed_data()};
  choose(s, [&](auto algorithm) {
    algorithm.kernel_gradient(pool, s, x.typed_data(), gradient, dw->typed_data(), db->typed_data());
  });
  return ffi::Error::Success();
}

#endif

}  // namespace

#define ATTRIBUTES Attr<int64_t>("low").Attr<int64_t>("high").Attr<bool>("relu").Attr<int64_t>("window")
#ifndef DIGITS_GRADIENT
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_convolve, Convolve,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Vector>()
                                  .Ret<Array>()
                                  .Ret<Winner>()
                                  .ATTRIBUTES);
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_input_gradient, InputGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Winner>()
                                  .Arg<Array>()
                                  .Ret<Array>()
                                  .ATTRIBUTES);
#endif
#ifndef DIGITS_FORWARD
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_kernel_gradient, KernelGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Array>()
                                  .Arg<Winner>()
                                  .Ret<Array>()
                                  .Ret<Vector>()
                                  .ATTRIBUTES);
#endif
