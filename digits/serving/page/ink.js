// Finds the ink of a picture as digits/data/pictures/ink.py does, whose comments give the reasons.
const LEAST_CONTRAST = Math.fround(0.06), PHOTOGRAPH = 64, SMALL_PICTURE = 96;

// RGBA pixels of an ImageData (or anything like it) to a plane of how much of each pixel is ink, 0 to 1.
function findInk({ data, height, width }) {
  let clear = false;
  for (let i = 3; i < data.length; i += 4) clear ||= data[i] < 128;
  const plane = (channel) => {
    const found = new Plane(height, width);
    for (let i = 0; i < found.values.length; i++) found.values[i] = data[4 * i + channel] / 255;
    return found;
  };
  const colours = () => [0, 1, 2].map(plane);
  const contrast = clear ? plane(3) : contrastOf(colours());
  const sheet = findSheet(contrast, clear ? 4 : 1);
  if (sheet) {
    const inside = colours().map((one) => {
      const part = one.cut(sheet.box), middle = quantile(part.values.filter((_, i) => sheet.mask[i]), 0.5);
      return part.map((v, i) => (sheet.mask[i] ? v : middle));
    });
    const ink = standingOut(contrastOf(inside));
    if (ink.values.some((v) => v)) {
      const [left, top] = sheet.box, whole = new Plane(height, width);
      for (let y = 0; y < ink.height; y++)
        whole.values.set(ink.values.subarray(y * ink.width, (y + 1) * ink.width), (top + y) * width + left);
      return whole;
    }
  }
  return standingOut(contrast);
}

// How far colours, three planes, lie from the background, along the direction in which most of them lie.
function contrastOf(colours) {
  const away = lightingOf(colours), direction = [0, 0, 0], { height, width } = colours[0];
  const [r, g, b] = away.map((plane) => plane.values);
  for (let i = 0; i < r.length; i++) {
    const square = r[i] * r[i] + g[i] * g[i] + b[i] * b[i];
    direction[0] += square * r[i];
    direction[1] += square * g[i];
    direction[2] += square * b[i];
  }
  const length = Math.max(Math.hypot(...direction), 1e-12), [x, y, z] = direction.map((v) => v / length);
  return new Plane(height, width, r.map((v, i) => v * x + g[i] * y + b[i] * z));
}

function standingOut(plane) {
  const broad = broadOf(plane), contrast = plane.map((v, i) => v - broad.values[i]), noise = noiseOf(contrast);
  const { values } = contrast, least = Math.max(2 * noise, LEAST_CONTRAST), clear = new Float32Array(values.length);
  let count = 0;
  for (let i = 0; i < values.length; i++) if (values[i] > least) clear[count++] = values[i];
  if (!count) return new Plane(plane.height, plane.width);
  const range = Math.max(quantile(clear.subarray(0, count), 0.9) - noise, 1e-6);
  return contrast.map((v) => Math.min(1, Math.max(0, (v - noise) / range)));
}

function noiseOf({ height, width, values }) {
  let noise = 0;
  if (width > 4) {
    const differences = new Float32Array(height * (width - 4));
    for (let y = 0, at = 0; y < height; y++)
      for (let x = y * width + 4; x < (y + 1) * width; x++) differences[at++] = Math.abs(values[x] - values[x - 4]);
    noise = 3 / (0.6745 * Math.SQRT2) * quantile(differences, 0.5);
  }
  if (Math.max(height, width) < SMALL_PICTURE && Math.min(height, width) >= 5) {
    const second = [];
    for (let y = 0; y < height; y++)
      for (let x = 0, at = y * width; x < width; x++, at++) {
        if (y > 1) second.push(Math.abs(values[at] - 2 * values[at - width] + values[at - 2 * width]));
        if (x > 1) second.push(Math.abs(values[at] - 2 * values[at - 1] + values[at - 2]));
      }
    noise = Math.min(noise, 3 / (0.6745 * Math.sqrt(6)) * quantile(Float32Array.from(second), 0.5));
  }
  return noise;
}

// The box of a large solid area, such as a sheet of paper on a table, and the mask of its inside; or null.
function findSheet(contrast, mostSides) {
  const { height, width, values } = contrast;
  const least = Math.max(0.5 * largest(values), LEAST_CONTRAST);
  if (Math.min(height, width) < PHOTOGRAPH) return null;
  const { labels, areas, boxes } = labelled(above(values, least), height, width, false);
  const number = areas.indexOf(Math.max(...areas)), box = boxes[number];
  if (!box || areas[number] < 0.15 * values.length) return null;
  const sides = (box[1] === 0) + (box[3] === height) + (box[0] === 0) + (box[2] === width);
  const part = new Plane(height, width, labels.map((v) => v === number)).cut(box), { height: h, width: w } = part;
  if (sides > mostSides || areas[number] < 0.75 * h * w) return null;
  const outside = labelled(Uint8Array.from(part.padded(1).values, (v) => !v), h + 2, w + 2, false).labels;
  const filled = new Plane(h + 2, w + 2, Float32Array.from(outside, (v) => (v === 1 ? 0 : 1)));
  const depth = cityBlocks(filled), rim = 2 + Math.floor(Math.max(h, w) / 100);
  const mask = depth.cut([1, 1, w + 1, h + 1]).values.map((v) => v > rim);
  return mask.some((v) => v) ? { box, mask } : null;
}

