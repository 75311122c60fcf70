// Shows what every layer of the network makes of a digit: its maps light up, and one of them can be looked at closer.
const inside = {
  network: null, outputs: null, pixels: null, rows: [], colours: null,
  pinned: { layer: 0, map: 0 }, hovered: null, dead: new Map(),

  // Builds a row for every layer. `change` is called after a map was killed or revived.
  build(network, change) {
    this.network = network;
    this.rows = network.layers.map((layer, index) => this.row(layer, index));
    $("layers").append(...this.rows.map((row) => row.item));
    const parameters = network.layers.reduce((sum, layer) => sum + layer.parameters, 0);
    $("parameters").textContent = `${parameters.toLocaleString("en")} parameters`;
    this.pinned.layer = Math.max(0, this.rows.findIndex((row) => row.canvas));
    $("kill").addEventListener("click", () => {
      const { layer, map } = this.pinned, dead = this.dead.get(layer) ?? new Set();
      if (!dead.delete(map)) dead.add(map);
      this.dead.set(layer, dead);
      change();
    });
    new ResizeObserver(() => this.arrange()).observe($("layers"));
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { this.colours = null; this.paint(); });
  },

  row(layer, index) {
    const item = document.createElement("li"), shape = layer.output, count = shape.at(-1);
    const facts = [shape.join(" × "), layer.activation === "linear" ? null : layer.activation];
    if (layer.parameters) facts.push(`${layer.parameters.toLocaleString("en")} parameters`);
    if (layer.kind === "dropout") facts.push(`drops ${Math.round(100 * layer.rate)}% of values in training, none here`);
    const head = item.appendChild(document.createElement("h3")), text = item.appendChild(document.createElement("p"));
    item.className = "layer";
    [head.textContent, text.className, text.textContent] = [layer.name, "quiet", facts.filter(Boolean).join(" · ")];
    if (["flatten", "dropout"].includes(layer.kind)) {  // They change no value.
      head.className = "bare";
      return { item };
    }
    const maps = item.appendChild(document.createElement("div"));
    const canvas = maps.appendChild(document.createElement("canvas"));
    const frame = maps.appendChild(document.createElement("div"));
    maps.className = "maps";
    frame.className = "chosen";
    const side = shape.length > 1 ? shape[0] : 1, what = side > 1 ? "maps" : "units";
    const attributes = {
      tabindex: 0, role: "slider", "aria-valuemin": 1, "aria-valuemax": count, "aria-valuenow": 1,
      "aria-label": `${layer.name}: ${count} ${what}; the arrow keys choose one`,
    };
    for (const [name, value] of Object.entries(attributes)) canvas.setAttribute(name, value);
    const row = { item, canvas, frame, maps, index, count, side, enlarged: side > 1 ? 1 : 6, scale: 1, columns: 1 };
    const mapAt = (event) => {
      const box = canvas.getBoundingClientRect(), cell = row.cell * row.scale;
      const column = Math.floor((event.clientX - box.left) / cell), line = Math.floor((event.clientY - box.top) / cell);
      const map = line * row.columns + column;
      return column < row.columns && map < count ? { layer: index, map } : null;
    };
    canvas.addEventListener("pointermove", (event) => {
      if (event.pointerType === "touch") return;
      this.hovered = mapAt(event);
      this.look();
    });
    canvas.addEventListener("pointerleave", () => { this.hovered = null; this.look(); });
    canvas.addEventListener("click", (event) => this.pin(mapAt(event)));
    canvas.addEventListener("focus", () => { if (this.pinned.layer !== index) this.pin({ layer: index, map: 0 }); });
    canvas.addEventListener("keydown", (event) => {
      const { columns } = row, ends = { Home: -count, End: count };
      const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns, ...ends };
      if (!(event.key in steps)) return;
      event.preventDefault();
      this.pin({ layer: index, map: Math.min(count - 1, Math.max(0, this.pinned.map + steps[event.key])) });
    });
    return row;
  },

  pin(chosen) {
    if (chosen) [this.pinned, this.hovered] = [chosen, null];
    this.look();
  },

  // Chooses how many maps stand in a line; the scale is whole, so that all pixels have the same size.
  arrange() {
    for (const row of this.rows.filter((one) => one.canvas)) {
      row.cell = row.side * row.enlarged + 1;
      row.scale = Math.max(1, Math.round((row.side === 1 ? 14 : row.count > 40 ? 32 : 52) / row.cell));
      row.columns = Math.max(1, Math.min(row.count, Math.floor(row.maps.clientWidth / (row.cell * row.scale))));
      const lines = Math.ceil(row.count / row.columns);
      [row.canvas.width, row.canvas.height] = [row.columns * row.cell, lines * row.cell];
      row.canvas.style.width = `${row.columns * row.cell * row.scale}px`;
      row.context = row.canvas.getContext("2d");
      row.image = row.context.createImageData(row.canvas.width, row.canvas.height);
    }
    this.paint();
  },

  // Shows the outputs for a digit's pixels; null shows none.
  show(outputs, pixels) {
    [this.outputs, this.pixels] = [outputs, pixels];
    this.paint();
  },

  paint() {
    this.colours ??= palette();
    for (const row of this.rows) if (row.image) this.paintMaps(row);
    this.look();
  },

  paintMaps(row) {
    const { side, enlarged } = row;
    const to = new Uint32Array(row.image.data.buffer), values = this.outputs?.[row.index].values;
    const shade = shades(values, this.colours), dead = this.dead.get(row.index);
    for (let map = 0; map < row.count; map++) {
      const left = (map % row.columns) * row.cell, top = Math.floor(map / row.columns) * row.cell;
      for (let y = 0; y < side * enlarged; y++)
        for (let x = 0, at = (top + y) * row.canvas.width + left; x < side * enlarged; x++, at++) {
          const from = side > 1 ? (y * side + x) * row.count + map : map;
          to[at] = dead?.has(map) && (x + y) % 4 === 0 ? this.colours.dead : shade(values ? values[from] : 0);
        }
    }
    row.context.putImageData(row.image, 0, 0);
  },

  // Shows the hovered map, or else the pinned one, closer.
  look() {
    const { layer: index, map } = this.hovered ?? this.pinned, { layers } = this.network;
    const layer = layers[index], row = this.rows[index];
    for (const other of this.rows) if (other.frame) other.frame.hidden = other !== row;
    if (!row.image) return;
    const cell = row.cell * row.scale, place = [map % row.columns, Math.floor(map / row.columns)];
    [row.frame.style.left, row.frame.style.top] = place.map((at) => `${at * cell - 2}px`);
    row.frame.style.width = row.frame.style.height = `${cell - row.scale + 4}px`;
    const output = this.outputs?.[index], unit = row.side > 1 ? "map" : layer === layers.at(-1) ? "class" : "unit";
    const name = unit === "class" ? about.classNames[map] : `${map + 1} of ${row.count}`;
    $("closer-name").textContent = `${layer.name}, ${unit} ${name}`;
    const own = output && Float32Array.from({ length: row.side ** 2 }, (_, i) => output.values[i * row.count + map]);
    const strongest = own ? own.indexOf(largest(own)) : 0, dead = this.dead.get(index)?.has(map);
    const field = this.network.seen[index], at = [Math.floor(strongest / row.side), strongest % row.side];
    const text = this.describe(own, at, field, dead);
    if ($("closer-text").textContent !== text) $("closer-text").textContent = text;
    const shown = { "aria-valuenow": map + 1, "aria-valuetext": `${unit} ${name}, ${text}` };
    for (const [key, value] of Object.entries(shown)) row.canvas.setAttribute(key, value);
    tiles($("closer-map"), own ?? new Float32Array(row.side ** 2), row.side, 1, this.colours, output?.values);
    const filter = filterOf(layer, map, layers, index);
    $("closer-filter").parentElement.hidden = !filter;
    if (filter) tiles($("closer-filter"), filter.values, filter.side, filter.count, this.colours);
    this.where(field, at, own && largest(own) !== 0 && !dead);
    $("kill").textContent = dead ? "Revive it" : "Kill it";
    $("kill").setAttribute("aria-pressed", Boolean(dead));
  },

  describe(own, at, field, dead) {
    if (dead) return "is dead: it gives 0 everywhere.";
    if (!own) return "Draw a digit, and it lights up.";
    const most = largest(own);
    if (own.length === 1) return `gives ${number(most)} for the whole digit.`;
    if (most <= 0) return "is silent: it finds nothing here.";
    const [row, column] = at, reach = `${field.reach}\u00a0×\u00a0${field.reach}`;
    return `is strongest, ${number(most)}, in row ${row + 1}, column ${column + 1}: it looks at ${reach} pixels there.`;
  },

  // The digit, with a frame around the pixels that the strongest output of a map depends on.
  where(field, [row, column], framed) {
    const canvas = $("closer-seen"), context = canvas.getContext("2d"), scale = 4;
    tiles(canvas, Float32Array.from(this.pixels ?? new Uint8Array(784)), 28, 1, this.colours, [255], scale);
    if (!framed) return;
    context.strokeStyle = this.colours.frame;
    context.lineWidth = 3;
    const [x, y] = [column, row].map((at) => (field ? field.start + at * field.step : 0)), reach = field?.reach ?? 28;
    const [left, top, right, bottom] = [x, y, x + reach, y + reach].map((v) => Math.min(28, Math.max(0, v)) * scale);
    context.strokeRect(left + 1.5, top + 1.5, right - left - 3, bottom - top - 3);
  },
};

