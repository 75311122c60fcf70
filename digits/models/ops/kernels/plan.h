// What is computed, and how it is cut into tiles and into tasks.
#pragma once

#include <algorithm>
#include <cstdint>

#include "vectors.h"

namespace digits {

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

// Output vectors in blocks of at most kMaxV, as even as possible.
struct Blocks {
  int64_t vectors, parts;
  explicit Blocks(int64_t v) : vectors(v), parts(up(v, kMaxV)) {}
  int64_t first(int64_t b) const { return b * vectors / parts; }
  int width(int64_t b) const { return int(first(b + 1) - first(b)); }
};

// The part of a batch that one task computes: of so many images, so many lines of tiles.
struct Chunk {
  int64_t image, images, first, lines;
};

// An output image is lines x columns of tiles of my x mx pixels. A kernel is cut into pieces that cover one tile each
// (a kernel that is one piece may reach further); the sums over pieces and channels remain as matrix products.
struct Plan {
  int64_t my, mx, points;      // Pixels of a tile, and points at which it is evaluated.
  int64_t pieces_y, pieces_x;  // of the kernel
  int64_t channels, cblocks, vectors;
  int64_t lines, columns;      // Tiles of an output image.
  int64_t first, last;         // Lines of the transformed image that meet the image, not its padding.
  bool patches;                // The window itself became the channels.

  int64_t opad() const { return vectors * VL; }
  int64_t cpad() const { return cblocks * VL; }
  int64_t pieces() const { return pieces_y * pieces_x; }
  int64_t in_lines(int64_t out) const { return out + pieces_y - 1; }
  int64_t in_columns() const { return columns + pieces_x - 1; }
  int64_t tiles(const Chunk& k) const { return k.images * k.lines * columns; }
  // Numbers of a transformed chunk at one point: of a block of VL channels, and of all channels.
  int64_t block_size(const Chunk& k) const { return k.images * in_lines(k.lines) * in_columns() * VL; }
  int64_t point_size(const Chunk& k) const { return cblocks * block_size(k); }
};

// Chunks of which each has about so many tiles: strips of an image, or several images.
struct Chunks {
  int64_t n, lines, images, strips;  // Images a chunk, or strips an image, and lines a strip.
  Chunks(const Shape& s, const Plan& p, int64_t images_there, int64_t tiles) : n(images_there), lines(p.lines) {
    images = std::max<int64_t>(1, std::min(n, tiles / (p.lines * p.columns)));
    // Each strip transforms lines of its neighbour again, if the kernel has several pieces. Pools need whole pairs.
    if (images == 1) lines = std::max({tiles / p.columns, 4 * (p.pieces_y - 1), int64_t(1)});
    lines = up(p.lines, up(p.lines, std::min(lines, p.lines)));
    if (lines < p.lines && p.my * lines % s.pool) ++lines;
    strips = up(p.lines, lines);
  }
  int64_t count() const { return up(n, images) * strips; }
  Chunk at(int64_t task, const Plan& p) const {
    const int64_t image = task / strips * images, first = task % strips * lines;
    return {image, std::min(images, n - image), first, std::min(lines, p.lines - first)};
  }
};

}  // namespace digits
