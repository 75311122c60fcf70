// The paper, the answer, and what the network is asked: here, or by the program that serves the page.
const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const drawing = $("drawing"), pencil = drawing.getContext("2d"), W = drawing.width, H = drawing.height;
const SMALL = 1 / 4;  // The size in which a drawing is read: ample for 28x28, and quick to look through.
const EVERY = 80;  // Milliseconds between two questions to the server, at least.
const TOUCHING = 1.15;  // The least ratio of width to height of digits that may touch: a server can part them.
const MOST_PIXELS = 64e6;
const PERHAPS = 0.05;  // A second guess that is less probable is not worth a word.

// What is on the paper: strokes, or a picture. A state is never changed, so that undo is to go back to one before.
const EMPTY = { strokes: [], picture: null };
let state = EMPTY, past = [], stroke = null;
let found = [], place = null;  // The newest answer, and where its picture lies on the paper.

function change(next) {
  past.push(state);
  turnTo(next);
}

function turnTo(next) {
  if (next.picture !== state.picture) place = null;
  state = next;
  stroke = null;
  asking.forget();
  $("undo").disabled = !past.length;
  $("clear").disabled = state === EMPTY;
  $("hint").hidden = state !== EMPTY;
  say("");
  if (state === EMPTY) read([]);
  else ask();
  paint();
}

function undo() { if (past.length) turnTo(past.pop()); }
function clear() { if (state !== EMPTY) change(EMPTY); }

// Drawing, with one pointer at a time.
function at(event) {
  const box = drawing.getBoundingClientRect();
  return [(event.clientX - box.left) * W / box.width, (event.clientY - box.top) * H / box.height];
}

drawing.addEventListener("pointerdown", (event) => {
  if (stroke || event.button) return;
  event.preventDefault();
  drawing.setPointerCapture(event.pointerId);
  const begun = { pointer: event.pointerId, width: Number($("pen").value), points: [at(event)] };
  change({ strokes: [...state.strokes, begun], picture: null });  // A picture makes room; undo brings it back.
  stroke = begun;
});
drawing.addEventListener("pointermove", (event) => {
  if (event.pointerId !== stroke?.pointer) return;
  const moves = event.getCoalescedEvents?.() ?? [];
  for (const move of moves.length ? moves : [event]) stroke.points.push(at(move));
  ask();
  paint();
});
for (const end of ["pointerup", "pointercancel"])
  drawing.addEventListener(end, (event) => { if (event.pointerId === stroke?.pointer) { stroke = null; ask(); } });
drawing.addEventListener("contextmenu", (event) => event.preventDefault());

function draw(context, colour) {
  context.strokeStyle = context.fillStyle = colour;
  context.lineCap = context.lineJoin = "round";
  for (const { width, points } of state.strokes) {
    const [[x, y]] = points, last = points.at(-1);
    context.lineWidth = width;
    context.beginPath();
    if (points.every(([px, py]) => px === x && py === y)) {  // A dot: a line without length is not drawn.
      context.arc(x, y, width / 2, 0, 7);
      context.fill();
      continue;
    }
    context.moveTo(x, y);
    for (let i = 1; i < points.length - 1; i++) {
      const [[cx, cy], [nx, ny]] = [points[i], points[i + 1]];
      context.quadraticCurveTo(cx, cy, (cx + nx) / 2, (cy + ny) / 2);
    }
    context.lineTo(...last);
    context.stroke();
  }
}

let painting = 0;
function paint() {
  painting ||= requestAnimationFrame(() => {
    painting = 0;
    const colours = getComputedStyle(document.documentElement);
    pencil.clearRect(0, 0, W, H);
    if (state.picture?.bitmap) {
      const { bitmap } = state.picture, { scale, left, top } = placed(bitmap);
      pencil.drawImage(bitmap, left, top, bitmap.width * scale, bitmap.height * scale);
    } else if (state.picture) {
      pencil.fillStyle = colours.getPropertyValue("--quiet");
      pencil.font = "40px system-ui, sans-serif";
      pencil.textAlign = "center";
      pencil.fillText(state.picture.file.name, W / 2, H / 2, W * 0.9);
    }
    draw(pencil, colours.getPropertyValue("--ink"));
    if (place && (found.length > 1 || state.picture))
      frames(colours.getPropertyValue("--best"), colours.getPropertyValue("--paper"));
  });
}
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", paint);

