// The slab: one cell per slot.
//
// Only the cells that changed are drawn again, so that many thousand clients cost little.
const LARGEST_CELL = 34, LABELLED_CELL = 22, SHAPED_CELL = 9; // in pixels, gap included
const FLASH_STEPS = 4; // snapshots until the light of a slot that worked has faded
const MAX_CELLS = 32768; // of observe/snapshot.rs

let codes = new Uint8Array(0), generations = new Uint32Array(0), flash = new Uint8Array(0);
let cell = { slot: -1, pinned: false, columns: 1, size: 1 };
// What is on the canvas: state and light of each slot, its generation, and the size of a cell.
let drawn = { keys: new Uint8Array(0), generations: new Uint32Array(0), size: 0, columns: 0 };

function readCells(now) {
  const slots = Math.min(now.slots, MAX_CELLS);
  const next = new Uint8Array(slots), nextGenerations = new Uint32Array(slots), nextFlash = new Uint8Array(slots);
  let slot = 0;
  for (const [, letter, length] of now.cells.matchAll(/([a-zA-Z.])(\d*)/g)) {
    const end = Math.min(slots, slot + Number(length || 1));
    next.fill(codeOf(letter), slot, end);
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
  // Without motion the light does not fade: it is on while the slot works.
  const fades = !calm.matches, known = codes.length;
  for (let i = 0; i < slots; i += 1) {
    const changed = active[i] || i < known && (next[i] !== codes[i] || nextGenerations[i] !== generations[i]);
    if (changed) nextFlash[i] = FLASH_STEPS;
    else if (fades && i < known && flash[i]) nextFlash[i] = flash[i] - 1;
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

function drawGrid(everything = false) {
  const slots = codes.length;
  const height = layOut(Math.max(1, slots), $("grid").clientWidth || 1);
  const { context, isEmpty } = prepare($("grid"), height, true);
  const { size, columns } = cell;
  if (everything || isEmpty || drawn.size !== size || drawn.columns !== columns || drawn.keys.length !== slots) {
    context.clearRect(0, 0, $("grid").clientWidth, height);
    drawn = { keys: new Uint8Array(slots).fill(255), generations: new Uint32Array(slots), size, columns };
  }
  const groups = new Map();
  for (let slot = 0; slot < slots; slot += 1) {
    const key = codes[slot] * 8 + flash[slot];
    if (drawn.keys[slot] === key && drawn.generations[slot] === generations[slot]) continue;
    drawn.keys[slot] = key;
    drawn.generations[slot] = generations[slot];
    if (groups.has(key)) groups.get(key).push(slot);
    else groups.set(key, [slot]);
  }
  for (const [key, members] of groups) drawCells(context, STATES[LETTERS[key >> 3]], (key & 7) / FLASH_STEPS, members);
  placeChosen();
}

// Draws these cells, which have the same state and the same light (0 to 1).
function drawCells(context, state, light, members) {
  const { size, columns } = cell;
  const gap = size > 6 ? 2 : size > 3 ? 1 : 0.5, inner = size - gap;
  const left = (slot) => slot % columns * size, top = (slot) => Math.floor(slot / columns) * size;
  for (const slot of members) context.clearRect(left(slot), top(slot), size, size);
  if (light) {
    context.globalAlpha = light;
    context.fillStyle = colours["--lit"];
    for (const slot of members) context.fillRect(left(slot), top(slot), size, size);
    context.globalAlpha = 1;
  }
  context.fillStyle = context.strokeStyle = colours[state.colour];
  for (const slot of members) drawShape(context, left(slot) + gap / 2, top(slot) + gap / 2, inner, state.shape);
  if (light) {
    context.globalAlpha = light * 0.35;
    context.fillStyle = "#fff";
    for (const slot of members) context.fillRect(left(slot) + gap / 2, top(slot) + gap / 2, inner, inner);
    context.globalAlpha = 1;
  }
  for (const slot of members) {
    if (generations[slot]) drawGeneration(context, left(slot) + gap / 2, top(slot) + gap / 2, inner, slot);
  }
}

function drawShape(context, x, y, inner, shape) {
  if (shape === "dot") {
    const dot = inner < SHAPED_CELL ? inner / 2 : inner / 4;
    return context.fillRect(x + (inner - dot) / 2, y + (inner - dot) / 2, dot, dot);
  }
  if (inner < SHAPED_CELL || shape === "full") return context.fillRect(x, y, inner, inner);
  const edge = Math.max(1.5, inner / 7);
  context.lineWidth = edge;
  if (shape === "half") {
    context.strokeRect(x + edge / 2, y + edge / 2, inner - edge, inner - edge);
    context.fillRect(x, y + inner / 2, inner, inner / 2);
  } else if (shape === "ring") {
    context.beginPath();
    context.arc(x + inner / 2, y + inner / 2, (inner - edge) / 2, 0, 7);
    context.stroke();
  } else {
    context.strokeRect(x + edge / 2, y + edge / 2, inner - edge, inner - edge);
    if (shape !== "cross") return;
    context.beginPath();
    context.moveTo(x, y); context.lineTo(x + inner, y + inner);
    context.moveTo(x + inner, y); context.lineTo(x, y + inner);
    context.stroke();
  }
}

// How often a slot was reused: a number if cells are large, on a ground of its own so that it can be
// read on every state; else a bar at the bottom, whose length is logarithmic.
function drawGeneration(context, x, y, inner, slot) {
  const generation = generations[slot];
  if (cell.size >= LABELLED_CELL && generation < 1000) {
    context.font = `600 ${Math.max(9, inner * 0.36)}px system-ui, sans-serif`;
    context.textAlign = "center";
    context.textBaseline = "middle";
    const width = context.measureText(generation).width + 3, tall = Math.max(11, inner * 0.46);
    context.fillStyle = colours["--card"];
    context.fillRect(x + (inner - width) / 2, y + (inner - tall) / 2, width, tall);
    context.fillStyle = colours["--ink"];
    context.fillText(generation, x + inner / 2, y + inner / 2 + 0.5);
  } else if (cell.size >= 4) {
    context.fillStyle = colours["--ink"];
    const foot = Math.max(1, inner / 8);
    context.fillRect(x, y + inner - foot, Math.min(1, Math.log2(generation + 1) / 10) * inner, foot);
  }
}

// The frame around the chosen slot.
function placeChosen() {
  const frame = $("chosen"), { size, columns, slot } = cell;
  frame.hidden = slot < 0 || slot >= codes.length;
  if (frame.hidden) return;
  const side = Math.max(size, 7) + 2;
  frame.style.left = slot % columns * size + (size - side) / 2 + "px";
  frame.style.top = Math.floor(slot / columns) * size + (size - side) / 2 + "px";
  frame.style.width = frame.style.height = side + "px";
  frame.classList.toggle("pinned", cell.pinned);
}

function makeLegend() {
  for (const letter of LETTERS) {
    const state = STATES[letter], item = document.createElement("li");
    state.swatch = document.createElement("canvas");
    state.swatch.setAttribute("aria-hidden", "true");
    state.count = document.createElement("b");
    state.count.id = "count-" + state.name;
    state.item = item;
    item.append(state.swatch, (state.label || state.name) + " ", state.count);
    $("legend").append(item);
  }
}

function updateLegend() {
  const counts = new Array(LETTERS.length).fill(0);
  for (const code of codes) counts[code] += 1;
  LETTERS.forEach((letter, code) => {
    setText(STATES[letter].count, whole.format(counts[code]));
    STATES[letter].item.classList.toggle("some", counts[code] > 0);
  });
  let reused = 0, most = 0;
  for (const generation of generations) {
    reused += generation > 0;
    if (generation > most) most = generation;
  }
  const hidden = shown.slots > MAX_CELLS ? `, the first ${whole.format(MAX_CELLS)} shown` : "";
  setText($("slab-note"), some(Math.max(shown.slots, codes.length), "slot") + hidden +
    (reused ? `, ${whole.format(reused)} reused` : "") +
    (most > 1 ? `, one of them ${whole.format(most)} times` : "") +
    (shown.accepted || paused ? "" : "; no client yet: try helloop tcp"));
}

function drawSwatches() {
  for (const state of Object.values(STATES)) {
    const { context } = prepare(state.swatch, 14);
    context.fillStyle = context.strokeStyle = colours[state.colour];
    drawShape(context, 0.5, 0.5, 13, state.shape);
  }
}

function slotAt(event) {
  const box = $("grid").getBoundingClientRect();
  const column = Math.floor((event.clientX - box.left) / cell.size);
  if (column < 0 || column >= cell.columns) return -1;
  return Math.floor((event.clientY - box.top) / cell.size) * cell.columns + column;
}
