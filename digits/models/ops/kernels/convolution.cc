// Convolutions with stride 1, BatchNorm and their gradients in float32, and random bits, on the CPU, called by XLA
// through its FFI: the doors.

#include "algorithm.h"
#include "batch_norm.h"
#include "random.h"

namespace digits {
namespace {

// Filtering in two dimensions, where it saves enough; otherwise along the rows alone. That has fewer points at which the
// kernel must be evaluated, and computes no rows of padding.
template <typename Nested, typename Rows, typename F>
void better(const Shape& s, F&& f) {
  const bool few = s.n * Nested::plan(s).lines * Nested::plan(s).columns < 24;
  if (few || Nested::products(s) > 0.95 * Rows::products(s)) return f(Rows());
  return f(Nested());
}

// Calls f with the algorithm that takes least time for a shape.
template <typename F>
void choose(const Shape& s, F&& f) {
  const bool narrow = s.c * s.k * s.k <= 64 || s.c < VL / 2;
  if (!narrow && s.k == 2 && s.wo() >= 3) return better<Algorithm<4, 2, 4, 2>, Algorithm<1, 1, 4, 2>>(s, f);
  if (!narrow && s.k == 3 && s.wo() >= 3) {
    // Larger tiles round worse. They must leave fewer pixels over, as those of 14 x 14 do.
    using Small = Algorithm<4, 3, 4, 3>;
    using Large = Algorithm<5, 3, 5, 3>;
    using Rows = Algorithm<1, 1, 4, 3>;
    if (Large::products(s) < 0.9 * Small::products(s)) return better<Large, Rows>(s, f);
    return better<Small, Rows>(s, f);
  }
  if (!narrow && s.k == 5 && s.wo() >= 3) return better<Algorithm<3, 5, 3, 5>, Algorithm<1, 1, 4, 5>>(s, f);
  using Pieces = Algorithm<4, 4, 4, 4>;
  using Plain = Algorithm<1, 1, 1, 1>;
  if (!narrow && s.k >= 4 && Pieces::products(s) < 0.5 * Plain::products(s)) return f(Pieces());
  return f(Plain());
}

namespace ffi = xla::ffi;
using Array = ffi::Buffer<ffi::F32, 4>;
using Vector = ffi::Buffer<ffi::F32, 1>;
using Anything = ffi::Buffer<ffi::F32>;
using Winner = ffi::Buffer<ffi::U8, 4>;
using Words = ffi::Buffer<ffi::U32, 1>;
template <typename T>
using Result = ffi::Result<T>;

// The gradient of a forward pass of shape s, before pooling and ReLU.
Pixels before_pooling(const Shape& s, Array g, Array y, Winner winner) {
  Pixels pixels{g.typed_data(), s.ho(), s.wo(), s.o};
  if (s.pool == 2)
    pixels.winner = winner.typed_data();
  else if (s.relu)
    pixels.y = y.typed_data();
  return pixels;
}

// Each part may be compiled by itself, both at the same time.
#ifndef DIGITS_GRADIENT

// x: N x H x W x C; kernel: K x K x C x O. y: pooled max(0, x * kernel + bias).
ffi::Error Convolve(Pool pool, Array x, Array w, Vector bias, Result<Array> y, Result<Winner> winner, int64_t low,
                    int64_t high, bool relu, int64_t window) {
  auto xd = x.dimensions(), wd = w.dimensions();
  const Shape s{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  choose(s, [&](auto algorithm) {
    algorithm.convolve(pool, s, {x.typed_data(), s.h, s.w, s.c}, w.typed_data(), false, bias.typed_data(),
                       y->typed_data(), winner->typed_data());
  });
  return ffi::Error::Success();
}

// The gradient of x from that of y: the full correlation with the kernel turned by 180 degrees.
ffi::Error InputGradient(Pool pool, Array g, Array y, Winner winner, Array w, Result<Array> dx, int64_t low,
                         int64_t high, bool relu, int64_t window) {
  auto xd = dx->dimensions(), wd = w.dimensions();
  const Shape f{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  const Shape s{f.n, f.ho(), f.wo(), f.o, f.c, f.k, f.k - 1 - low, f.k - 1 - high};
  choose(s, [&](auto algorithm) {
    algorithm.convolve(pool, s, before_pooling(f, g, y, winner), w.typed_data(), true, nullptr, dx->typed_data(),
                       nullptr);
  });
  return ffi::Error::Success();
}

#endif
#ifndef DIGITS_FORWARD

ffi::Error KernelGradient(Pool pool, Array x, Array g, Array y, Winner winner, Result<Array> dw, Result<Vector> db,
                          int64_t low, int64_t high, bool relu, int64_t window) {
  auto xd = x.dimensions(), wd = dw->dimensions();
  const Shape s{xd[0], xd[1], xd[2], xd[3], wd[3], wd[0], low, high, relu, window};
  choose(s, [&](auto algorithm) {
    algorithm.kernel_gradient(pool, s, {x.typed_data(), s.h, s.w, s.c}, before_pooling(s, g, y, winner),
                              dw->typed_data(), db->typed_data());
  });
  return ffi::Error::Success();
}

// x: ... x C, normalised over all but the channels.
ffi::Error BatchNorm(Pool pool, Anything x, Vector scale, Vector bias, Result<Anything> y, Result<Vector> mean,
                     Result<Vector> variance, float epsilon) {
  const int64_t c = scale.dimensions()[0], rows = x.element_count() / c;
  normalize(pool, rows, c, x.typed_data(), scale.typed_data(), bias.typed_data(), epsilon, y->typed_data(),
            mean->typed_data(), variance->typed_data());
  return ffi::Error::Success();
}

ffi::Error BatchNormGradient(Pool pool, Anything x, Anything g, Vector mean, Vector variance, Vector scale,
                             Result<Anything> dx, Result<Vector> dscale, Result<Vector> dbias, float epsilon) {
  const int64_t c = scale.dimensions()[0], rows = x.element_count() / c;
  normalize_gradient(pool, rows, c, x.typed_data(), g.typed_data(), mean.typed_data(), variance.typed_data(),
                     scale.typed_data(), epsilon, dx->typed_data(), dscale->typed_data(), dbias->typed_data());
  return ffi::Error::Success();
}

ffi::Error RandomBits(Pool pool, Words key, Result<Words> bits) {
  random_bits(pool, key.typed_data(), bits->element_count(), bits->typed_data());
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
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_batch_norm, BatchNorm,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Anything>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Ret<Anything>()
                                  .Ret<Vector>()
                                  .Ret<Vector>()
                                  .Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_batch_norm_gradient, BatchNormGradient,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Anything>()
                                  .Arg<Anything>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Arg<Vector>()
                                  .Ret<Anything>()
                                  .Ret<Vector>()
                                  .Ret<Vector>()
                                  .Attr<float>("epsilon"));
XLA_FFI_DEFINE_HANDLER_SYMBOL(digits_random_bits, RandomBits,
                              ffi::Ffi::Bind()
                                  .Ctx<ffi::ThreadPool>()
                                  .Arg<Words>()
                                  .Ret<Words>());
#endif
#ifndef DIGITS_GRADIENT

// Multiplications of the products for one image; those of the transforms do not count.
extern "C" int64_t digits_multiplications(int64_t n, int64_t h, int64_t w, int64_t c, int64_t o, int64_t k,
                                          int64_t low, int64_t high) {
  const Shape s{n, h, w, c, o, k, low, high};
  int64_t count = 0;
  choose(s, [&](auto algorithm) { count = algorithm.products(s) * algorithm.plan(s).channels * o; });
  return count;
}

#endif

}  // namespace digits