function placed(bitmap) {
  const scale = Math.min(W / bitmap.width, H / bitmap.height);
  return { scale, left: (W - bitmap.width * scale) / 2, top: (H - bitmap.height * scale) / 2 };
}

function frames(colour, paper) {
  const unit = W / drawing.clientWidth;  // A pixel of the screen, whatever the paper's size.
  pencil.strokeStyle = colour;
  pencil.lineWidth = 2 * unit;
  pencil.font = `600 ${14 * unit}px system-ui, sans-serif`;
  pencil.textAlign = "left";
  for (const { box, prediction } of found) {
    const [left, top, right, bottom] = box.map((v, i) => v * place.scale + (i % 2 ? place.top : place.left));
    const [x, y, width, height] = [left - 4 * unit, top - 4 * unit, right - left + 8 * unit, bottom - top + 8 * unit];
    const tag = y > 19 * unit ? y - 19 * unit : y + height;  // Above, or below where there is no room.
    pencil.strokeRect(x, y, width, height);
    pencil.fillStyle = colour;
    pencil.fillRect(x - unit, tag, pencil.measureText(prediction).width + 10 * unit, 19 * unit);
    pencil.fillStyle = paper;
    pencil.fillText(prediction, x + 4 * unit, tag + 14.5 * unit);
  }
}

// Pictures.
async function take(file) {
  if (!file) return;
  const bitmap = await createImageBitmap(file).catch(() => null);  // A server reads some that a browser does not.
  change({ strokes: [], picture: { file, bitmap } });
}
$("choose").addEventListener("click", () => $("file").click());
$("file").addEventListener("change", () => { take($("file").files[0]); $("file").value = ""; });
addEventListener("paste", (event) => take(event.clipboardData.files[0]));
addEventListener("dragover", (event) => { event.preventDefault(); $("paper").classList.add("target"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("paper").classList.remove("target"); });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("paper").classList.remove("target");
  take(event.dataTransfer.files[0]);
});