// The steps, level or upright, from every pixel to the nearest 0; the plane has a border of 0.
function cityBlocks({ height, width, values }) {
  const steps = values.map((v) => (v ? Infinity : 0));
  for (let i = width; i < steps.length; i++) steps[i] = Math.min(steps[i], steps[i - 1] + 1, steps[i - width] + 1);
  for (let i = steps.length - width - 1; i >= 0; i--)
    steps[i] = Math.min(steps[i], steps[i + 1] + 1, steps[i + width] + 1);
  return new Plane(height, width, steps);
}

// Colours less the background, a quadratic function of the place that is fitted robustly.
function lightingOf(colours) {
  const { height, width } = colours[0], h = Math.min(height, 64), w = Math.min(width, 64);
  const small = colours.map((plane) => resized(plane, h, w).values), edge = [];
  for (let i = 0; i < h * w; i++) {
    const y = Math.floor(i / w), x = i % w;
    if (!y || !x || y === h - 1 || x === w - 1) edge.push(i);
  }
  const place = (i, n) => (n > 1 ? 2 * i / (n - 1) - 1 : -1);
  const terms = (y, x) => [1, x, y, x * x, x * y, y * y];
  const start = small.map((values) => quantile(Float32Array.from(edge, (i) => values[i]), 0.5));
  const distance = new Float64Array(h * w);
  const measure = (background) => {
    for (let i = 0; i < h * w; i++) {
      const t = terms(place(Math.floor(i / w), h), place(i % w, w));
      distance[i] = Math.hypot(...small.map((values, c) => values[i] - background(c, t)));
    }
  };
  measure((c) => start[c]);
  const most = Math.max(largest(distance), 1e-6);
  let factors;
  for (let round = 0; round < 8; round++) {
    const scale = most * 0.5 * 0.2 ** (round / 7);
    const normal = Array.from({ length: 6 }, () => new Float64Array(9));  // And three right sides.
    for (let i = 0; i < h * w; i++) {
      const t = terms(place(Math.floor(i / w), h), place(i % w, w)), weight = (1 + (distance[i] / scale) ** 2) ** -2;
      for (let a = 0; a < 6; a++) {
        for (let b = 0; b < 6; b++) normal[a][b] += weight * t[a] * t[b];
        for (let c = 0; c < 3; c++) normal[a][6 + c] += weight * t[a] * small[c][i];
      }
    }
    factors = solved(normal);
    measure((c, t) => t.reduce((sum, v, k) => sum + v * factors[k][c], 0));
  }
  return colours.map((plane, c) => {
    const f = factors.map((row) => row[c]), away = new Plane(height, width);
    for (let row = 0, at = 0; row < height; row++) {
      const y = place(row, height), constant = f[0] + f[2] * y + f[5] * y * y, linear = f[1] + f[4] * y;
      for (let column = 0; column < width; column++, at++) {
        const x = place(column, width);
        away.values[at] = plane.values[at] - constant - x * (linear + x * f[3]);
      }
    }
    return away;
  });
}

// Solves six equations with several right sides by elimination; a trace of the diagonal keeps singular ones solvable.
function solved(rows) {
  const trace = 1e-10 * Math.max(...rows.map((row, i) => row[i]));
  rows.forEach((row, i) => { row[i] += trace; });
  rows.forEach((row, i) => {
    const pivot = row[i];
    row.forEach((v, j) => { row[j] = v / pivot; });
    for (const other of rows) {
      const factor = other[i];
      if (other !== row) row.forEach((v, j) => { other[j] -= factor * v; });
    }
  });
  return rows.map((row) => row.slice(6));
}

// The contrast in areas broader than strokes, and about 0 elsewhere: an opening by a square window.
function broadOf({ height, width, values }) {
  const plane = new Plane(height, width, values), longer = Math.max(height, width);
  if (longer < PHOTOGRAPH) return new Plane(height, width);
  const scale = Math.max(1, longer / 96), size = (n) => Math.max(1, rounded(n / scale));
  const small = resized(plane, size(height), size(width)).map((v) => Math.max(0, v));
  const edges = slopes(small).values, all = edges.reduce((sum, v, i) => sum + v * small.values[i], 0);
  const opened = (side) => {
    const pixels = Math.max(3, rounded(side * Math.max(small.height, small.width)));
    return dilated(eroded(small, pixels), pixels).map((v, i) => Math.min(v, small.values[i]));
  };
  const leavesEdges = (side) => {
    const { values: open } = opened(side);
    return edges.reduce((sum, v, i) => sum + v * (small.values[i] - open[i]), 0) > 0.98 * all;
  };
  return resized(opened(2 * ([0.05, 0.1].find(leavesEdges) ?? 0.2)), height, width, bilinear);
}

// As Python rounds: halves to the even number.
function rounded(x) {
  const low = Math.floor(x);
  return x - low === 0.5 ? low + low % 2 : Math.round(x);
}
