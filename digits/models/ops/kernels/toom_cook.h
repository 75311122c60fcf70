// Toom-Cook's matrices: M outputs of a filter with R taps are y = A' ((G w) * (B' x)), with N = M + R - 1 products.
//
// The polynomials are evaluated at N - 1 points and at infinity. Points come in pairs p, -p: the rows of such a pair are
// the sum and the difference of one part for the even and one for the odd powers, which halves the work.
#pragma once

#include "vectors.h"

namespace digits {

// For each N: zero if N is even, and pairs. Of fractions with few bits, those that round best in two dimensions.
template <int N>
constexpr double point(int k) {
  constexpr double magnitudes[9][3] = {{}, {}, {}, {1}, {1}, {.5, 1.25}, {.75, 1.5}, {.34375, .875, 1.625}, {.5, 1, 2}};
  if (N % 2 == 0 && k == 0) return 0;
  const int pair = k - (N % 2 == 0);
  return (pair % 2 ? -1 : 1) * magnitudes[N][pair / 2];
}

template <int M, int R>
struct Toom {
  static constexpr int N = M + R - 1;
  double at[M][N], g[N][R], bt[N][N];
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
      for (int i = ++degree; i >= 0; --i) roots[i] = (i ? roots[i - 1] : 0) - point<N>(q) * roots[i];
      if (k < N - 1) norm *= point<N>(k) - point<N>(q);
    }
    double power = 1;
    // Rows are scaled by powers of two, such that neither side grows.
    double sum = 0, scale = 1;
    for (int i = 0; i < N; ++i) sum += roots[i] < 0 ? -roots[i] : roots[i];
    while (sum / scale > 1.5) scale *= 2;
    for (int i = 0; i < N; ++i) t.bt[k][i] = roots[i] / scale;
    if (k == N - 1) {
      t.at[M - 1][k] = 1;
      t.g[k][R - 1] = scale;
      continue;
    }
    for (int i = 0; i < (M > R ? M : R); ++i, power *= point<N>(k)) {
      if (i < M) t.at[i][k] = power;
      if (i < R) t.g[k][i] = power / norm * scale;
    }
  }
  return t;
}

template <int OUT, int IN>
struct Matrix {
  float m[OUT][IN];
};

// A matrix whose rows k, k + 1 of a pair are replaced by half their sum and half their difference: many zeros.
template <int N, int IN>
constexpr Matrix<N, IN> halved(const double (&rows)[N][IN]) {
  Matrix<N, IN> t{};
  for (int k = 0; k < N; ++k)
    for (int i = 0; i < IN; ++i) t.m[k][i] = float(rows[k][i]);
  for (int k = N % 2 == 0; k + 2 < N; k += 2)
    for (int i = 0; i < IN; ++i) {
      t.m[k][i] = float((rows[k][i] + rows[k + 1][i]) / 2);
      t.m[k + 1][i] = float((rows[k][i] - rows[k + 1][i]) / 2);
    }
  return t;
}

template <int IN, int OUT>
constexpr Matrix<OUT, IN> transposed(const Matrix<IN, OUT>& t) {
  Matrix<OUT, IN> r{};
  for (int k = 0; k < IN; ++k)
    for (int i = 0; i < OUT; ++i) r.m[i][k] = t.m[k][i];
  return r;
}

// The linear maps. `to_points`: from values to N points; otherwise from N points to values.
template <int M, int R>
struct InputToPoints {  // B'
  static constexpr int in = M + R - 1, out = M + R - 1;
  static constexpr bool to_points = true;
  static constexpr Matrix<out, in> t = halved(toom<M, R>().bt);
};
template <int M, int R>
struct KernelToPoints {  // G
  static constexpr int in = R, out = M + R - 1;
  static constexpr bool to_points = true;
  static constexpr Matrix<out, in> t = halved(toom<M, R>().g);
};
template <int M, int R>
struct GradientToPoints {  // A
  static constexpr int in = M, out = M + R - 1;
  static constexpr bool to_points = true;
  static constexpr Matrix<out, in> t = [] {
    double a[out][in] = {};
    for (int k = 0; k < out; ++k)
      for (int i = 0; i < in; ++i) a[k][i] = toom<M, R>().at[i][k];
    return halved(a);
  }();
};
template <int M, int R>
struct PointsToOutput {  // A'
  static constexpr int in = M + R - 1, out = M;
  static constexpr bool to_points = false;
  static constexpr Matrix<out, in> t = transposed(GradientToPoints<M, R>::t);
};
template <int M, int R>
struct PointsToKernel {  // G'
  static constexpr int in = M + R - 1, out = R;
  static constexpr bool to_points = false;
  static constexpr Matrix<out, in> t = transposed(KernelToPoints<M, R>::t);
};

template <typename T>
inline void apply(const vec (&x)[T::in], vec (&y)[T::out]) {
  constexpr int N = T::to_points ? T::out : T::in, first = N % 2 == 0;
  vec v[T::in];
#pragma GCC unroll 8
  for (int i = 0; i < T::in; ++i) v[i] = x[i];
  if (!T::to_points)
#pragma GCC unroll 8
    for (int k = first; k + 2 < N; k += 2) v[k] = x[k] + x[k + 1], v[k + 1] = x[k] - x[k + 1];
#pragma GCC unroll 8
  for (int k = 0; k < T::out; ++k) {
    vec sum = {};
#pragma GCC unroll 8
    for (int i = 0; i < T::in; ++i)
      if (T::t.m[k][i] != 0) sum += T::t.m[k][i] * v[i];
    y[k] = sum;
  }
  if (T::to_points)
#pragma GCC unroll 8
    for (int k = first; k + 2 < N; k += 2) {
      const vec even = y[k], odd = y[k + 1];
      y[k] = even + odd, y[k + 1] = even - odd;
    }
}

// Applies a map to `count` sequences. `in_tap` numbers lie between the values of one, `in_next` between two of them.
template <typename T>
NOINLINE void along(const float* in, int64_t in_tap, int64_t in_next, float* out, int64_t out_tap, int64_t out_next,
                    int64_t count) {
  for (int64_t n = 0; n < count; ++n, in += in_next, out += out_next) {
    vec x[T::in], y[T::out];
#pragma GCC unroll 8
    for (int i = 0; i < T::in; ++i) x[i] = load(in + i * in_tap);
    apply<T>(x, y);
#pragma GCC unroll 8
    for (int i = 0; i < T::out; ++i) store(out + i * out_tap, y[i]);
  }
}

}  // namespace digits
