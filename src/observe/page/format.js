// Numbers as text, canvases at the resolution of the screen, and the states that a slot can have.
"use strict";

const $ = (id) => document.getElementById(id);

// The letters of observe/snapshot.rs. The colours are defined in page.css; the shapes make the states
// distinguishable without colour.
const STATES = {
  "g": { name: "greeting", colour: "--greeting", shape: "ring" },
  "w": { name: "waiting", colour: "--waiting", shape: "full" },
  "o": { name: "owed", label: "replies unsent", colour: "--owed", shape: "cross" },
  "h": { name: "held", label: "held by --delay", colour: "--held", shape: "half" },
  "l": { name: "lingering", colour: "--lingering", shape: "hollow" },
  "L": { name: "listener", colour: "--fixture", shape: "full" },
  "U": { name: "datagrams", label: "UDP socket", colour: "--fixture", shape: "ring" },
  "S": { name: "signals", colour: "--fixture", shape: "hollow" },
  "E": { name: "observer", label: "observers and their listener", colour: "--observer", shape: "ring" },
  ".": { name: "free", colour: "--free", shape: "dot" },
};
const LETTERS = Object.keys(STATES);
const codeOf = (letter) => Math.max(0, LETTERS.indexOf(letter));
// The words of the legend for a state as the server names it.
const labelOf = (name) => Object.values(STATES).find((state) => state.name === name)?.label || name;
const stateName = (code) => STATES[LETTERS[code]].label || STATES[LETTERS[code]].name;

const calm = matchMedia("(prefers-reduced-motion: reduce)");
let colours = {};

const whole = new Intl.NumberFormat("en");
function count(n) {
  if (n >= 1e9) return (n / 1e9).toFixed(2) + " G";
  if (n >= 1e6) return (n / 1e6).toFixed(2) + " M";
  if (n >= 1e5) return (n / 1e3).toFixed(1) + " k";
  return n < 10 && n % 1 ? n.toFixed(1) : whole.format(Math.round(n));
}
const some = (n, what) => `${whole.format(n)} ${what}${n === 1 ? "" : "s"}`;
function bytes(n) {
  const units = ["B", "KiB", "MiB", "GiB"];
  let unit = 0;
  while (n >= 1024 && unit < 3) { n /= 1024; unit += 1; }
  return `${n < 10 && unit ? n.toFixed(1) : Math.round(n)} ${units[unit]}`;
}
function time(us) {
  if (us >= 1e6) return (us / 1e6).toFixed(2) + " s";
  if (us >= 1e3) return (us / 1e3).toFixed(us < 1e4 ? 2 : us < 1e5 ? 1 : 0) + " ms";
  return (us >= 0.05 && us < 10 ? us.toFixed(1) : us.toFixed(0)) + " µs";
}
// Of a multiple of a round number: without the digits that are zero.
const roundTime = (us) => time(us).replace(/\.(\d*?)0+ /, (_, kept) => kept ? `.${kept} ` : " ");
const percent = (share) => (100 * share).toFixed(share < 0.1 ? 1 : 0) + " %";
function age(us) {
  const s = Math.floor(us / 1e6);
  const two = (n) => String(n).padStart(2, "0");
  return s < 3600 ? `${Math.floor(s / 60)}:${two(s % 60)}`
    : `${Math.floor(s / 3600)}:${two(Math.floor(s / 60) % 60)}:${two(s % 60)}`;
}

// Changes a text only if it differs: a live region speaks whenever its text is set.
function setText(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

// Sizes the canvas to its element in device pixels. Clears it unless `keep` is set and its size is
// the same; says whether it is empty.
function prepare(canvas, height, keep = false) {
  const width = canvas.clientWidth || 1, ratio = devicePixelRatio || 1;
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  const isResized = canvas.width !== w || canvas.height !== h;
  if (isResized) {
    [canvas.width, canvas.height] = [w, h];
    canvas.style.height = height + "px";
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  if (!keep) context.clearRect(0, 0, width, height);
  return { context, width, height, isEmpty: isResized || !keep };
}
