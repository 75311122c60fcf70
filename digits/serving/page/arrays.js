// What NumPy, SciPy and Pillow do with a plane of HxW numbers, for the modules that bring pictures into MNIST's form.
class Plane {
  constructor(height, width, values = new Float32Array(height * width)) {
    Object.assign(this, { height, width, values });
  }
  map(f) { return new Plane(this.height, this.width, this.values.map(f)); }
  cut([left, top, right, bottom]) {
    const part = new Plane(bottom - top, right - left);
    for (let y = top; y < bottom; y++)
      part.values.set(this.values.subarray(y * this.width + left, y * this.width + right), (y - top) * part.width);
    return part;
  }
  padded(margin) {
    const wide = new Plane(this.height + 2 * margin, this.width + 2 * margin);
    for (let y = 0; y < this.height; y++)
      wide.values.set(
        this.values.subarray(y * this.width, (y + 1) * this.width), (y + margin) * wide.width + margin);
    return wide;
  }
}

const largest = (values) => values.reduce((a, b) => (a > b ? a : b), -Infinity);

// The quantile of numbers, between two of them in proportion; reorders `values` (Hoare's selection).
function quantile(values, q) {
  const at = q * (values.length - 1), k = Math.floor(at);
  for (let low = 0, high = values.length - 1; low < high;) {
    const pivot = values[(low + high) >> 1];
    let i = low, j = high;
    while (i <= j) {
      while (values[i] < pivot) i++;
      while (values[j] > pivot) j--;
      if (i <= j) {
        const kept = values[i];
        values[i++] = values[j];
        values[j--] = kept;
      }
    }
    if (k <= j) high = j;
    else if (k >= i) low = i;
    else break;
  }
  let next = values[k];
  if (at > k) {
    next = Infinity;
    for (let i = k + 1; i < values.length; i++) if (values[i] < next) next = values[i];
  }
  return values[k] + (next - values[k]) * (at - k);
}

// Resizes a plane. `taps(old, new)` lists for every new row or column the first old one, and the weights from there.
function resized(plane, height, width, taps = covering) {
  const across = taps(plane.width, width), down = taps(plane.height, height);
  const wide = new Plane(plane.height, width), result = new Plane(height, width);
  for (let y = 0; y < plane.height; y++)
    for (let x = 0; x < width; x++) {
      const { first, weights } = across[x];
      let sum = 0;
      for (let i = 0, at = y * plane.width + first; i < weights.length; i++) sum += weights[i] * plane.values[at + i];
      wide.values[y * width + x] = sum;
    }
  for (let y = 0; y < height; y++) {
    const { first, weights } = down[y];
    for (let x = 0; x < width; x++) {
      let sum = 0;
      for (let i = 0; i < weights.length; i++) sum += weights[i] * wide.values[(first + i) * width + x];
      result.values[y * width + x] = sum;
    }
  }
  return result;
}

// Each new pixel is the mean over the area that it covers.
function covering(old, size) {
  return Array.from({ length: size }, (_, i) => {
    const [start, end] = [old * i / size, old * (i + 1) / size], first = Math.floor(start), weights = [];
    for (let j = first; j < Math.min(old, Math.ceil(end)); j++)
      weights.push((Math.min(j + 1, end) - Math.max(j, start)) * size / old);
    return { first, weights };
  });
}

// Pillow's filters, for sizes that grow.
function pillow(kernel, reach) {
  return (old, size) => Array.from({ length: size }, (_, i) => {
    const centre = (i + 0.5) * old / size, first = Math.max(0, Math.floor(centre - reach + 0.5)), weights = [];
    for (let j = first; j < Math.min(old, Math.floor(centre + reach + 0.5)); j++)
      weights.push(kernel(Math.abs(j - centre + 0.5)));
    const sum = weights.reduce((a, b) => a + b);
    return { first, weights: weights.map((w) => w / sum) };
  });
}
const bilinear = pillow((x) => Math.max(0, 1 - x), 1);
const bicubic = pillow(
  (x) => (x < 1 ? (1.5 * x - 2.5) * x * x + 1 : x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0), 2);

