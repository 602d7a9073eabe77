// The story of one slot: what happened to it in the turns that the server keeps.
//
// Live, the server is asked; while the page is paused, the story comes from the turns that it holds, and
// ends where they do. An answer about another slot than the chosen one is dropped.
const STORY_MS = 300; // between two questions
const STORY_LINES = 12; // MAX_LINES of observe/history.rs

let storyAsked = 0, storyBusy = false;

async function askStory() {
  const { slot } = cell;
  if (slot < 0 || storyBusy || paused || state !== "live" && state !== "draining") return;
  if (performance.now() - storyAsked < STORY_MS) return;
  storyBusy = true;
  storyAsked = performance.now();
  try {
    const answer = await fetch("slots/" + slot);
    const story = answer.ok ? await answer.json() : null;
    if (story && slot === cell.slot && !paused) {
      tellStory(story.token, labelOf(story.state), story.buffered, story.lines.reverse());
    }
  } catch { /* the event stream reports a lost server */ }
  storyBusy = false;
  // Asked in vain: another slot was chosen meanwhile.
  if (slot !== cell.slot) { storyAsked = 0; askStory(); }
}

// The server has ended, and cannot be asked what became of the slot: its state is that of the last
// snapshot, and the story stays as it was.
function tellLastStory() {
  const { slot } = cell;
  if (slot < 0 || slot >= codes.length) return;
  writeStoryHead(`#${slot}.${generations[slot]}`, stateName(codes[slot]), 0);
}

function writeStoryHead(token, is, kept) {
  const head = document.createElement("b");
  head.textContent = token;
  const buffered = kept ? `, ${bytes(kept)} buffered for it` : "";
  $("story-head").replaceChildren(head, ` ${is}${buffered}${cell.pinned ? ", pinned" : ""}`);
}

// `lines` are newest first.
function tellStory(token, is, kept, lines) {
  writeStoryHead(token, is, kept);
  $("story").replaceChildren(...lines.map((line) => {
    const item = document.createElement("li"), when = document.createElement("i");
    when.textContent = `${(line.at / 1e6).toFixed(4)} s, turn ${whole.format(line.turn)}`;
    if (line.isNew) item.className = "new";
    item.append(when, line.token === token ? line.words : `${line.token} ${line.words}`);
    return item;
  }));
  if (!lines.length) {
    const item = document.createElement("li");
    item.textContent = paused ? "Nothing in the turns that were loaded." : "Nothing in the turns that the server keeps.";
    $("story").append(item);
  }
}

function renewStory() {
  if (cell.slot < 0) return;
  if (paused) { tellFrozenStory(); return; }
  storyAsked = 0;
  askStory();
}

// Chooses a slot, unless another one is pinned.
function choose(slot, force = false) {
  if (slot < 0 || slot >= codes.length || slot === cell.slot || cell.pinned && !force) return;
  cell.slot = slot;
  placeChosen();
  // Until its own story arrives: none, rather than that of another slot.
  $("story-head").replaceChildren(`slot ${whole.format(slot)}`);
  $("story").replaceChildren();
  renewStory();
}

// Pins the story of this slot; a second time unpins it.
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
  renewStory();
}

// For those who do not see the frame: which slot the keys have reached.
function announceSlot() {
  const { slot } = cell;
  if (slot < 0) return;
  setText($("announcement"), `slot ${slot}, generation ${generations[slot]}, ${stateName(codes[slot])}` +
    (cell.pinned ? ", pinned" : ""));
}
