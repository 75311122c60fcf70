// A trained network: from 28x28 pixels, 0 to 255, to the outputs of all its layers and the probabilities.
const ACTIVATIONS = {
  relu: (x) => Math.max(0, x),
  tanh: Math.tanh,
  sigmoid: (x) => 1 / (1 + Math.exp(-x)),
  elu: (x) => (x > 0 ? x : Math.expm1(x)),
  gelu: (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))),
  silu: (x) => x / (1 + Math.exp(-x)),
};

// Outputs are {values, height, width, channels}, the channel innermost; a vector is 1x1.
class Network {
  // `layers` are those of drawing_page.py; the numbers of their arrays stand in `weights`, base64, one after another.
  constructor({ layers, normalization, precision }, weights) {
    const numbers = decoded(weights, precision);
    let place = 0;
    this.normalization = normalization;
    this.layers = layers.map((layer) => {
      const arrays = {};
      for (const [name, shape] of Object.entries(layer.arrays)) {
        const size = shape.reduce((a, b) => a * b, 1);
        arrays[name] = numbers.subarray(place, place += size);
      }
      return { ...layer, ...arrays, shapes: layer.arrays };
    });
    this.seen = receptiveFields(layers);
  }

  // The outputs of all layers. `harm` may hold `dead`, a set of channels by layer, and `dropout`: {layer, rate}.
  outputs(pixels, harm = {}) {
    let x = { values: normalized(pixels, this.normalization), height: 28, width: 28, channels: 1 };
    return this.layers.map((layer, index) => {
      x = OPERATIONS[layer.kind](layer, x);
      const dead = harm.dead?.get(index), rate = harm.dropout?.layer === index ? harm.dropout.rate : 0;
      if (dead?.size || rate) x = harmed(x, dead ?? new Set(), rate);
      return x;
    });
  }

  probabilities(pixels, harm) { return softmax(this.outputs(pixels, harm).at(-1).values); }
}

function decoded(text, precision) {
  const binary = atob(text), bytes = new Uint8Array(binary.length);
  for (let i = 0; i < bytes.length; i++) bytes[i] = binary.charCodeAt(i);
  if (precision === "float32") return new Float32Array(bytes.buffer);
  const halves = new Uint16Array(bytes.buffer), numbers = new Float32Array(halves.length);
  const table = Float32Array.from({ length: 2 ** 16 }, (_, half) => {
    const sign = half & 0x8000 ? -1 : 1, exponent = (half >> 10) & 31, fraction = half & 1023;
    if (exponent === 31) return fraction ? NaN : sign * Infinity;
    return sign * (exponent ? (1024 + fraction) * 2 ** (exponent - 25) : fraction * 2 ** -24);
  });
  for (let i = 0; i < numbers.length; i++) numbers[i] = table[halves[i]];
  return numbers;
}

function normalized(pixels, kind) {
  const x = Float32Array.from(pixels, (v) => v / 255);
  if (kind === "unit") return x;
  for (let column = 0; column < 28; column++) {
    let square = 0;
    for (let i = column; i < 784; i += 28) square += x[i] * x[i];
    for (let i = column; i < 784; i += 28) x[i] /= Math.sqrt(square) || 1;
  }
  return x;
}

function softmax(logits) {
  const most = Math.max(...logits), powers = Array.from(logits, (v) => Math.exp(v - most));
  const sum = powers.reduce((a, b) => a + b);
  return powers.map((v) => v / sum);
}

function activate(values, name) {
  const f = ACTIVATIONS[name];
  if (f) for (let i = 0; i < values.length; i++) values[i] = f(values[i]);
  return values;
}

// Where the windows of a layer begin, and how many there are, along one side of the image.
function windowsOf({ padding, stride, size }, side) {
  const count = padding === "same" ? Math.ceil(side / stride) : Math.ceil((side - size + 1) / stride);
  return { count, before: padding === "same" ? Math.max(0, (count - 1) * stride + size - side) >> 1 : 0 };
}

// Adds inputs times their rows of weights. Zeros, half of what ReLU leaves, cost nothing; the others go four at a time.
function addProducts(sums, inputs, rows, count, weights) {
  const width = sums.length;
  while (count % 4) [inputs[count], rows[count++]] = [0, 0];
  for (let i = 0; i < count; i += 4) {
    const a = inputs[i], b = inputs[i + 1], c = inputs[i + 2], d = inputs[i + 3];
    let p = rows[i], q = rows[i + 1], r = rows[i + 2], s = rows[i + 3];
    for (let o = 0; o < width; o++)
      sums[o] += a * weights[p++] + b * weights[q++] + c * weights[r++] + d * weights[s++];
  }
}

