// The loop: its phases in words, and its last turns on a time axis.
//
// The axis is linear: a turn is as wide as it lasted. A long wait is cut, with a visible break and its
// length. What the loop does for observers, this page among them, has their colour and lights nothing.
const PHASES = [
  { name: "wait", does: "Sleeps until a socket is ready or the next deadline is due." },
  { name: "mark", does: "Notes for each event which source is ready. No source works yet." },
  { name: "drive", does: "Calls the ready sources in order; each does a bounded amount of work." },
  { name: "expire", does: "Calls the sources whose deadline has passed." },
  { name: "settle", does: "Frees the slots of closed sources, then adds the new ones." },
  { name: "between", does: "The program’s own work between two turns, such as limits and drains." },
];
const [WAIT, MARK, DRIVE, EXPIRE, , BETWEEN] = PHASES.keys();

const NAMES_PX = 62, ROW_PX = 22, WAIT_ROW_PX = 36, HEAD_PX = 16, AXIS_PX = 20, BREAK_PX = 54;
const TURN_PX = 58; // the mean width of a turn decides how many are shown
const PHASES_PER_DRAWING = 5; // live, their times are renewed twice per second

let laneCursor = -1; // the number of the turn that is chosen on the axis
let laneBoxes = []; // of each turn on the axis: the turn, its left edge and its right edge
let phaseDrawings = 0;

// A turn of a snapshot: its number, when its wait began, the time of each phase, the numbers of events
// and calls, the observers' part of `drive` and of `between`, and the phases (as bits) in which sources
// other than observers had work.
function laneOf([turn, at, phases, events, calls, observers = [0, 0], own = 63]) {
  return { turn, at, phases, events, calls, observers, own };
}

// The part of a phase that was not spent on observers.
function ownTime(lane, row) {
  if (row === WAIT) return lane.phases[WAIT];
  if (row === BETWEEN) return Math.max(0, lane.phases[BETWEEN] - lane.observers[1]);
  if (!(lane.own & 1 << row)) return 0;
  return Math.max(0, lane.phases[row] - (row === DRIVE ? lane.observers[0] : 0));
}

function makeLoop() {
  for (const phase of PHASES) {
    const name = document.createElement("b"), does = document.createElement("span");
    phase.item = document.createElement("li");
    phase.item.className = phase.name;
    phase.time = document.createElement("em");
    phase.time.id = "time-" + phase.name;
    phase.time.textContent = "–";
    name.textContent = phase.name;
    does.textContent = phase.does;
    phase.item.append(name, phase.time, does);
    $("loop").append(phase.item);
  }
}

// Lights up the phases in `bits`.
function lightPhases(bits) {
  PHASES.forEach((phase, row) => phase.item.classList.toggle("lit", Boolean(bits & 1 << row)));
}

// The phases that worked in these turns; the wait if it took most of them.
function workedIn(lanes) {
  const sum = (of) => lanes.reduce((total, lane) => total + of(lane), 0);
  const waited = sum((lane) => lane.phases[WAIT]);
  const others = sum((lane) => PHASES.reduce((total, _, row) => total + (row ? ownTime(lane, row) : 0), 0));
  return lanes.reduce((bits, lane) => bits | lane.own, 0) & ~1 | (waited > others ? 1 : 0);
}

// The time of each phase: that of the chosen turn, or the mean of the turns shown.
function writePhases(lanes, chosen) {
  PHASES.forEach((phase, row) => {
    const mean = lanes.reduce((sum, lane) => sum + ownTime(lane, row), 0) / (lanes.length || 1);
    setText(phase.time, lanes.length ? time(chosen ? ownTime(chosen, row) : mean) : "–");
  });
}

