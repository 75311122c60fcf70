// What NumPy, SciPy and Pillow do with a plane of HxW numbers, for the modules that bring pictures into MNIST's form.
class Plane {
  constructor(height, width, values = new Float32Array(height * width)) {
    Object.assign(this, { height, width, values });
  }
  map(f) {  // Several times as fast as the array's own.
    const { values } = this, mapped = new Plane(this.height, this.width);
    for (let i = 0; i < values.length; i++) mapped.values[i] = f(values[i], i);
    return mapped;
  }
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

function largest(values) {
  let most = -Infinity;
  for (let i = 0; i < values.length; i++) if (values[i] > most) most = values[i];
  return most;
}

// The mask of the values above a threshold.
function above(values, threshold) {
  const mask = new Uint8Array(values.length);
  for (let i = 0; i < values.length; i++) mask[i] = values[i] > threshold ? 1 : 0;
  return mask;
}

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
    weights.forEach((weight, i) => {
      for (let x = 0, to = y * width, from = (first + i) * width; x < width; x++, to++, from++)
        result.values[to] += weight * wide.values[from];
    });
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

// The least value in a square window; beyond the edges is 0. Windows double until two of them cover one of `side`.
function eroded({ height, width, values }, side) {
  const pass = (from, count, step, lines, stride) => {
    const result = new Float32Array(from.length), line = new Float32Array(count + side - 1);
    for (let k = 0; k < lines; k++) {
      line.fill(0);
      for (let i = 0; i < count; i++) line[i + (side >> 1)] = from[k * stride + i * step];
      let reach = 1;
      const widen = (by) => {
        for (let i = 0; i + by < line.length; i++) if (line[i + by] < line[i]) line[i] = line[i + by];
        reach += by;
      };
      while (reach < side) widen(Math.min(reach, side - reach));
      for (let i = 0; i < count; i++) result[k * stride + i * step] = line[i];
    }
    return result;
  };
  return new Plane(height, width, pass(pass(values, height, width, width, 1), width, 1, height, width));
}

const dilated = (plane, side) => eroded(plane.map((v) => -v), side).map((v) => -v);

// The length of the gradient after a Gaussian blur of deviation 0.7; edges are mirrored.
function slopes({ height, width, values }) {
  const reach = 3, bell = Array.from({ length: 7 }, (_, i) => Math.exp(-0.5 * (i - reach) ** 2 / 0.49));
  const sum = bell.reduce((a, b) => a + b), blur = bell.map((v) => v / sum);
  const slope = blur.map((v, i) => v * (i - reach) / 0.49);
  const mirror = (i, n) => {
    const at = ((i % (2 * n)) + 2 * n) % (2 * n);
    return at < n ? at : 2 * n - 1 - at;
  };
  const pass = (from, weights, count, step, lines, stride) => {
    const result = new Float32Array(from.length), line = new Float32Array(count + 2 * reach);
    const places = Array.from(line, (_, i) => mirror(i - reach, count) * step);
    for (let k = 0; k < lines; k++) {
      for (let i = 0; i < line.length; i++) line[i] = from[k * stride + places[i]];
      for (let i = 0; i < count; i++) {
        let total = 0;
        for (let j = 0; j < 7; j++) total += weights[j] * line[i + j];
        result[k * stride + i * step] = total;
      }
    }
    return result;
  };
  const down = (from, weights) => pass(from, weights, height, width, width, 1);
  const across = (from, weights) => pass(from, weights, width, 1, height, width);
  const y = across(down(values, slope), blur), x = across(down(values, blur), slope);
  return new Plane(height, width, y).map((v, i) => Math.sqrt(v * v + x[i] * x[i]));
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
