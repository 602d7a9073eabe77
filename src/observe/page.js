// Draws the snapshots that /events streams.
//
// The page only reads: it sends nothing but GET requests. Each snapshot is complete, so a missed one
// is harmless. Text from the server is inserted as text, never as markup. The page is redrawn once per
// snapshot, at most ten times per second, and not while it is hidden.
"use strict";

const $ = (id) => document.getElementById(id);

// The letters of observe/snapshot.rs. The colours are defined in page.css; the shapes make the states
// distinguishable without colour.
const STATES = {
  "g": { name: "greeting", colour: "--greeting", shape: "ring" },
  "w": { name: "waiting", colour: "--waiting", shape: "full" },
  "o": { name: "owed", colour: "--owed", shape: "cross" },
  "h": { name: "held", colour: "--held", shape: "half" },
  "l": { name: "lingering", colour: "--lingering", shape: "hollow" },
  "L": { name: "listener", colour: "--fixture", shape: "full" },
  "U": { name: "datagrams", colour: "--fixture", shape: "ring" },
  "S": { name: "signals", colour: "--fixture", shape: "hollow" },
  "E": { name: "observer", colour: "--observer", shape: "ring" },
  ".": { name: "free", colour: "--free", shape: "full" },
};
const LETTERS = Object.keys(STATES);
const PHASES = ["wait", "mark", "drive", "expire", "settle", "between"];

const HISTORY = 600; // one minute at ten snapshots per second
const KEPT_WHILE_PAUSED = 600; // snapshots kept for stepping
const SILENCE_MS = 3000; // without an event for this long, the server counts as lost
const LARGEST_CELL = 34, LABELLED_CELL = 22, SHAPED_CELL = 9; // in pixels, gap included
const FLASH_STEPS = 4; // snapshots until the highlight of an active or changed slot has faded

let colours = {};
let shown = null; // the snapshot on the page
let before = null; // the previous one, to compute rates
let queue = []; // snapshots received while paused
let paused = false, wantsStep = false;
let cell = { slot: -1, columns: 1, size: 1 };
let turnCursor = -1;
let codes = new Uint8Array(0), generations = new Uint32Array(0), flash = new Uint8Array(0);
const calm = matchMedia("(prefers-reduced-motion: reduce)");

// ---- number formats ----