// The last turns that fit, from left to right. Waits longer than about the mean work of a
// turn are cut.
function layTurns(lanes, width) {
  const shownLanes = lanes.slice(-Math.max(3, Math.floor(width / TURN_PX)));
  const work = (lane) => lane.phases.reduce((sum, part) => sum + part, 0) - lane.phases[WAIT];
  const total = shownLanes.reduce((sum, lane) => sum + work(lane), 0);
  const cutoff = roundStep(Math.max(1, total / (shownLanes.length || 1)));
  const isCut = (lane) => lane.phases[WAIT] > cutoff;
  const cuts = shownLanes.filter(isCut).length;
  const inScale = shownLanes.reduce((sum, lane) => sum + work(lane) + (isCut(lane) ? 0 : lane.phases[WAIT]), 0);
  const scale = Math.max(1, width - cuts * BREAK_PX) / Math.max(inScale, 1e-3); // pixels per microsecond
  let x = 0, stretch = { x: 0, width: 0 };
  const turns = [], stretches = [stretch];
  for (const lane of shownLanes) {
    const turn = { lane, x, parts: [] };
    lane.phases.forEach((lasted, row) => {
      const cut = row === WAIT && isCut(lane);
      const wide = cut ? BREAK_PX : lasted * scale;
      turn.parts.push({ row, x, wide, cut, lasted });
      x += wide;
      if (cut) stretches.push(stretch = { x, width: 0 });
      else stretch.width += wide;
    });
    turn.end = x;
    turns.push(turn);
  }
  return { turns, stretches, scale, cutoff, cuts };
}

// The least of 1, 2 and 5 times a power of ten that is at least this.
function roundStep(least) {
  const power = 10 ** Math.floor(Math.log10(least));
  return [1, 2, 5, 10].map((digit) => digit * power).find((step) => step >= least * 0.999);
}

const rowTop = (row) => HEAD_PX + (row ? WAIT_ROW_PX + (row - 1) * ROW_PX : 0);
const ROWS_END_PX = HEAD_PX + WAIT_ROW_PX + (PHASES.length - 1) * ROW_PX;

function drawLanes(lanes) {
  const { context, width } = prepare($("lanes"), ROWS_END_PX + AXIS_PX);
  const axis = layTurns(lanes, width - NAMES_PX - 2);
  const chosen = lanes.find((lane) => lane.turn === laneCursor) || null;
  laneBoxes = axis.turns.map((turn) => ({ lane: turn.lane, left: NAMES_PX + turn.x, right: NAMES_PX + turn.end }));
  context.font = "12px system-ui, sans-serif";
  context.textBaseline = "middle";
  drawRows(context, width);
  context.save();
  context.translate(NAMES_PX, 0);
  drawAxis(context, axis, width - NAMES_PX);
  drawTurns(context, axis.turns);
  context.restore();
  const box = chosen && laneBoxes.find((one) => one.lane === chosen);
  if (box) {
    context.strokeStyle = colours["--ink"];
    context.lineWidth = 1.5;
    context.strokeRect(box.left - 0.5, 1, Math.max(3, box.right - box.left + 1), ROWS_END_PX - 1);
  }
  tellTurns(axis, lanes, chosen);
  if (paused || chosen || phaseDrawings++ % PHASES_PER_DRAWING === 0) {
    writePhases(axis.turns.map((turn) => turn.lane), chosen);
  }
}

function drawRows(context, width) {
  PHASES.forEach((phase, row) => {
    const foot = rowTop(row) + (row ? ROW_PX : WAIT_ROW_PX) - 1;
    context.fillStyle = colours["--ink"];
    context.textAlign = "left";
    context.fillText(phase.name, 0, foot - 8);
    context.fillStyle = colours["--line"];
    context.fillRect(NAMES_PX, foot, width - NAMES_PX, 1);
  });
}

