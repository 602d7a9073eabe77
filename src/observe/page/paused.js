// The pause: one moment of the loop, and the turns around it, call by call.
//
// A moment is a number of entries of the server's recording: everything before it has happened. The
// server numbers its entries, and each snapshot says how many there were. So the slab, the axis and
// the histories can all be derived for the same moment, whenever the turns arrive.
// An entry is [when, kind, ...]; see observe/excerpt.rs.
const AT = 0, KIND = 1, KEY = 2, GENERATION = 3, WORDS = 4, IS = 5, WAS = 6;
const MAX_ENTRIES = 40000; // kept for stepping; the oldest go
const AHEAD = 2048; // entries asked for beyond the last one that is held

// What is held: `entries`, of which the first has the number `first`, with the turn and the phase of
// each, and the moment `cursor`. `from` is the moment before the last step.
let frozen = null;
let wanted = null; // a step that waits for turns which have not happened, or not arrived
let loading = false;

function freeze() {
  frozen = { first: shown.recorded, entries: [], turns: [], phases: [], cursor: shown.recorded,
    from: shown.recorded, moved: false, isLate: false, note: "", lanes: shown.lanes.map(laneOf), turn: shown.turns };
  load(shown.recorded);
}

const frozenEnd = () => frozen.first + frozen.entries.length;
const entryAt = (number) => frozen.entries[number - frozen.first];
const turnOf = (number) => frozen.turns[number - frozen.first];
const phaseOf = (number) => frozen.phases[number - frozen.first];

// Asks for the entries around `number`, and adds those that are new.
async function load(number) {
  if (loading) return;
  loading = true;
  const mine = frozen;
  try {
    const answer = await fetch("turns/" + number);
    const { first, entries } = await answer.json();
    if (frozen === mine) addEntries(first, entries);
  } catch {
    if (frozen === mine) mine.note = "; the server does not answer";
  }
  loading = false;
  if (frozen !== mine) return paused && frozen ? load(frozen.cursor) : undefined;
  if (wanted) continueStep();
  showMoment();
}

function addEntries(first, entries) {
  const isFirst = !frozen.entries.length;
  // A fast server may have dropped what this snapshot saw, if the browser is behind: the next one counts.
  if (isFirst && first > frozen.cursor) { frozen.isLate = true; return; }
  if (isFirst) frozen.first = first;
  if (first > frozenEnd()) {
    frozen.note = "; what follows is no longer recorded: resume";
    return;
  }
  for (const entry of entries.slice(frozenEnd() - first)) {
    const last = frozen.entries.length - 1;
    const begins = entry[KIND] === "p";
    frozen.entries.push(entry);
    frozen.turns.push(begins ? entry[3] : last < 0 ? -1 : frozen.turns[last]);
    frozen.phases.push(begins ? entry[2] : last < 0 ? -1 : frozen.phases[last]);
  }
  const excess = frozen.entries.length - MAX_ENTRIES;
  if (excess > 0) {
    for (const list of [frozen.entries, frozen.turns, frozen.phases]) list.splice(0, excess);
    frozen.first += excess;
  }
}

// ---- steps ----

const isCall = (number) => entryAt(number)[KIND] === "c";
const currentTurn = () => frozen.cursor > frozen.first ? turnOf(frozen.cursor - 1) : frozen.turn;

// The moment after the next call; `undefined` if it is not held.
function afterNextCall() {
  for (let number = frozen.cursor; number < frozenEnd(); number += 1) if (isCall(number)) return number + 1;
}

// The end of this turn if calls of it are left, else the end of the next one.
function afterNextTurn() {
  const turn = currentTurn();
  let end = frozen.cursor, callsLeft = false;
  for (; end < frozenEnd() && turnOf(end) === turn; end += 1) callsLeft ||= isCall(end);
  if (callsLeft && end < frozenEnd()) return end;
  const next = end < frozenEnd() ? turnOf(end) : -1;
  while (end < frozenEnd() && turnOf(end) === next) end += 1;
  return end < frozenEnd() ? end : undefined; // its end is known only once another turn has begun
}

