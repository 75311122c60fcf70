// The paper: strokes, pictures, undo.
const $ = (id) => document.getElementById(id);
const about = JSON.parse($("about").textContent);
const drawing = $("drawing"), pencil = drawing.getContext("2d"), W = drawing.width, H = drawing.height;

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
