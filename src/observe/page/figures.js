// The figures beside the slab: a number and its last minute.
//
// Shares and rates of work leave out what the server does for observers. Peaks and levels include it: the
// work for an observer makes a turn longer and a deadline later, too. The page says so.
const CURVE_SNAPSHOTS = 600; // one minute at ten snapshots per second
const SNAPSHOTS_PER_DRAWING = 5; // two drawings per second are as many as the eye can follow
const SNAPSHOTS_PER_RATE = 10; // one second: shorter ones would flicker with a --delay of 200 ms

// `of` computes the value from the snapshot and from the rates since the one before. A level is shown
// as it is; a rate is the mean of the last second; of a peak, the highest value since.
const FIGURES = [
  { in: "clients", id: "clients", name: "clients connected", kind: "level", of: (now) => now.clients, show: count },
  { in: "clients", id: "messages", name: "messages per second", of: (now, rate) => rate("messages"), show: count },
  { in: "clients", id: "traffic", name: "traffic per second", of: (now, rate) => rate("bytes_in") + rate("bytes_out"), show: bytes },
  { in: "clients", id: "datagrams", name: "datagrams per second", of: (now, rate) => rate("datagrams"), show: count },
  { in: "clients", id: "buffered", name: "buffered bytes", kind: "level", of: (now) => now.buffered, show: bytes },
  { in: "clients", id: "refused", name: "refused, total", kind: "level", of: (now) => now.refused, show: count },
  { in: "clients", id: "reset", name: "reset, total", kind: "level", of: (now) => now.reset, show: count },
  { in: "clients", id: "timed-out", name: "timed out, total", kind: "level", of: (now) => now.timed_out, show: count },
  { in: "loop", id: "busy", name: "busy (not waiting)", of: (now, rate) => (rate("busy") - rate("observing")) / 1e6, show: (share) => percent(Math.max(0, share)) },
  { in: "loop", id: "longest", name: "longest turn", kind: "peak", of: (now) => now.longest, show: time },
  { in: "loop", id: "late", name: "deadline lateness, max", kind: "peak", of: (now) => now.late, show: time },
  { in: "loop", id: "queue-wait", name: "ready list, longest wait", kind: "peak", of: (now) => now.queue_wait, show: time },
  { in: "loop", id: "ready", name: "ready list, sources now", kind: "level", of: (now) => now.ready, show: count },
  { in: "loop", id: "timers", name: "deadlines set", kind: "level", of: (now) => now.timers, show: count },
  { in: "loop", id: "turns", name: "busy turns per second", of: (now, rate) => rate("turns") * shareOfWork(now), show: count },
  { in: "loop", id: "batch", name: "events per turn", of: (now, rate) => rate("turns") ? rate("events") / rate("turns") : 0, show: count },
];

// The share of the last turns in which other sources than observers had work.
function shareOfWork(now) {
  const worked = now.lanes.reduce((sum, lane) => sum + (lane[6] ? 1 : 0), 0);
  return now.lanes.length ? worked / now.lanes.length : 0;
}

let undrawn = 0; // snapshots since the figures were drawn

function makeFigures() {
  for (const figure of FIGURES) {
    const box = document.createElement("div"), name = document.createElement("span");
    box.className = "figure";
    name.textContent = figure.name;
    figure.value = document.createElement("strong");
    figure.value.id = "figure-" + figure.id;
    figure.value.textContent = "–";
    figure.canvas = document.createElement("canvas");
    figure.canvas.setAttribute("aria-hidden", "true");
    figure.values = [];
    box.append(name, figure.value, figure.canvas);
    $("figures-" + figure.in).append(box);
  }
}

function forgetFigures() {
  undrawn = 0;
  for (const figure of FIGURES) figure.values = [];
}

function updateFigures(now, last, isLast) {
  const seconds = last ? (now.at - last.at) / 1e6 : 0;
  const rate = (key) => seconds > 0 ? Math.max(0, (now[key] - last[key]) / seconds) : 0;
  for (const figure of FIGURES) {
    figure.values.push(figure.of(now, rate) || 0);
    if (figure.values.length > CURVE_SNAPSHOTS) figure.values.shift();
  }
  if (undrawn++ % SNAPSHOTS_PER_DRAWING && !isLast) return;
  for (const figure of FIGURES) {
    const recent = figure.values.slice(-SNAPSHOTS_PER_DRAWING);
    const value = figure.kind === "level" ? recent[recent.length - 1]
      : figure.kind === "peak" ? Math.max(...recent)
        : meanOf(figure.values.slice(-SNAPSHOTS_PER_RATE));
    setText(figure.value, figure.show(value));
    drawCurve(figure);
  }
}

const meanOf = (values) => values.reduce((sum, one) => sum + one, 0) / values.length;

function drawCurve(figure) {
  const { context, width, height } = prepare(figure.canvas, 24);
  const top = figure.values.reduce((most, one) => Math.max(most, one), 1e-9);
  // A short curve is stretched, so that there is something to see from the start.
  const span = Math.max(CURVE_SNAPSHOTS / 6, figure.values.length) - 1;
  const x = (i) => width - (figure.values.length - 1 - i) * width / span;
  const y = (value) => height - 1.5 - value / top * (height - 4);
  context.beginPath();
  figure.values.forEach((value, i) => context.lineTo(x(i), y(value)));
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