function beforeLastCall() {
  for (let number = frozen.cursor - 1; number >= frozen.first; number -= 1) if (isCall(number)) return number;
}

// The end of the turn before.
function beforeLastTurn() {
  const turn = currentTurn();
  let begin = frozen.cursor;
  while (begin > frozen.first && turnOf(begin - 1) === turn) begin -= 1;
  return begin > frozen.first && turnOf(begin - 1) >= 0 ? begin : undefined;
}

const FORWARD = { turn: afterNextTurn, call: afterNextCall };
const BACKWARD = { turn: beforeLastTurn, call: beforeLastCall };

function step(kind) {
  if (!paused || !frozen) return;
  wanted = kind;
  continueStep();
}

function continueStep() {
  const moment = FORWARD[wanted]();
  if (moment !== undefined) {
    wanted = null;
    moveTo(moment);
  } else if (!frozen.note) {
    load(frozenEnd() + AHEAD);
  }
}

function stepBack(kind) {
  if (!paused || !frozen) return;
  wanted = null;
  const moment = BACKWARD[kind]();
  if (moment !== undefined) moveTo(moment);
}

function moveTo(moment) {
  const before = frozen.cursor;
  flash.fill(0);
  while (frozen.cursor < moment) applyEntry(frozen.cursor++);
  while (frozen.cursor > moment) revertEntry(--frozen.cursor);
  frozen.from = Math.min(before, moment);
  frozen.moved = true;
  // What worked in the step is lit. After a step back it is what the turn before had done.
  if (moment < before) frozen.from = beforeOf(moment);
  for (let number = frozen.from; number < moment; number += 1) {
    const [, kind, key] = entryAt(number);
    if (kind !== "m" && key < flash.length && "cbd".includes(kind)) flash[key] = FLASH_STEPS;
  }
  laneCursor = -1;
  showMoment();
}

// Where the turn that ends at `moment`, or is at work then, began.
function beforeOf(moment) {
  let begin = moment;
  while (begin > frozen.first && turnOf(begin - 1) === turnOf(moment - 1)) begin -= 1;
  return begin;
}

function setSlot(key, code, generation) {
  if (key >= MAX_CELLS) return;
  if (key >= codes.length) {
    const grow = (list) => { const longer = new list.constructor(key + 1); longer.set(list); return longer; };
    const from = codes.length;
    [codes, generations, flash] = [grow(codes), grow(generations), grow(flash)];
    codes.fill(codeOf("."), from);
  }
  codes[key] = code;
  generations[key] = generation;
}

function applyEntry(number) {
  const entry = entryAt(number);
  if (entry[KIND] === "c" || entry[KIND] === "b") setSlot(entry[KEY], codeOf(entry[IS]), entry[GENERATION]);
  if (entry[KIND] === "d") setSlot(entry[KEY], codeOf("."), entry[GENERATION] + 1);
}

function revertEntry(number) {
  const entry = entryAt(number);
  if (entry[KIND] === "c") setSlot(entry[KEY], codeOf(entry[WAS]), entry[GENERATION]);
  if (entry[KIND] === "b") setSlot(entry[KEY], codeOf("."), entry[GENERATION]);
  if (entry[KIND] !== "d") return;
  // Its last call was in the same turn.
  for (let i = number - 1; i >= frozen.first; i -= 1) {
    const [, kind, key, , , is] = entryAt(i);
    if (key === entry[KEY] && (kind === "c" || kind === "b")) return setSlot(key, codeOf(is), entry[GENERATION]);
  }
}

// ---- what the moment looks like ----

function showMoment() {
  if (!frozen) return;
  updateLegend();
  drawGrid();
  const lanes = frozenLanes();
  drawLanes(lanes);
  lightPhases(momentPhases(lanes));
  if (cell.slot >= 0) showFrozenHistory();
  showState();
}

