// Finds digits and brings each into MNIST's form, as digits/data/pictures/segment.py and mnist_form.py do.
const SIDE = 28, BOX = 20, STRONG = 0.5, WEAK = Math.fround(0.2), THIN = 1.25, THICKENED = 2, MOST_PIECES = 500;
const WORKING_PIXELS = 2e6, WORKING_SIDE = 5000, BLACK = 16;

// The digits of an ImageData in reading order: {box, pixels: 784 bytes, white on black}; none where none is found.
function findDigits(picture) {
  const { width, height } = picture, longer = Math.max(width, height);
  const factor = Math.ceil(Math.max(Math.sqrt(width * height / WORKING_PIXELS), longer / WORKING_SIDE));
  const strength = findInk(brightened(factor > 1 ? reduced(picture, factor) : picture));
  return marksOf(strength).map(({ box, mask }) => ({
    pixels: centred(strength.cut(box).map((v, i) => (mask[i] ? v : 0))),
    box: box.map((v, i) => Math.min(v * factor, i % 2 ? height : width)),
  }));
}

// A picture whose pixels are means of squares; colours count as much as they are opaque.
function reduced({ data, width, height }, factor) {
  const w = Math.ceil(width / factor), h = Math.ceil(height / factor), small = new Uint8ClampedArray(4 * w * h);
  for (let y = 0; y < h; y++)
    for (let x = 0; x < w; x++) {
      let r = 0, g = 0, b = 0, alpha = 0, count = 0;
      for (let row = y * factor; row < Math.min(height, (y + 1) * factor); row++)
        for (let column = x * factor; column < Math.min(width, (x + 1) * factor); column++, count++) {
          const at = 4 * (row * width + column), a = data[at + 3];
          r += data[at] * a;
          g += data[at + 1] * a;
          b += data[at + 2] * a;
          alpha += a;
        }
      small.set([r / alpha, g / alpha, b / alpha, alpha / count].map((v) => Math.round(v || 0)), 4 * (y * w + x));
    }
  return { data: small, width: w, height: h };
}

// An opaque picture that looks black holds numbers of fewer bits.
function brightened(picture) {
  let most = 0;
  for (let i = 0; i < picture.data.length; i++) {
    if (i % 4 === 3 ? picture.data[i] < 255 : picture.data[i] >= BLACK) return picture;
    if (i % 4 < 3) most = Math.max(most, picture.data[i]);
  }
  const white = 2 ** (32 - Math.clz32(most)) - 1;
  return most ? { ...picture, data: picture.data.map((v, i) => (i % 4 === 3 ? v : v * 255 / white)) } : picture;
}

// Marks of ink with the size of digits, joined where pieces belong together: {box, mask}.
function marksOf(strength) {
  const { height, width, values } = strength;
  const { labels, areas, boxes: all } = labelled(above(values, WEAK), height, width, true);
  const reaches = new Uint8Array(areas.length);
  for (let i = 0; i < values.length; i++) if (values[i] > STRONG) reaches[labels[i]] = 1;
  const least = Math.max(4, 0.002 * Math.max(...areas.map((area, k) => (reaches[k] ? area : 0))));
  const pieces = areas.flatMap((area, k) => (k && reaches[k] && area >= least ? [k] : []));
  if (!pieces.length || pieces.length > MOST_PIECES) return [];
  const boxes = pieces.map((k) => all[k]), without = surroundings(labels, pieces, boxes, height, width);
  const groups = joined(boxes, pieces.map((_, i) => i).filter((i) => !without[i]));
  const around = groups.map((group) => boxAround(group.map((i) => boxes[i])));
  const able = around.map((box, i) => i).filter((i) => {
    const [w, h] = sizeOf(around[i]);
    return w <= 3 * h && h >= Math.max(5, 0.01 * Math.max(height, width));
  });
  const tallest = Math.max(0, ...able.map((i) => sizeOf(around[i])[1]));
  const digits = able.filter((i) => sizeOf(around[i])[1] >= 0.35 * tallest);
  return inReadingOrder(digits.map((i) => around[i])).map((k) => {
    const box = around[digits[k]], numbers = new Set(groups[digits[k]].map((i) => pieces[i]));
    const own = new Plane(height, width, labels).cut(box).map((v) => Number(numbers.has(v)));
    return { box, mask: dilated(own, 3).values };  // With the faint rim of the strokes.
  });
}

const sizeOf = ([left, top, right, bottom]) => [right - left, bottom - top];
const boxAround = (boxes) => boxes[0].map((_, i) => (i < 2 ? Math.min : Math.max)(...boxes.map((box) => box[i])));
const overlap = (a, b, axis) => Math.min(a[axis + 2], b[axis + 2]) - Math.max(a[axis], b[axis]);