// The divisions of the axis: each stretch between two breaks counts from its own start.
function drawAxis(context, { stretches, scale, turns }, room) {
  const step = roundStep(56 / scale);
  context.textAlign = "left";
  for (const { x, width } of stretches) {
    for (let i = 0; i * step * scale <= width + 0.5; i += 1) {
      const at = x + i * step * scale;
      context.fillStyle = colours["--line"];
      context.fillRect(at, HEAD_PX, 1, ROWS_END_PX - HEAD_PX + 4);
      context.fillStyle = colours["--soft"];
      const label = i ? "+" + roundTime(i * step) : "0";
      const ends = at + 2 + context.measureText(label).width;
      if ((i ? step * scale : width) > 14 && ends < Math.min(room, x + width + BREAK_PX)) {
        context.fillText(label, at + 2, ROWS_END_PX + 11);
      }
    }
  }
  context.fillStyle = colours["--soft"];
  let free = 0; // the left edge of the room that is left for numbers
  for (const { lane, x, end } of turns) {
    const text = whole.format(lane.turn), wide = context.measureText(text).width;
    if (x < free || end - x < 5 || x + wide + 3 > room) continue;
    context.fillRect(x, 3, 1, HEAD_PX - 5);
    context.fillText(text, x + 3, 7);
    free = x + wide + 8;
  }
}

function drawTurns(context, turns) {
  for (const { lane, parts } of turns) {
    for (const { row, x, wide, cut, lasted } of parts) {
      const foot = rowTop(row) + (row ? ROW_PX : WAIT_ROW_PX) - 1, tall = 14;
      if (cut) {
        drawBreak(context, x, foot, lasted);
        continue;
      }
      const own = ownTime(lane, row) / (lasted || 1) * wide;
      context.fillStyle = colours["--" + PHASES[row].name];
      // What worked is seen however short it was.
      if (own > 0.3 || (row && lane.own & 1 << row)) context.fillRect(x, foot - tall, Math.max(1, own), tall);
      context.fillStyle = colours["--observer"];
      if (wide - own > 0.3) context.fillRect(x + own, foot - tall, wide - own, tall);
    }
  }
}

// A wait that is cut: two blocks with a gap between them, and how long it lasted.
function drawBreak(context, x, foot, lasted) {
  const tall = 14, middle = x + BREAK_PX / 2;
  context.fillStyle = colours["--wait"];
  for (const [from, to, slant] of [[x, middle - 3, 4], [middle + 3, x + BREAK_PX, 0]]) {
    context.beginPath();
    context.moveTo(from + (slant ? 0 : 4), foot - tall);
    context.lineTo(to + slant, foot - tall);
    context.lineTo(to, foot);
    context.lineTo(from, foot);
    context.fill();
  }
  context.fillStyle = colours["--ink"];
  context.textAlign = "center";
  context.fillText(time(lasted), middle, foot - tall - 9);
  context.textAlign = "left";
}

function tellTurns({ turns, scale, cuts, cutoff }, lanes, chosen) {
  const shownLanes = turns.map((turn) => turn.lane);
  const span = shownLanes.reduce((sum, lane) => sum + lane.phases.reduce((one, part) => one + part, 0), 0);
  setText($("turn-note"), chosen
    ? `turn ${whole.format(chosen.turn)}: ${some(chosen.events, "event")}, ${some(chosen.calls, "call")}; the time of each phase`
    : `the last ${some(shownLanes.length, "turn")}, ${time(span)} in all; the mean time of each phase`);
  const text = `Linear time: one division is ${roundTime(roundStep(56 / scale))}, counted from the last break.` +
    (cuts ? ` Waits over ${roundTime(cutoff)} are cut, with their length above.` : "");
  if ($("scale").dataset.text === text) return;
  const swatch = document.createElement("i");
  $("scale").dataset.text = text;
  $("scale").replaceChildren(text + " ", swatch, "is the work for observers, such as this page.");
}

// The turn at this place on the axis.
function turnAt(event) {
  const x = event.clientX - $("lanes").getBoundingClientRect().left;
  const box = laneBoxes.find(({ left, right }) => x >= left && x < Math.max(right, left + 1));
  return box ? box.lane.turn : -1;
}

// Chooses the turn next to the chosen one.
function moveLaneCursor(by) {
  const index = laneBoxes.findIndex(({ lane }) => lane.turn === laneCursor);
  const next = index < 0 ? laneBoxes.length - 1 : Math.max(0, Math.min(laneBoxes.length - 1, index + by));
  if (laneBoxes[next]) laneCursor = laneBoxes[next].lane.turn;
}