// A step of one call lights its phase; a turn, the phases that worked in it.
function momentPhases(lanes) {
  const last = frozen.cursor - 1;
  if (frozen.moved && last >= frozen.first && isCall(last)) return 1 << phaseOf(last);
  return lanes.length ? workedIn(lanes.slice(-1)) : 0;
}

// The turns up to the moment: those that are held, after those of the snapshot.
function frozenLanes() {
  const lanes = [], observers = observerKeys();
  let lane = null, phase = -1, since = 0;
  const end = (at) => { if (lane && phase >= 0) lane.phases[phase] += at - since; };
  for (let number = frozen.first; number < frozen.cursor; number += 1) {
    const entry = entryAt(number);
    if (turnOf(number) < 0) continue;
    if (entry[KIND] === "p") {
      end(entry[AT]);
      if (!lane || lane.turn !== entry[3]) {
        lane = { turn: entry[3], at: entry[AT], phases: PHASES.map(() => 0), events: 0, calls: 0, observers: [0, 0], own: 0 };
        lanes.push(lane);
      }
      [phase, since] = [entry[2], entry[AT]];
    } else if (entry[KIND] === "o") {
      lane.observers = [entry[2], entry[3]];
    } else if ("mcbd".includes(entry[KIND])) {
      lane.events += entry[KIND] === "m";
      lane.calls += entry[KIND] === "c";
      if (!observers.has(entry[KEY] + "." + entry[GENERATION])) lane.own |= 1 << phase;
    }
  }
  if (frozen.cursor > frozen.first) end(entryAt(frozen.cursor - 1)[AT]);
  // A turn that is held only in part is not shown.
  if (lanes.length && frozen.entries[0][KIND] !== "p") lanes.shift();
  const from = lanes.length ? lanes[0].turn : Infinity;
  return [...frozen.lanes.filter((old) => old.turn < from), ...lanes];
}

// The tokens of observers among what is held.
function observerKeys() {
  const keys = new Set();
  codes.forEach((code, key) => { if (LETTERS[code] === "E") keys.add(key + "." + generations[key]); });
  for (const entry of frozen.entries) {
    if (entry[IS] === "E") keys.add(entry[KEY] + "." + entry[GENERATION]);
  }
  return keys;
}

const CALLED_IN = { [DRIVE]: "drive", [EXPIRE]: "expire" };
const EVENTS = { m: "event", b: "born", d: "gone" };

function showFrozenHistory() {
  const { slot } = cell, lines = [];
  if (slot >= codes.length) return;
  for (let number = frozen.cursor - 1; number >= frozen.first && lines.length < HISTORY_LINES; number -= 1) {
    const entry = entryAt(number), kind = entry[KIND];
    if (entry[KEY] !== slot || !"mcbd".includes(kind) || turnOf(number) < 0) continue;
    const event = kind === "c" ? CALLED_IN[phaseOf(number)] || "visit" : EVENTS[kind];
    lines.push({ at: entry[AT], turn: turnOf(number), token: `#${slot}.${entry[GENERATION]}`,
      words: `${event}: ${entry[WORDS]}`, isNew: frozen.moved && number >= frozen.from });
  }
  if (!frozen.entries.length) return; // the history stays as it was until the turns arrive
  showHistory(`#${slot}.${generations[slot]}`, stateName(codes[slot]), 0, lines);
}

// Where the pause is: the turn, and within it the call.
function describeMoment() {
  if (!frozen.entries.length) return `turn ${whole.format(frozen.turn)}`;
  const turn = currentTurn();
  let done = 0, all = 0;
  for (let number = beforeOf(frozen.cursor); number < frozenEnd() && turnOf(number) === turn; number += 1) {
    if (!isCall(number)) continue;
    all += 1;
    done += number < frozen.cursor;
  }
  if (!done && all) return `in turn ${whole.format(turn)}, before call 1 of ${all}`;
  return done < all ? `in turn ${whole.format(turn)}, after call ${done} of ${all}` : `after turn ${whole.format(turn)}`;
}
