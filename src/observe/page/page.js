// Draws the snapshots that /events streams, and lets the user pause, step and select.
//
// The page only reads: it sends nothing but GET requests. Each snapshot is complete, so a missed one
// is harmless. Text from the server is inserted as text, never as markup. The page is redrawn once per
// snapshot, at most ten times per second, and not while it is hidden.
const SILENCE_MS = 3000; // without an event for this long, the server counts as lost
const RETRY_MS = 2000;

let latest = null; // the last snapshot that has arrived
let shown = null; // the snapshot on the page
let before = null; // the one shown before it, to compute rates
let paused = false;
// What the page shows: "connecting", "live", "draining", "paused", "lost" or "ended".
let state = "connecting";
// What became of the server: null (it sends snapshots), "lost" or "ended".
let gone = null;

function show(now) {
  [before, shown] = [shown, now];
  // The mark turns with the snapshots: an animation of its own would cost more than all the rest.
  if (!calm.matches) $("mark").style.transform = `rotate(${now.turns % 60 * 6}deg)`;
  readCells(now);
  if (gone === "ended") flash.fill(0);
  updateFigures(now, before, gone === "ended");
  updateLegend();
  drawGrid();
  const lanes = now.lanes.map(laneOf);
  drawLanes(lanes);
  const news = lanes.filter((lane) => !before || lane.turn > before.turns - 1);
  lightPhases(gone === "ended" ? 0 : workedIn(news));
  if (gone === "ended") showLastHistory();
  else askHistory();
  setText($("up"), gone === "ended" ? `ran for ${age(now.at)}`
    : `up ${age(now.at)}, ${some(now.observers, "observer connection")}`);
}

function showState() {
  state = paused ? "paused" : gone || (!shown ? "connecting" : shown.serving ? "live" : "draining");
  document.body.dataset.state = state;
  setText($("status"), state === "paused" ? describePause()
    : state === "lost" ? "lost the server; trying again"
      : state === "ended" ? "the server has ended" : state);
  setText($("pause"), paused ? "Resume" : "Pause");
  $("pause").disabled = !canPause();
  for (const id of ["back", "step", "call"]) $(id).disabled = !paused;
  const asOf = paused && frozen.moved ? `as of turn ${whole.format(frozen.turn)}` : "";
  document.querySelectorAll(".as-of").forEach((note) => setText(note, asOf));
}

function describePause() {
  const left = gone === "ended" ? "; the server has ended" : gone ? "; lost the server" : "";
  return `paused ${describeMoment()}${frozen.note}${left}`;
}

function receive(event) {
  const now = JSON.parse(event.data);
  heard = performance.now();
  gone = event.type === "end" ? "ended" : null;
  const isRestarted = latest && now.at < latest.at;
  latest = now;
  if (isRestarted) restarted();
  if (!paused || frozen.isLate) show(now);
  if (paused && frozen.isLate) freeze();
  else if (paused && wanted && !loading) continueStep();
  showState();
}

function restarted() {
  if (paused) frozen.note = "; the server was restarted: resume";
  else [shown, before] = [null, null];
  forgetFigures();
}

// A server that has ended cannot be asked for its turns any more.
const canPause = () => paused || shown && gone !== "ended";

function pause() {
  if (!canPause()) return;
  paused = !paused;
  wanted = null;
  if (paused) {
    freeze();
  } else {
    [frozen, laneCursor] = [null, -1];
    if (latest.at < shown.at) [shown, before] = [null, null];
    flash.fill(0);
    show(latest);
    renewHistory();
  }
  showState();
}

let source = null, heard = 0;

function connect() {
  if (source) source.close();
  source = null;
  // While paused the stream stays, because the server records only while someone watches.
  if (document.hidden && !paused) return;
  heard = performance.now();
  source = new EventSource("events");
  source.onmessage = receive;
  source.addEventListener("end", receive);
  source.onerror = () => {
    gone ||= "lost";
    showState();
    // After an error status (too many observers, for example) EventSource does not reconnect.
    if (source && source.readyState === EventSource.CLOSED) setTimeout(connect, RETRY_MS);
  };
}

function readColours() {
  const style = getComputedStyle(document.documentElement);
  const names = ["--ink", "--soft", "--line", "--card", "--accent", "--lit",
    ...PHASES.map((phase) => "--" + phase.name), ...Object.values(STATES).map((one) => one.colour)];
  colours = Object.fromEntries(names.map((name) => [name, style.getPropertyValue(name).trim()]));
  drawSwatches();
  redraw();
}

function redraw() {
  if (!shown) return;
  drawGrid(true);
  drawLanes(paused ? frozenLanes() : shown.lanes.map(laneOf));
  FIGURES.forEach(drawCurve);
}

makeFigures();
makeLegend();
makeLoop();
readColours();
connect();

$("pause").addEventListener("click", pause);
$("step").addEventListener("click", (event) => step(event.shiftKey ? "call" : "turn"));
$("call").addEventListener("click", () => step("call"));
$("back").addEventListener("click", (event) => stepBack(event.shiftKey ? "call" : "turn"));
$("unpin").addEventListener("click", () => setPinned(false));
// A touch chooses with its click; a mouse already by pointing.
$("grid").addEventListener("pointermove", (event) => { if (event.pointerType === "mouse") choose(slotAt(event)); });
$("grid").addEventListener("click", (event) => pin(slotAt(event)));
$("grid").addEventListener("keydown", (event) => {
  if (event.key === "Enter") return pin(cell.slot);
  const move = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -cell.columns, ArrowDown: cell.columns }[event.key];
  if (!move) return;
  event.preventDefault();
  choose(cell.slot < 0 ? 0 : cell.slot + move, true);
  announceSlot();
});
function chooseTurn(turn) {
  laneCursor = turn;
  if (shown) drawLanes(paused ? frozenLanes() : shown.lanes.map(laneOf));
}
$("lanes").addEventListener("pointermove", (event) => chooseTurn(turnAt(event)));
$("lanes").addEventListener("click", (event) => chooseTurn(turnAt(event)));
$("lanes").addEventListener("pointerleave", () => chooseTurn(-1));
$("lanes").addEventListener("keydown", (event) => {
  const move = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
  if (event.key === "Escape") return chooseTurn(-1);
  if (!move || !shown) return;
  event.preventDefault();
  moveLaneCursor(move);
  chooseTurn(laneCursor);
  setText($("announcement"), $("turn-note").textContent);
});
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  // The space bar activates a focused button. With Shift, the keys of most layouts have other signs.
  if (event.key === " " && event.target.tagName !== "BUTTON") { event.preventDefault(); pause(); }
  if (event.key === "Escape" && cell.pinned) setPinned(false);
  const kind = event.shiftKey ? "call" : "turn";
  if ([".", ">", ":"].includes(event.key)) step(kind);
  if ([",", "<", ";"].includes(event.key)) stepBack(kind);
});
document.addEventListener("visibilitychange", connect);
addEventListener("resize", redraw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", readColours);
setInterval(() => {
  if (!document.hidden && performance.now() - heard > SILENCE_MS && !gone) { gone = "lost"; showState(); }
}, 1000);