// Which pieces are no ink: frames around others, and things along the picture's edge, such as a table.
function surroundings(labels, pieces, boxes, height, width) {
  const touching = new Map();
  const count = (i) => { touching.set(labels[i], (touching.get(labels[i]) ?? 0) + 1); };
  for (let x = 0; x < width; x++) [x, (height - 1) * width + x].forEach(count);
  for (let y = 1; y < height - 1; y++) [y * width, (y + 1) * width - 1].forEach(count);
  const frame = boxes.map((a) => boxes.some((b) => {
    const [w, h] = sizeOf(b), tall = sizeOf(a)[1];
    return overlap(a, b, 0) === w && overlap(a, b, 1) === h && h < tall && h > 0.45 * tall;
  }));
  const off = boxes.some((box, i) =>
    !touching.has(pieces[i]) && sizeOf(box)[1] > 0.05 * Math.max(height, width) && !frame[i]);
  return boxes.map((box, i) => {
    const [w, h] = sizeOf(box);
    return frame[i] || (off && (touching.get(pieces[i]) ?? 0) > 0.3 * (w + h));
  });
}

// Groups of indices of boxes that belong to one digit.
function joined(boxes, indices) {
  let groups = indices.map((i) => [i]);
  for (;;) {
    const around = groups.map((group) => boxAround(group.map((i) => boxes[i])));
    const next = connected(groups.length, (i, j) => {
      const [a, b] = [around[i], around[j]], [aw, ah] = sizeOf(a), [bw, bh] = sizeOf(b);
      const across = overlap(a, b, 0), down = overlap(a, b, 1);
      const narrower = Math.min(aw, bw), lower = Math.min(ah, bh), taller = Math.max(ah, bh);
      const speck = Math.min(Math.max(aw, ah), Math.max(bw, bh)) < 0.15 * taller;
      const stacked = across >= 0.6 * narrower && down > -0.2 * taller;
      const beside = down > 0 && across > -0.08 * taller && lower < 0.35 * taller;
      return (across === narrower && down === lower) || (!speck && (stacked || beside));
    });
    if (next.length === groups.length) return groups;
    groups = next.map((members) => members.flatMap((k) => groups[k]));
  }
}

function connected(count, together) {
  const parts = [], left = new Set(Array(count).keys());
  for (const first of left) {
    const part = [first];
    left.delete(first);
    for (const i of part) for (const j of left) if (together(i, j)) { part.push(j); left.delete(j); }
    parts.push(part);
  }
  return parts;
}

// The indices of boxes line by line from the top, each line from left to right.
function inReadingOrder(boxes) {
  const lines = connected(boxes.length, (i, j) =>
    overlap(boxes[i], boxes[j], 1) >= 0.5 * Math.min(sizeOf(boxes[i])[1], sizeOf(boxes[j])[1]));
  const top = (line) => line.reduce((sum, i) => sum + boxes[i][1], 0) / line.length;
  return lines.sort((a, b) => top(a) - top(b)).flatMap((line) => line.sort((i, j) => boxes[i][0] - boxes[j][0]));
}

// The ink of one digit in MNIST's form: at most 20x20 pixels in 28x28, its centre of mass in the middle.
function centred(ink) {
  const strength = thickened(ink), scale = BOX / Math.max(strength.height, strength.width);
  const size = (n) => Math.max(1, rounded(n * scale));
  const small = resized(strength, size(strength.height), size(strength.width)), most = largest(small.values);
  const bytes = small.map((v) => rounded(v * Math.fround(255 / most)));
  const total = bytes.values.reduce((a, b) => a + b);
  const shift = (n, along) => {
    const middle = bytes.values.reduce((sum, v, i) => sum + v * along(i), 0) / total;
    return Math.min(SIDE - n, Math.max(0, Math.ceil((SIDE - 1) / 2 - middle)));
  };
  const top = shift(bytes.height, (i) => Math.floor(i / bytes.width));
  const left = shift(bytes.width, (i) => i % bytes.width);
  const pixels = new Uint8Array(SIDE * SIDE);
  for (let y = 0; y < bytes.height; y++)
    pixels.set(bytes.values.subarray(y * bytes.width, (y + 1) * bytes.width), (top + y) * SIDE + left);
  return pixels;
}

function strokeWidth(strength) {
  const { width, height, values } = strength.padded(1);
  let slope = 0;
  for (let y = 0; y < height - 1; y++)
    for (let x = 0, at = y * width; x < width - 1; x++, at++)
      slope += Math.hypot(values[at + width] - values[at], values[at + 1] - values[at]);
  return 2 * values.reduce((a, b) => a + b) / slope;
}

// Widens strokes that would be too thin in 20x20 pixels, by the same amount everywhere; keeps others.
function thickened(strength) {
  let side = Math.max(strength.height, strength.width), width = strokeWidth(strength);
  if (width * BOX / side >= THIN) return strength;
  const zoom = Math.ceil(100 / side);
  if (zoom > 1) {
    const small = strength.padded(1);
    strength = resized(small, small.height * zoom, small.width * zoom, bicubic);
    side *= zoom;
    width *= zoom;
  }
  const wider = (THICKENED * side - BOX * width) / (BOX - THICKENED);
  const padded = strength.padded(Math.trunc(wider / 2) + 2);
  const distance = distances(padded.values.map((v) => v >= Math.fround(0.35)), padded.height, padded.width);
  const widened = padded.map((_, i) => Math.min(1, Math.max(0, wider / 2 + 1 - distance[i])));
  const { boxes } = labelled(above(widened.values, WEAK), padded.height, padded.width, true);
  return widened.cut(boxAround(boxes.slice(1)));
}