const number = (v) => (v === 0 ? "0" : Math.abs(v) < 100 ? v.toPrecision(2) : v.toFixed(0));

// The weights of a map or unit, as `count` squares of `side`: one for every channel that it looks at; null without.
function filterOf(layer, map, layers, index) {
  if (!layer.kernel) return null;
  if (layer.kind === "depthwise") {
    const channels = layer.shapes.kernel[2];
    return { side: layer.size, count: 1, values: layer.kernel.filter((_, i) => i % channels === map) };
  }
  const outputs = layer.shapes.kernel.at(-1), inputs = layer.kernel.length / outputs;
  const column = Float32Array.from({ length: inputs }, (_, i) => layer.kernel[i * outputs + map]);
  let side = layer.size ?? 1;
  const flattened = layers[index - 1]?.kind === "flatten" || layers[index - 2]?.kind === "flatten";
  if (layer.kind === "dense" && flattened) {
    const before = layers.slice(0, index).findLast((one) => one.output.length === 3);
    side = before ? before.output[0] : 28;
  }
  const count = column.length / side ** 2;  // The channels are innermost; each becomes a square.
  const at = (i) => (i % side ** 2) * count + Math.floor(i / side ** 2);
  return { side, count, values: column.map((_, i) => column[at(i)]) };
}