const whole = new Intl.NumberFormat("en");
function count(n) {
  if (n >= 1e9) return (n / 1e9).toFixed(2) + " G";
  if (n >= 1e6) return (n / 1e6).toFixed(2) + " M";
  if (n >= 1e5) return (n / 1e3).toFixed(1) + " k";
  return n < 10 && n % 1 ? n.toFixed(1) : whole.format(Math.round(n));
}
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (n >= 1024 && unit < 3) { n /= 1024; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}
function time(us) {
  if (us >= 1e6) return (us / 1e6).toFixed(2) + " s";
  if (us >= 1e3) return (us / 1e3).toFixed(us < 1e4 ? 2 : 1) + " ms";
  return (us < 10 ? us.toFixed(1) : us.toFixed(0)) + " µs";
}
function age(us) {
  const s = Math.floor(us / 1e6);
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
    : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

// ---- the figures ----

const FIGURES = [
  { id: "clients", name: "clients", of: (now) => now.clients, show: count },
  { id: "messages", name: "messages / s", of: (now, rate) => rate("messages"), show: count },
  { id: "traffic", name: "in + out / s", of: (now, rate) => rate("bytes_in") + rate("bytes_out"), show: bytes },
  { id: "turns", name: "turns / s", of: (now, rate) => rate("turns"), show: count },
  { id: "batch", name: "events a turn", of: (now, rate) => rate("turns") ? rate("events") / rate("turns") : 0, show: count },
  { id: "longest", name: "longest turn", of: (now) => now.longest, show: time },
  { id: "owed", name: "buffered", of: (now) => now.buffered, show: bytes },
  { id: "datagrams", name: "datagrams / s", of: (now, rate) => rate("datagrams"), show: count },
];

function makeFigures() {
  for (const figure of FIGURES) {
    const box = document.createElement("div");
    box.className = "figure";
    const name = document.createElement("span");
    name.textContent = figure.name;
    figure.value = document.createElement("strong");
    figure.value.id = "figure-" + figure.id;
    figure.value.textContent = "–";
    figure.canvas = document.createElement("canvas");
    figure.canvas.setAttribute("aria-hidden", "true");
    figure.history = [];
    box.append(name, figure.value, figure.canvas);
    $("figures").append(box);
  }
}

function updateFigures(now, last) {
  const seconds = last ? (now.at - last.at) / 1e6 : 0;
  const rate = (key) => seconds > 0 ? Math.max(0, (now[key] - last[key]) / seconds) : 0;
  for (const figure of FIGURES) {
    const value = figure.of(now, rate);
    figure.history.push(value);
    if (figure.history.length > HISTORY) figure.history.shift();
    // The number is smoothed: the mean of half a second.
    const recent = figure.history.slice(-5);
    const level = figure.id === "clients" || figure.id === "owed" || figure.id === "longest";
    const mean = recent.reduce((sum, one) => sum + one, 0) / recent.length;
    figure.value.textContent = figure.show(level ? value : mean);
    drawHistory(figure);
  }
}

function drawHistory(figure) {
  const { context, width, height } = prepare(figure.canvas, 34);
  const top = Math.max(...figure.history, 1e-9);
  // A short history is stretched, so that there is something to see from the start.
  const span = Math.max(HISTORY / 6, figure.history.length) - 1;
  const x = (i) => width - (figure.history.length - 1 - i) * width / span;
  const y = (value) => height - 1.5 - value / top * (height - 4);
  context.beginPath();
  figure.history.forEach((value, i) => context.lineTo(x(i), y(value)));
  context.strokeStyle = colours["--accent"];
  context.lineWidth = 1.4;
  context.lineJoin = "round";
  context.stroke();
  context.lineTo(width, height);
  context.lineTo(x(0), height);
  context.globalAlpha = 0.13;
  context.fillStyle = colours["--accent"];
  context.fill();
  context.globalAlpha = 1;
}

// ---- the slab ----

// Sizes the canvas to its element in device pixels, and clears it.
function prepare(canvas, height) {
  const width = canvas.clientWidth || 1, ratio = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) {
    [canvas.width, canvas.height] = [w, h];
    canvas.style.height = height + "px";
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return { context, width, height };
}

function readCells(now) {
  const slots = Math.min(now.slots, 32768);
  const next = new Uint8Array(slots), nextGenerations = new Uint32Array(slots), nextFlash = new Uint8Array(slots);
  let slot = 0;
  for (const [, letter, length] of now.cells.matchAll(/([a-zA-Z.])(\d*)/g)) {
    const end = Math.min(slots, slot + Number(length || 1));
    next.fill(Math.max(0, LETTERS.indexOf(letter)), slot, end);
    slot = end;
  }
  slot = 0;
  for (let i = 0; i < now.generations.length; i += 2) {
    const end = Math.min(slots, slot + now.generations[i + 1]);
    nextGenerations.fill(now.generations[i], slot, end);
    slot = end;
  }
  const active = new Uint8Array(slots);
  slot = 0;
  now.active.forEach((length, i) => {
    if (i % 2) active.fill(1, slot, slot + length);
    slot += length;
  });
  for (let i = 0; i < slots && !calm.matches; i += 1) {
    const changed = active[i] || i < codes.length && (next[i] !== codes[i] || nextGenerations[i] !== generations[i]);
    nextFlash[i] = changed ? FLASH_STEPS : Math.max(0, (flash[i] || 0) - 1);
  }
  [codes, generations, flash] = [next, nextGenerations, nextFlash];
}

// Finds the largest cell size at which all slots fit.
function layOut(slots, width) {
  const room = Math.max(220, Math.min(620, innerHeight * 0.46));
  let size = LARGEST_CELL;
  while (size > 2 && Math.ceil(slots / Math.floor(width / size)) * size > room) size -= size > 8 ? 1 : 0.5;
  cell.size = size;
  cell.columns = Math.max(1, Math.floor(width / size));
  return Math.max(size, Math.ceil(slots / cell.columns) * size);
}

function drawGrid() {
  const slots = codes.length;
  const { context } = prepare($("grid"), layOut(Math.max(1, slots), $("grid").clientWidth || 1));
  const { size, columns } = cell;
  const inner = size - (size > 6 ? 2 : size > 3 ? 1 : 0.5);
  const groups = new Map();
  for (let slot = 0; slot < slots; slot += 1) {
    const key = codes[slot] * 8 + flash[slot];
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(slot);
  }
  for (const [key, members] of groups) {
    const state = STATES[LETTERS[key >> 3]];
    context.fillStyle = context.strokeStyle = colours[state.colour];
    for (const slot of members) {
      drawCell(context, slot % columns * size, Math.floor(slot / columns) * size, inner, state.shape);
    }
    if (key & 7) {
      context.globalAlpha = (key & 7) / FLASH_STEPS * 0.5;
      context.fillStyle = context.strokeStyle = colours["--flash"];
      for (const slot of members) {
        drawCell(context, slot % columns * size, Math.floor(slot / columns) * size, inner, state.shape);
      }
      context.globalAlpha = 1;
    }
  }
  drawGenerations(context, inner);
  if (cell.slot >= 0 && cell.slot < slots) {
    context.strokeStyle = colours["--ink"];
    context.lineWidth = 2;
    context.strokeRect(cell.slot % columns * size - 1, Math.floor(cell.slot / columns) * size - 1, inner + 2, inner + 2);
  }
}

function drawCell(context, x, y, inner, shape) {
  if (inner < SHAPED_CELL || shape === "full") return context.fillRect(x, y, inner, inner);
  const edge = Math.max(1.5, inner / 7);
  if (shape === "half") {
    context.globalAlpha *= 0.4;
    context.fillRect(x, y, inner, inner);
    context.globalAlpha /= 0.4;
    context.fillRect(x, y + inner / 2, inner, inner / 2);
  } else if (shape === "ring") {
    context.lineWidth = edge;
    context.beginPath();
    context.arc(x + inner / 2, y + inner / 2, (inner - edge) / 2, 0, 7);
    context.stroke();
  } else if (shape === "hollow") {
    context.lineWidth = edge;
    context.strokeRect(x + edge / 2, y + edge / 2, inner - edge, inner - edge);
  } else {
    context.lineWidth = edge;
    context.strokeRect(x + edge / 2, y + edge / 2, inner - edge, inner - edge);
    context.beginPath();
    context.moveTo(x, y); context.lineTo(x + inner, y + inner);
    context.moveTo(x + inner, y); context.lineTo(x, y + inner);
    context.stroke();
  }
}

// How often each slot was reused: a number if cells are large, else a bar at the bottom, whose length
// is logarithmic.
function drawGenerations(context, inner) {
  const { size, columns } = cell;
  context.fillStyle = colours["--ink"];
  context.font = `600 ${Math.max(9, inner * 0.38)}px system-ui, sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  for (let slot = 0; slot < generations.length; slot += 1) {
    const generation = generations[slot];
    if (!generation) continue;
    const x = slot % columns * size, y = Math.floor(slot / columns) * size;
    if (size >= LABELLED_CELL && generation < 1000) {
      context.globalAlpha = 0.75;
      context.fillText(generation, x + inner / 2, y + inner / 2 + 1);
    } else if (size >= 4) {
      context.globalAlpha = 0.4;
      const foot = Math.max(1, inner / 8);
      context.fillRect(x, y + inner - foot, Math.min(1, Math.log2(generation + 1) / 10) * inner, foot);
    }
  }
  context.globalAlpha = 1;
}

function makeLegend() {
  for (const letter of LETTERS) {
    const state = STATES[letter], item = document.createElement("li");
    state.swatch = document.createElement("canvas");
    state.count = document.createElement("b");
    state.count.id = "count-" + state.name;
    state.item = item;
    item.append(state.swatch, state.name + " ", state.count);
    $("legend").append(item);
  }
}

function updateLegend() {
  const counts = new Array(LETTERS.length).fill(0);
  for (const code of codes) counts[code] += 1;
  LETTERS.forEach((letter, code) => {
    STATES[letter].count.textContent = whole.format(counts[code]);
    STATES[letter].item.classList.toggle("some", counts[code] > 0);
  });
  let reused = 0, most = 0;
  for (const generation of generations) {
    reused += generation > 0;
    if (generation > most) most = generation;
  }
  const hidden = shown.slots > codes.length ? `, the first ${whole.format(codes.length)} shown` : "";
  $("slab-note").textContent = `${whole.format(shown.slots)} slots${hidden}` +
    (reused ? `; ${whole.format(reused)} have changed hands` : "") +
    (most > 1 ? `, one ${whole.format(most)} times` : "") +
    (shown.accepted ? "" : "; nobody has come yet: try helloop tcp");
}

function drawSwatches() {
  for (const state of Object.values(STATES)) {
    const { context } = prepare(state.swatch, 14);
    context.fillStyle = context.strokeStyle = colours[state.colour];
    drawCell(context, 0.5, 0.5, 13, state.shape);
  }
}

// ---- the turns ----

const LABELS = 66, VALUES = 76, LANE = 30, TURNS = 48; // two widths, a height, and MAX_LANES of observe/snapshot.rs

function drawLanes() {
  const { context, width } = prepare($("lanes"), PHASES.length * LANE + 4);
  const lanes = shown.lanes, step = (width - LABELS - VALUES) / TURNS;
  const chosen = turnCursor < 0 ? null : lanes[Math.min(turnCursor, lanes.length - 1)];
  const x = (i) => LABELS + (TURNS - lanes.length + i) * step;
  context.font = "13px system-ui, sans-serif";
  context.textBaseline = "middle";
  PHASES.forEach((phase, row) => {
    const foot = row * LANE + LANE - 1;
    const mean = lanes.reduce((sum, lane) => sum + lane[2][row], 0) / (lanes.length || 1);
    context.fillStyle = colours["--soft"];
    context.textAlign = "left";
    context.fillText(phase, 0, foot - 8);
    context.textAlign = "right";
    context.fillStyle = colours[chosen ? "--ink" : "--soft"];
    context.fillText(time(chosen ? chosen[2][row] : mean), width, foot - 8);
    context.fillStyle = colours["--line"];
    context.fillRect(LABELS, foot, width - LABELS - VALUES, 1);
    context.fillStyle = colours["--" + phase];
    lanes.forEach((lane, i) => {
      // Logarithmic: the height of a lane is seven decades, from 0.1 µs to 1 s.
      const powers = Math.log10(Math.max(lane[2][row], 0.1)) + 1;
      const tall = Math.max(1.5, Math.min(1, powers / 7) * (LANE - 5));
      context.fillRect(x(i) + 1, foot - tall, Math.max(1, step - 2), tall);
    });
  });
  if (chosen) {
    context.strokeStyle = colours["--ink"];
    context.lineWidth = 1.5;
    context.strokeRect(x(lanes.indexOf(chosen)), 1, step, PHASES.length * LANE);
  }
  tellTurn(lanes, chosen);
}

function tellTurn(lanes, chosen) {
  const some = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
  const span = lanes.length ? shown.at - lanes[0][1] : 0;
  $("turn-note").textContent = chosen
    ? `turn ${whole.format(chosen[0])}: ${some(chosen[3], "event")}, ${some(chosen[4], "call")}`
    : `${some(lanes.length, "turn")} in ${time(span)}; the mean of each phase; point at a turn for its own`;
}

// ---- the history of a slot ----

let storyAsked = 0, storyBusy = false;

async function askStory() {
  if (cell.slot < 0 || storyBusy || (paused && storyAsked)) return;
  const soon = 300 - (performance.now() - storyAsked);
  if (soon > 0) return;
  storyBusy = true;
  storyAsked = performance.now();
  try {
    const answer = await fetch("slots/" + cell.slot);
    if (answer.ok) tellStory(await answer.json());
  } catch { /* the event stream reports a lost server */ }
  storyBusy = false;
}

function tellStory(story) {
  const head = document.createElement("b");
  head.textContent = story.token;
  const owed = story.buffered ? `, ${bytes(story.buffered)} kept for it` : "";
  $("story-head").replaceChildren(head, ` ${story.state}${owed}`);
  $("story").replaceChildren(...story.lines.reverse().map((line) => {
    const item = document.createElement("li"), when = document.createElement("i");
    when.textContent = `${(line.at / 1e6).toFixed(4)} s, turn ${line.turn}`;
    item.append(when, line.token === story.token ? line.words : `${line.token} ${line.words}`);
    return item;
  }));
  if (!story.lines.length) {
    const item = document.createElement("li");
    item.textContent = "Nothing in the turns that are remembered.";
    $("story").append(item);
  }
}

function choose(slot) {
  if (slot === cell.slot || slot < 0 || slot >= codes.length) return;
  cell.slot = slot;
  storyAsked = 0;
  drawGrid();
  askStory();
}

// ---- events ----

function show(now) {
  [before, shown] = [shown, now];
  readCells(now);
  updateFigures(now, before);
  updateLegend();
  drawGrid();
  drawLanes();
  askStory();
  $("up").textContent = `up ${age(now.at)}; ${now.observers} looking on`;
}

function tell() {
  const state = lost ? "lost" : paused ? "paused" : !shown ? "connecting" : shown.serving ? "live" : "draining";
  document.body.dataset.state = state;
  const words = state === "lost" ? "lost the server; trying again"
    : state === "paused" ? `paused, ${queue.length} to step through` : state;
  if ($("status").textContent !== words) $("status").textContent = words;
  $("pause").setAttribute("aria-pressed", paused);
  $("pause").textContent = paused ? "Go on" : "Pause";
  $("step").disabled = !paused;
}

function receive(event) {
  const now = JSON.parse(event.data);
  heard = performance.now();
  lost = false;
  if (shown && now.at < shown.at) start(); // the server was restarted
  if (paused && shown) {
    queue.push(now);
    if (queue.length > KEPT_WHILE_PAUSED) queue.shift();
    if (wantsStep) step();
  } else {
    show(now);
  }
  tell();
}

function start() {
  [shown, before, queue, turnCursor] = [null, null, [], -1];
  [codes, generations, flash] = [new Uint8Array(0), new Uint32Array(0), new Uint8Array(0)];
  for (const figure of FIGURES) figure.history = [];
}

function pause() {
  paused = !paused;
  wantsStep = false;
  if (!paused && queue.length) { show(queue.pop()); queue = []; }
  if (!paused) turnCursor = -1;
  tell();
}

function step() {
  if (!paused) return;
  wantsStep = queue.length === 0; // show the next one on arrival
  if (queue.length) show(queue.shift());
  tell();
}

let source = null, heard = 0, lost = false;

function connect() {
  if (source) source.close();
  source = null;
  if (document.hidden) return;
  heard = performance.now();
  source = new EventSource("events");
  source.onmessage = receive;
  source.onerror = () => {
    lost = true;
    tell();
    // After an error status (too many observers, for example) EventSource does not reconnect.
    if (source && source.readyState === EventSource.CLOSED) setTimeout(connect, 2000);
  };
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["--ink", "--soft", "--line", "--accent", "--flash",
    ...PHASES.map((phase) => "--" + phase), ...Object.values(STATES).map((state) => state.colour)];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(name).trim()]));
  drawSwatches();
  redraw();
}

function redraw() {
  if (!shown) return;
  drawGrid();
  drawLanes();
  FIGURES.forEach(drawHistory);
}

function slotAt(event) {
  const box = $("grid").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / cell.size);
  if (column >= cell.columns) return -1;
  return Math.floor((event.clientY - box.top) / cell.size) * cell.columns + column;
}

makeFigures();
makeLegend();
readColours();
connect();
$("pause").addEventListener("click", pause);
$("step").addEventListener("click", step);
$("grid").addEventListener("pointermove", (event) => choose(slotAt(event)));
$("grid").addEventListener("keydown", (event) => {
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cell.columns, ArrowDown: cell.columns }[event.key];
  if (!move) return;
  event.preventDefault();
  choose(cell.slot < 0 ? 0 : cell.slot + move);
});
$("lanes").addEventListener("pointermove", (event) => {
  const box = $("lanes").getBoundingClientRect(), lanes = shown ? shown.lanes.length : 0;
  const column = (event.clientX - box.left - LABELS) / (box.width - LABELS - VALUES) * TURNS;
  turnCursor = Math.floor(column) - TURNS + lanes;
  if (shown) drawLanes();
});
$("lanes").addEventListener("pointerleave", () => { turnCursor = -1; if (shown) drawLanes(); });
$("lanes").addEventListener("keydown", (event) => {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (!move || !shown) return;
  event.preventDefault();
  const from = turnCursor < 0 ? shown.lanes.length - 1 : turnCursor;
  turnCursor = Math.max(0, Math.min(shown.lanes.length - 1, from + move));
  drawLanes();
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // The space bar activates a focused button.
  if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); pause(); }
  if (event.key === ".") step();
});
document.addEventListener("visibilitychange", connect);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
setInterval(() => {
  if (!document.hidden && performance.now() - heard > SILENCE_MS && !lost) { lost = true; tell(); }
}, 1000);
