// The history of one slot: what happened to it in the turns that the server keeps.
//
// Live, the server is asked; while the page is paused, the history comes from the turns that it holds, and
// ends where they do. An answer about another slot than the chosen one is dropped.
const HISTORY_MS = 300; // between two questions
const HISTORY_LINES = 12; // MAX_LINES of observe/history.rs

let historyAsked = 0, historyBusy = false;

async function askHistory() {
  const { slot } = cell;
  if (slot < 0 || historyBusy || paused || state !== "live" && state !== "draining") return;
  if (performance.now() - historyAsked < HISTORY_MS) return;
  historyBusy = true;
  historyAsked = performance.now();
  try {
    const answer = await fetch("slots/" + slot);
    const history = answer.ok ? await answer.json() : null;
    if (history && slot === cell.slot && !paused) {
      showHistory(history.token, labelOf(history.state), history.buffered, history.lines.reverse());
    }
  } catch { /* the event stream reports a lost server */ }
  historyBusy = false;
  // The answer is of no use if another slot was chosen meanwhile.
  if (slot !== cell.slot) { historyAsked = 0; askHistory(); }
}

// The server has ended, and cannot be asked what became of the slot: its state is that of the last
// snapshot, and the history stays as it was.
function showLastHistory() {
  const { slot } = cell;
  if (slot < 0 || slot >= codes.length) return;
  writeHistoryHead(`#${slot}.${generations[slot]}`, stateName(codes[slot]), 0);
}

function writeHistoryHead(token, is, kept) {
  const head = document.createElement("b");
  head.textContent = token;
  const buffered = kept ? `, ${bytes(kept)} buffered for it` : "";
  $("history-head").replaceChildren(head, ` ${is}${buffered}${cell.pinned ? ", pinned" : ""}`);
}

// `lines` are newest first.
function showHistory(token, is, kept, lines) {
  writeHistoryHead(token, is, kept);
  $("history").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li"), when = document.createElement("i");
    when.textContent = `${(line.at / 1e6).toFixed(4)} s, turn ${whole.format(line.turn)}`;
    if (line.isNew) item.className = "new";
    item.append(when, line.token === token ? line.words : `${line.token} ${line.words}`);
    return item;
  }));
  if (!lines.length) {
    const item = document.createElement("li");
    item.textContent = paused ? "Nothing in the turns that were loaded." : "Nothing in the turns that the server keeps.";
    $("history").append(item);
  }
}

function renewHistory() {
  if (cell.slot < 0) return;
  if (paused) { showFrozenHistory(); return; }
  historyAsked = 0;
  askHistory();
}

// Chooses a slot, unless another one is pinned.
function choose(slot, force = false) {
  if (slot < 0 || slot >= codes.length || slot === cell.slot || cell.pinned && !force) return;
  cell.slot = slot;
  placeChosen();
  // Until its own history arrives: none, rather than that of another slot.
  $("history-head").replaceChildren(`slot ${whole.format(slot)}`);
  $("history").replaceChildren();
  renewHistory();
}

// Pins the history of this slot; a second time unpins it.
function pin(slot) {
  if (slot < 0 || slot >= codes.length) return;
  const isPinned = !(cell.pinned && slot === cell.slot);
  choose(slot, true);
  setPinned(isPinned);
}

function setPinned(isPinned) {
  cell.pinned = isPinned;
  $("unpin").hidden = !isPinned;
  placeChosen();
  announceSlot();
  renewHistory();
}

// For those who do not see the frame: which slot the keys have reached.
function announceSlot() {
  const { slot } = cell;
  if (slot < 0) return;
  setText($("announcement"), `slot ${slot}, generation ${generations[slot]}, ${stateName(codes[slot])}` +
    (cell.pinned ? ", pinned" : ""));
}