function convolve(layer, { values, height, width, channels }) {
  const { size, stride, kernel, bias } = layer, outputs = layer.shapes.kernel[3];
  const down = windowsOf(layer, height), across = windowsOf(layer, width);
  const result = new Float32Array(down.count * across.count * outputs), sums = new Float64Array(outputs);
  const inputs = new Float64Array(size * size * channels + 3), rows = new Int32Array(inputs.length);
  for (let y = 0, at = 0; y < down.count; y++)
    for (let x = 0; x < across.count; x++, at += outputs) {
      const top = y * stride - down.before, left = x * stride - across.before;
      let count = 0;
      for (let ky = Math.max(0, -top); ky < Math.min(size, height - top); ky++)
        for (let kx = Math.max(0, -left); kx < Math.min(size, width - left); kx++) {
          let from = ((top + ky) * width + left + kx) * channels, row = (ky * size + kx) * channels * outputs;
          for (let c = 0; c < channels; c++, from++, row += outputs)
            if (values[from] !== 0) {
              inputs[count] = values[from];
              rows[count++] = row;
            }
        }
      if (bias) sums.set(bias);
      else sums.fill(0);
      addProducts(sums, inputs, rows, count, kernel);
      result.set(sums, at);
    }
  activate(result, layer.activation);
  return { values: result, height: down.count, width: across.count, channels: outputs };
}

// Calls f(place in the input, place in the kernel, place in the output) for every pixel under every window.
function eachWindow(layer, { height, width }, f) {
  const { size, stride } = layer, down = windowsOf(layer, height), across = windowsOf(layer, width);
  for (let y = 0; y < down.count; y++)
    for (let x = 0; x < across.count; x++)
      for (let ky = 0; ky < size; ky++)
        for (let kx = 0; kx < size; kx++) {
          const row = y * stride - down.before + ky, column = x * stride - across.before + kx;
          if (row >= 0 && row < height && column >= 0 && column < width)
            f(row * width + column, ky * size + kx, y * across.count + x);
        }
  return { height: down.count, width: across.count };
}

const OPERATIONS = {
  conv: convolve,
  depthwise(layer, x) {
    const { channels } = x, count = windowsOf(layer, x.height).count;
    const values = new Float32Array(count * count * channels);
    const size = eachWindow(layer, x, (from, k, to) => {
      for (let c = 0; c < channels; c++)
        values[to * channels + c] += x.values[from * channels + c] * layer.kernel[k * channels + c];
    });
    return { values, ...size, channels };
  },
  max_pool(layer, x) {
    const { channels } = x, count = windowsOf(layer, x.height).count;
    const values = new Float32Array(count * count * channels).fill(-Infinity);
    const size = eachWindow(layer, x, (from, _, to) => {
      for (let c = 0; c < channels; c++)
        values[to * channels + c] = Math.max(values[to * channels + c], x.values[from * channels + c]);
    });
    return { values, ...size, channels };
  },
  global_pool(layer, x) {
    const values = new Float32Array(x.channels).fill(layer.pool === "max" ? -Infinity : 0);
    x.values.forEach((v, i) => {
      const c = i % x.channels;
      values[c] = layer.pool === "max" ? Math.max(values[c], v) : values[c] + v / (x.height * x.width);
    });
    return { values, height: 1, width: 1, channels: x.channels };
  },
  batch_norm({ factor, offset }, x) {
    return { ...x, values: x.values.map((v, i) => v * factor[i % x.channels] + offset[i % x.channels]) };
  },
  flatten: (_, x) => ({ values: x.values, height: 1, width: 1, channels: x.values.length }),
  dropout: (_, x) => x,
  dense(layer, x) {
    const sums = Float64Array.from(layer.bias), width = sums.length;
    const inputs = new Float64Array(x.values.length + 3), rows = new Int32Array(inputs.length);
    let count = 0;
    x.values.forEach((v, i) => { if (v !== 0) { inputs[count] = v; rows[count++] = i * width; } });
    addProducts(sums, inputs, rows, count, layer.kernel);
    return { values: activate(Float32Array.from(sums), layer.activation), height: 1, width: 1, channels: width };
  },
};

// Zeros for dead channels and for a part of all values; the others grow as in training. The same ones at every call.
function harmed(x, dead, rate) {
  const random = generator(x.values.length);
  return { ...x, values: x.values.map((v, i) => (dead.has(i % x.channels) || random() < rate ? 0 : v / (1 - rate))) };
}

// Random numbers from 0 to 1 (mulberry32).
function generator(seed) {
  return () => {
    seed = (seed + 0x6d2b79f5) | 0;
    let t = Math.imul(seed ^ (seed >>> 15), 1 | seed);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
  };
}

// For every layer, which pixels an output depends on: from `start` + `step` times its row, `reach` rows; null for all.
function receptiveFields(layers) {
  let field = { start: 0, step: 1, reach: 1 }, side = 28;
  return layers.map((layer) => {
    if (["flatten", "global_pool", "dense"].includes(layer.kind)) field = null;
    else if (layer.size && field) {
      const { count, before } = windowsOf(layer, side), { start, step, reach } = field;
      field = { start: start - before * step, step: step * layer.stride, reach: reach + (layer.size - 1) * step };
      side = count;
    }
    return field;
  });
}
