// Who reads the paper: this page, or the program that serves it.
const SMALL = 1 / 4;  // The size in which a drawing is read: ample for 28x28, and quick to look through.
const EVERY = 80;  // Milliseconds between two questions to the server, at least.
const TOUCHING = 1.15;  // The least ratio of width to height of digits that may touch: a server can part them.
const MOST_PIXELS = 64e6;

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
  const digits = findDigits(image);
  const wide = digits.some(({ box: [left, top, right, bottom] }) => right - left > TOUCHING * (bottom - top));
  if (about.server && (digits.length > 1 || wide)) {
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
  const canvas = picture.getContext ? picture : new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (canvas !== picture) context.drawImage(picture, 0, 0);
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