// The least (or, with Math.max, the largest) value in a square window; beyond the edges is 0.
function windowed(plane, side, least = Math.min) {
  const before = side >> 1, { height, width } = plane;
  const pass = (values, count, step, lines, stride) => {
    const result = new Float32Array(values.length);
    for (let line = 0; line < lines; line++)
      for (let i = 0; i < count; i++) {
        let found = i < before || i - before + side > count ? 0 : values[line * stride + i * step];
        for (let j = Math.max(0, i - before); j < Math.min(count, i - before + side); j++)
          found = least(found, values[line * stride + j * step]);
        result[line * stride + i * step] = found;
      }
    return result;
  };
  return new Plane(height, width, pass(pass(plane.values, height, width, width, 1), width, 1, height, width));
}

// The length of the gradient after a Gaussian blur of deviation 0.7; edges are mirrored.
function slopes(plane) {
  const { height, width, values } = plane, reach = [-3, -2, -1, 0, 1, 2, 3];
  const bell = reach.map((x) => Math.exp(-0.5 * x * x / 0.49)), sum = bell.reduce((a, b) => a + b);
  const blur = bell.map((v) => v / sum), slope = blur.map((v, i) => v * reach[i] / 0.49);
  const mirror = (i, n) => {
    const at = ((i % (2 * n)) + 2 * n) % (2 * n);
    return at < n ? at : 2 * n - 1 - at;
  };
  const along = (from, weights, down) => from.map((_, at) => {
    const y = Math.floor(at / width), x = at % width;
    return weights.reduce((total, weight, i) =>
      total + weight * from[down ? mirror(y + reach[i], height) * width + x : y * width + mirror(x + reach[i], width)], 0);
  });
  const down = along(along(values, slope, true), blur, false), across = along(along(values, blur, true), slope, false);
  return new Plane(height, width, down.map((v, i) => Math.hypot(v, across[i])));
}

// Numbers the connected areas of a mask, from 1; with their sizes and boxes at the same numbers.
function labelled(mask, height, width, diagonal) {
  const labels = new Int32Array(mask.length), areas = [0], boxes = [null], stack = [];
  for (let seed = 0; seed < mask.length; seed++) {
    if (!mask[seed] || labels[seed]) continue;
    const number = areas.length, box = [width, height, 0, 0];
    let area = 0;
    labels[seed] = number;
    stack.push(seed);
    while (stack.length) {
      const at = stack.pop(), y = (at / width) | 0, x = at - y * width;
      area++;
      if (x < box[0]) box[0] = x;
      if (y < box[1]) box[1] = y;
      if (x >= box[2]) box[2] = x + 1;
      if (y >= box[3]) box[3] = y + 1;
      for (let dy = y ? -1 : 0; dy <= 1 && y + dy < height; dy++)
        for (let dx = x ? -1 : 0; dx <= 1 && x + dx < width; dx++) {
          const next = at + dy * width + dx;
          if (mask[next] && !labels[next] && (diagonal || !dx || !dy)) {
            labels[next] = number;
            stack.push(next);
          }
        }
    }
    areas.push(area);
    boxes.push(box);
  }
  return { labels, areas, boxes };
}

// The Euclidean distance of every pixel from the nearest one in the mask (Felzenszwalb and Huttenlocher).
function distances(mask, height, width) {
  const squares = Float64Array.from(mask, (v) => (v ? 0 : 1e12));
  const pass = (start, count, step) => {
    const line = Float64Array.from({ length: count }, (_, i) => squares[start + i * step]);
    const places = [0], borders = [-Infinity];
    for (let i = 1; i < count; i++) {
      const meet = (p) => (line[i] + i * i - line[p] - p * p) / (2 * (i - p));
      while (meet(places.at(-1)) <= borders.at(-1)) {
        places.pop();
        borders.pop();
      }
      borders.push(meet(places.at(-1)));
      places.push(i);
    }
    for (let i = 0, k = 0; i < count; i++) {
      while (k + 1 < places.length && borders[k + 1] < i) k++;
      squares[start + i * step] = (i - places[k]) ** 2 + line[places[k]];
    }
  };
  for (let x = 0; x < width; x++) pass(x, height, width);
  for (let y = 0; y < height; y++) pass(y * width, width, 1);
  return squares.map(Math.sqrt);
}