// Paints `count` squares of side x side values, one after another, in a square canvas.
function tiles(canvas, values, side, count, colours, scaledBy = values, enlarged = 1) {
  const columns = Math.ceil(Math.sqrt(count)), gap = count > 1 && side > 1 ? 1 : 0;
  const width = columns * (side + gap) - gap;
  canvas.width = canvas.height = width * enlarged;
  const context = canvas.getContext("2d"), image = context.createImageData(width * enlarged, width * enlarged);
  const to = new Uint32Array(image.data.buffer), shade = shades(scaledBy, colours);
  for (let i = 0; i < to.length; i++) {
    const x = Math.floor((i % (width * enlarged)) / enlarged), y = Math.floor(i / (width * enlarged) / enlarged);
    const column = Math.floor(x / (side + gap)), line = Math.floor(y / (side + gap)), tile = line * columns + column;
    const [dx, dy] = [x - column * (side + gap), y - line * (side + gap)];
    if (tile < count && dx < side && dy < side) to[i] = shade(values[tile * side * side + dy * side + dx]);
  }
  context.putImageData(image, 0, 0);
}

// A function from a value to its colour: the further from 0, compared with the largest of `values`, the stronger.
function shades(values, { on, against }) {
  let most = 0;
  for (let i = 0; i < (values?.length ?? 0); i++) most = Math.max(most, Math.abs(values[i]));
  const scale = most && Number.isFinite(most) ? 1 / most : 0;
  return (v) => (v < 0 ? against : on)[Math.sqrt(Math.min(1, Math.abs(v) * scale)) * 255 & 255];
}

// The page's colours for values from 0 up and from 0 down, as 32 bits a pixel.
function palette() {
  const context = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
  const style = getComputedStyle(document.documentElement);
  const rgb = (name) => {
    context.fillStyle = style.getPropertyValue(name);
    context.fillRect(0, 0, 1, 1);
    return context.getImageData(0, 0, 1, 1).data;
  };
  const off = rgb("--off"), packed = ([r, g, b]) => new Uint32Array(Uint8Array.of(r, g, b, 255).buffer)[0];
  const ramp = (to) => Uint32Array.from({ length: 256 }, (_, i) =>
    packed([0, 1, 2].map((c) => off[c] + (to[c] - off[c]) * i / 255)));
  return {
    on: ramp(rgb("--best")), against: ramp(rgb("--against")), dead: packed(rgb("--quiet")),
    frame: style.getPropertyValue("--against"),
  };
}
