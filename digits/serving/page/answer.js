// The answer: probabilities of the digits, of the whole network and the broken one.
const PERHAPS = 0.05;  // A second guess that is less probable is not worth a word.

// What is wrong with the picture and the network, as the visitor wants it.
const SLIDERS = ["turn", "across", "down", "noise", "rate"];
const harm = {
  get dropout() { return { layer: Number($("layer").value), rate: Number($("rate").value) }; },
  get dead() { return inside.dead; },
  get any() {
    return SLIDERS.some((id) => Number($(id).value)) || [...this.dead.values()].some((maps) => maps.size);
  },
  pixels(clean) {
    const [degrees, right, down, noise] = SLIDERS.map((id) => Number($(id).value)), random = generator(1);
    const turned = turn(clean, degrees);
    return clean.map((_, i) => {
      const grey = greyAt(turned, Math.floor(i / 28) - down, (i % 28) - right);
      return Math.min(255, Math.max(0, grey + noise * 255 * (2 * random() - 1)));
    });
  },
};

const greyAt = (pixels, y, x) => (x < 0 || y < 0 || x > 27 || y > 27 ? 0 : pixels[y * 28 + x]);

// Turns pixels clockwise about their centre, as digits/analysis/robustness.py does by negative degrees.
function turn(pixels, degrees) {
  const cos = Math.cos(degrees * Math.PI / 180), sin = Math.sin(degrees * Math.PI / 180);
  return pixels.map((_, i) => {
    const down = Math.floor(i / 28) - 13.5, right = (i % 28) - 13.5;
    const y = cos * down - sin * right + 13.5, x = sin * down + cos * right + 13.5;
    const top = Math.floor(y), left = Math.floor(x);
    const row = (of) => (left + 1 - x) * greyAt(pixels, of, left) + (x - left) * greyAt(pixels, of, left + 1);
    return Math.round((top + 1 - y) * row(top) + (y - top) * row(top + 1));
  });
}

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
    return { box, pixels, clean, probabilities, prediction: about.classNames[bestOf(probabilities)] };
  });
  show(read, where);
  inside.show(outputs.at(-1)?.of ?? null, outputs.at(-1)?.pixels ?? null);
  const whole = broken ? read.map(({ clean }) => network.probabilities(clean)) : [];
  $("unharmed").textContent = whole.length ? `Unbroken, it reads ${whole.map(inWords).join(", ")}.` : "";
  $("mend").disabled = !broken;
}

const bestOf = (p) => p.indexOf(Math.max(...p));
const inWords = (p) => `${about.classNames[bestOf(p)]} (${percent(p[bestOf(p)])})`;

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
  for (const id of [...SLIDERS, "layer"]) $(id).addEventListener("input", again);
  $("mend").addEventListener("click", () => {
    for (const id of SLIDERS) $(id).value = 0;
    inside.dead.clear();
    again();
  });
}
start();
turnTo(EMPTY);