$("undo").addEventListener("click", undo);
$("clear").addEventListener("click", clear);
addEventListener("keydown", (event) => {
  if ((event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z") {
    event.preventDefault();
    undo();
  } else if (event.key === "Delete") clear();
});

// What is on the paper is read here, before the next picture of the screen; or by the server, if there is one, where it
// knows better: several digits that may touch, and photos.
let reading = 0;
function ask() {
  if (about.server && (state.picture || !inside.network)) asking.ask();
  else reading ||= requestAnimationFrame(() => { reading = 0; readHere(); });
}

function readHere() {
  if (state === EMPTY) return;
  const { picture } = state, image = picture ? pixelsOf(picture.bitmap) : pixelsOf(sheet());
  if (typeof image === "string") {
    read([]);
    say(image);
    return;
  }
  const digits = findDigits(image), [one] = digits;
  if (about.server && (digits.length > 1 || (one && (one.box[2] - one.box[0]) > TOUCHING * (one.box[3] - one.box[1])))) {
    asking.ask();
    return;
  }
  asking.forget();
  read(digits, picture ? placed(picture.bitmap) : { scale: 1 / SMALL, left: 0, top: 0 });
  if (!digits.length && !stroke) say(picture ? NO_DIGIT : TOO_LITTLE);
}
const TOO_LITTLE = "Draw more: this is too little to be a digit.";
const NO_DIGIT = "The picture holds no digit that can be told: clear strokes on blank paper are best.";

// The pixels of a picture, or a sentence about why there are none.
function pixelsOf(picture) {
  if (!picture) return "The browser cannot read this file: it must be a picture, such as PNG or JPEG.";
  const { width, height } = picture;
  if (width * height > MOST_PIXELS) return `The picture has ${width} × ${height} pixels, but it may have 64,000,000.`;
  const context = picture.getContext?.("2d", { willReadFrequently: true }) ?? new OffscreenCanvas(width, height).getContext("2d");
  if (context.canvas !== picture) context.drawImage(picture, 0, 0);
  return context.getImageData(0, 0, width, height);
}

// One question to the server at a time, each about the newest drawing; an answer about what is gone is dropped.
const asking = {
  timer: 0, current: null, again: false,
  ask() {
    if (this.current) this.again = true;
    else this.timer ||= setTimeout(() => this.send(), EVERY);
  },
  forget() {
    clearTimeout(this.timer);
    this.timer = 0;
    this.current?.abort();
    this.current = null;
    this.again = false;
  },
  async send() {
    this.timer = 0;
    const current = this.current = new AbortController();
    const { picture } = state;
    const slow = setTimeout(() => { $("reading").textContent = "…"; }, 500);
    try {
      const body = picture ? picture.file : await new Promise((resolve) => sheet().toBlob(resolve));
      if (body.size > about.mostBytes)
        throw new Mistake(`The picture is too large: it may have ${about.mostBytes / 2 ** 20} MiB.`);
      const response = await fetch("read", { method: "POST", body, signal: current.signal });
      const answer = await response.json();
      if (!response.ok) throw new Mistake(answer.error);
      if (current !== this.current) return;
      const digits = answer.digits.map((digit) => ({ ...digit, pixels: Uint8Array.from(digit.pixels.flat()) }));
      read(digits, !picture ? { scale: 1 / SMALL, left: 0, top: 0 } : picture.bitmap && placed(picture.bitmap));
      if (answer.note && !stroke) say(picture ? answer.note : TOO_LITTLE);
    } catch (error) {
      if (current !== this.current) return;
      read([]);
      const gone = "The program that serves this page does not answer: is it still running?";
      say(error instanceof Mistake ? error.message : gone);
    } finally {
      clearTimeout(slow);
      if (current === this.current) {
        this.current = null;
        if (this.again) { this.again = false; ask(); }
      }
    }
  },
};
class Mistake extends Error {}

const paper = document.createElement("canvas");
[paper.width, paper.height] = [W * SMALL, H * SMALL];
function sheet() {  // Black on nothing: what is not transparent is ink, also where it touches the edge.
  const context = paper.getContext("2d", { willReadFrequently: true });
  context.setTransform(SMALL, 0, 0, SMALL, 0, 0);
  context.clearRect(0, 0, W, H);
  draw(context, "#000");
  return paper;
}

// What is wrong with the picture and the network, as the visitor wants it.
const harm = {
  get dropout() { return { layer: Number($("layer").value), rate: Number($("rate").value) }; },
  get dead() { return inside.dead; },
  get any() {
    return ["noise", "across", "down", "rate"].some((id) => Number($(id).value)) || [...this.dead.values()].some((maps) => maps.size);
  },
  pixels(clean) {
    const [noise, right, down] = ["noise", "across", "down"].map((id) => Number($(id).value)), random = generator(1);
    return clean.map((_, i) => {
      const x = (i % 28) - right, y = Math.floor(i / 28) - down;
      const grey = x < 0 || y < 0 || x > 27 || y > 27 ? 0 : clean[y * 28 + x];
      return Math.min(255, Math.max(0, grey + noise * 255 * (2 * random() - 1)));
    });
  },
};

// Has the network read digits, {box, pixels}, which may have answers of a server already, and shows all.
function read(digits, where = null) {
  const { network } = inside;
  if (!network) {
    show(digits, where);
    return;
  }
  const broken = harm.any, outputs = [];
  const read = digits.map(({ box, pixels: clean }) => {
    const pixels = broken ? harm.pixels(clean) : clean;
    outputs.push({ pixels, of: network.outputs(pixels, broken ? harm : {}) });
    const probabilities = softmax(outputs.at(-1).of.at(-1).values);
    return { box, pixels, clean, probabilities, prediction: about.classNames[probabilities.indexOf(Math.max(...probabilities))] };
  });
  show(read, where);
  inside.show(outputs.at(-1)?.of ?? null, outputs.at(-1)?.pixels ?? null);
  const whole = broken ? read.map(({ clean }) => network.probabilities(clean)) : [];
  $("unharmed").textContent = whole.length ? `Unbroken, it reads ${whole.map(inWords).join(", ")}.` : "";
  $("mend").disabled = !broken;
}

const inWords = (p) => `${about.classNames[p.indexOf(Math.max(...p))]} (${percent(Math.max(...p))})`;

function again() { read(found.map(({ box, clean }) => ({ box, pixels: clean })), place); }

// Answers.
function say(mistake) {
  $("mistake").textContent = mistake;
  $("mistake").hidden = !mistake;
}

const percent = (p) => `${(100 * p).toFixed(1)}%`;

function show(digits, where = null) {
  [found, place] = [digits, where];
  say("");
  const names = digits.map((digit) => digit.prediction);
  const reading = names.join(names.every((name) => name.length === 1) ? "" : ", ") || "–";
  if ($("reading").textContent !== reading) $("reading").textContent = reading;  // So that it is read out once.
  const cards = $("cards");
  while (cards.children.length < Math.max(1, digits.length)) cards.append(newCard());
  while (cards.children.length > Math.max(1, digits.length)) cards.lastChild.remove();
  if (digits.length) digits.forEach((digit, i) => fill(cards.children[i], digit));
  else fill(cards.firstChild, { prediction: "", probabilities: about.classNames.map(() => 0), pixels: [] });
  paint();
}

function newCard() {
  const card = $("card").content.cloneNode(true).firstElementChild;
  for (const name of about.classNames) {
    const row = card.querySelector("tbody").insertRow();
    const head = row.appendChild(document.createElement("th"));
    [head.scope, head.textContent, head.title] = ["row", name, name];
    const track = row.insertCell().appendChild(document.createElement("div"));
    track.className = "track";
    track.appendChild(document.createElement("div")).className = "bar";
    row.insertCell();
  }
  return card;
}

function fill(card, { prediction, probabilities, pixels }) {
  const best = probabilities.indexOf(Math.max(...probabilities)), none = !pixels.length;
  card.classList.toggle("none", none);
  const context = card.querySelector("canvas").getContext("2d"), image = context.createImageData(28, 28);
  pixels.forEach((grey, i) => image.data.set([grey, grey, grey, 255], 4 * i));
  context.putImageData(image, 0, 0);
  card.querySelector("b").textContent = prediction;
  const second = Math.max(...probabilities.filter((_, i) => i !== best));
  const perhaps = second < PERHAPS ? "" : `, perhaps ${about.classNames[probabilities.lastIndexOf(second)]}`;
  card.querySelector("span").textContent = none ? "" : percent(probabilities[best]) + perhaps;
  [...card.querySelectorAll("tr")].forEach((row, i) => {
    row.className = !none && i === best ? "best" : "";
    row.querySelector(".bar").style.transform = `scaleX(${probabilities[i]})`;
    row.lastChild.textContent = percent(probabilities[i]);
  });
}

function start() {
  $("facts").textContent = about.facts.join(" · ");
  $("cards").classList.toggle("long", about.classNames.some((name) => name.length > 3));
  $("keeps").textContent = about.server
    ? "Pictures go to the program that serves this page and nowhere else, and are not kept."
    : "Nothing leaves this page: it needs no network.";
  if (!about.network) return;
  $("inside").hidden = false;
  about.network.layers.slice(0, -1).forEach((layer, i) => $("layer").append(new Option(layer.name, i)));
  const trained = about.network.layers.findIndex((layer) => layer.kind === "dropout");
  $("layer").value = Math.max(0, trained);
  inside.build(new Network(about.network, $("weights").textContent), again);
  for (const id of ["noise", "across", "down", "layer", "rate"]) $(id).addEventListener("input", again);
  $("mend").addEventListener("click", () => {
    for (const id of ["noise", "across", "down", "rate"]) $(id).value = 0;
    inside.dead.clear();
    again();
  });
}
start();
turnTo(EMPTY);
