"use strict";
// Draws the charts of the page from the JSON in #data. Text goes into the page as text, never as
// markup: names of files and objectives come from outside.

const data = JSON.parse(document.getElementById("data").textContent);
const several = data.runs.length > 1;
const LETTERS = "ABCDEFGH";
const HEIGHT_PX = 240;
// The same for all charts, so that the same second is at the same place in each: "100,000", "12.5 ms".
const AXIS_PX = 62;
// An objective that is so many times the largest figure is not drawn: it would flatten the chart.
const FAR = 4;
const charts = [];

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Three significant digits, as in the text.
function digits(value) {
  return value.toFixed(value >= 100 || value === Math.trunc(value) ? 0 : value >= 10 ? 1 : 2);
}

function time(us) {
  if (us === null || us === undefined) return "n/a";
  if (us === 0) return "0";
  if (us < 1) return digits(us * 1e3) + " ns";
  if (us < 1e3) return digits(us) + " µs";
  if (us < 1e6) return digits(us / 1e3) + " ms";
  return digits(us / 1e6) + " s";
}

// The same for the labels of an axis, which are round.
function round(us) {
  if (us === 0) return "0";
  const [factor, unit] = us < 1 ? [1e3, "ns"] : us < 1e3 ? [1, "µs"] : us < 1e6 ? [1e-3, "ms"] : [1e-6, "s"];
  return +(us * factor).toPrecision(4) + " " + unit;
}

const compact = (value) => value >= 1e6 ? value.toLocaleString("en", { notation: "compact" }) : value.toLocaleString("en");
const whole = (value) => value === null || value === undefined ? "n/a" : Math.round(value).toLocaleString("en");
const share = (value) => value === null || value === undefined ? "n/a" : Math.round(value * 100) + "%";
const seconds = (value) => (Math.round(value * 10) / 10) + " s";

// 1/(1 - quantile) as a percentile: 100 is p99.
function percentile(inverse) {
  if (inverse <= 1) return "min";
  const percent = 100 - 100 / inverse;
  const decimals = Math.max(0, Math.ceil(Math.log10(inverse) - 1e-9) - 2);
  return "p" + +percent.toFixed(decimals + (Number.isInteger(Math.log10(inverse)) ? 0 : 1));
}

// A series is one figure of one run. With one run, figures have colours of their own; with several,
// runs have, and figures differ in their dashes.
const DASHES = [[], [7, 4], [2, 3]];

function figure(key, name) {
  return { key, name };
}

function seriesOf(figures) {
  const list = [];
  data.runs.forEach((run, number) => figures.forEach(({ key, name }, index) => {
    const values = run[key];
    if (values.every((value) => value === null)) return;
    list.push({
      run: number,
      values,
      label: (several ? LETTERS[number] + " " : "") + name,
      colour: several ? number : index,
      dash: several ? DASHES[index] : [],
    });
  }));
  return list;
}

function limitsOf(metrics) {
  const lines = data.limits.filter((line) => metrics.includes(line.metric) || metrics.includes("p") && /^p[0-9]/.test(line.metric));
  return lines.map((line) => ({ label: line.slo, value: line.limit, metric: line.metric }));
}

// A piece of a line with this colour and these dashes.
function swatch(colour, dash) {
  const line = document.createElement("i");
  line.style.borderTopColor = "var(" + colour + ")";
  line.style.borderTopStyle = dash.length === 0 ? "solid" : dash[0] > 4 ? "dashed" : "dotted";
  return line;
}

function legend(id, list, limits) {
  const parent = document.querySelector("#" + id + " .legend");
  const entry = (label, colour, dash) => {
    const item = document.createElement("li");
    item.append(swatch(colour, dash), label);
    parent.append(item);
  };
  for (const one of list) entry(one.label, "--series-" + one.colour, one.dash);
  for (const limit of limits) entry((limit.requested ? "" : "objective ") + limit.label + (limit.far ? " (above the chart)" : ""), "--limit", [7, 4]);
}

// The part before the measured window is grey.
function shadeWarmup(chart) {
  const begin = chart.valToPos(0, "x", true);
  const { left, top, width, height } = chart.bbox;
  const right = Math.min(Math.max(begin, left), left + width);
  if (right <= left) return;
  chart.ctx.save();
  chart.ctx.fillStyle = style("--warm");
  chart.ctx.fillRect(left, top, right - left, height);
  chart.ctx.restore();
}

function drawLimits(chart, limits) {
  const { left, top, width, height } = chart.bbox;
  const context = chart.ctx;
  context.save();
  context.strokeStyle = context.fillStyle = style("--limit");
  context.lineWidth = 1.5 * devicePixelRatio;
  context.setLineDash([7 * devicePixelRatio, 4 * devicePixelRatio]);
  context.font = 11 * devicePixelRatio + "px system-ui, sans-serif";
  context.textAlign = "right";
  context.textBaseline = "bottom";
  for (const limit of limits) {
    const y = chart.valToPos(limit.value, "y", true);
    if (!(y >= top && y <= top + height)) continue;
    context.beginPath();
    context.moveTo(left, y);
    context.lineTo(left + width, y);
    context.stroke();
    context.fillText(limit.label, left + width - 6 * devicePixelRatio, y - 2 * devicePixelRatio);
  }
  context.restore();
}

const SAME_S = 0.5; // runs whose last points are no further apart end together

// A box with the values at the crosshair, beside it.
function tooltip(list, format, title) {
  const box = document.createElement("div");
  box.className = "tip";
  box.hidden = true;
  return {
    hooks: {
      init: (chart) => chart.over.append(box),
      setCursor: (chart) => {
        const { idx, left } = chart.cursor;
        box.hidden = idx === null || idx === undefined || left < 0;
        if (box.hidden) return;
        const head = document.createElement("b");
        head.textContent = title(chart.data[0][idx]);
        box.replaceChildren(head);
        list.forEach((one, index) => {
          const value = nearest(chart.data[0], chart.data[index + 1], idx);
          if (value === undefined) return;
          const line = document.createElement("div");
          line.append(swatch("--series-" + one.colour, one.dash), one.label + " " + format(value));
          box.append(line);
        });
        const room = chart.over.clientWidth;
        const beside = left + 12 + box.offsetWidth <= room ? left + 12 : left - 12 - box.offsetWidth;
        // On a phone it may be wider than the chart without its axis.
        box.style.left = Math.max(-chart.over.offsetLeft, Math.min(beside, room - box.offsetWidth)) + "px";
        box.style.top = "4px";
      },
    },
  };
}

// Runs do not end their seconds at the same times: the value at the crosshair is the last one. A run that
// ended before the crosshair has none.
function nearest(at, values, index) {
  let last = values.length - 1;
  while (last >= 0 && values[last] === undefined) last -= 1;
  if (last < 0 || at[index] > at[last] + SAME_S) return undefined;
  while (index >= 0 && values[index] === undefined) index -= 1;
  return values[index];
}

function axis(label, format, extra) {
  return Object.assign({
    label,
    labelSize: 20,
    labelFont: "12px system-ui, sans-serif",
    font: "11px system-ui, sans-serif",
    stroke: () => style("--axis"),
    grid: { stroke: () => style("--grid"), width: 1 },
    ticks: { stroke: () => style("--grid"), width: 1 },
    values: (chart, splits) => splits.map((value) => value === null ? "" : format(value)),
  }, extra);
}

function make(id, { list, limits, table, x, y, format, tick, title, sync, scale }) {
  const parent = document.querySelector("#" + id + " .chart");
  if (list.length === 0 || table[0].length === 0) {
    parent.textContent = "No figures: " + (id === "percentiles" ? "too few samples." : "the run was too short, or they are unknown.");
    parent.style.minHeight = "0";
    return;
  }
  const largest = list.reduce((most, one) => one.values.reduce((max, value) => Math.max(max, value), most), 0);
  for (const limit of limits) limit.far = limit.value > FAR * largest;
  legend(id, list, limits);
  const size = () => ({ width: Math.max(parent.clientWidth, 200), height: HEIGHT_PX });
  const highest = limits.reduce((max, limit) => limit.far ? max : Math.max(max, limit.value), 0);
  const chart = new uPlot({
    ...size(),
    legend: { show: false },
    padding: [10, 12, 0, 0],
    scales: {
      x: Object.assign({ time: false }, scale),
      // From 0, so that a small change looks small; high enough for the objectives.
      y: { range: (self, min, max) => [0, Math.max(max ?? 0, highest, 1e-3) * 1.08] },
    },
    axes: [
      axis(x, title, sync ? { size: 32 } : { size: 32,  splits: (self, index, min, max) => decades(min, max), filter: (self, splits) => splits }),
      axis(y, tick ?? format, { size: AXIS_PX }),
    ],
    series: [{}, ...list.map((one) => ({
      label: one.label,
      stroke: () => style("--series-" + one.colour),
      width: 2,
      dash: one.dash,
      points: { show: table[0].length < 60 && one.dash.length === 0, size: 5 },
    }))],
    cursor: {
      sync: sync ? { key: "time", scales: ["x", null] } : undefined,
      points: { size: 7 },
      y: false,
    },
    hooks: {
      drawAxes: sync ? [shadeWarmup] : [],
      draw: [(self) => drawLimits(self, limits)],
    },
    plugins: [tooltip(list, format, title)],
  }, table, parent);
  chart.id = id;
  charts.push(chart);
  new ResizeObserver(() => {
    if (parent.clientWidth !== chart.width) chart.setSize(size());
  }).observe(parent);
}

function decades(min, max) {
  const splits = [];
  for (let value = 1; value <= max * 1.001; value *= 10) {
    if (value >= min * .999) splits.push(value);
  }
  if (splits.length < 3) splits.splice(1, 0, 2, 4);
  return splits.filter((value) => value >= min * .999 && value <= max * 1.001);
}

function overTime(id, figures, limits, y, format, tick) {
  const list = seriesOf(figures);
  const tables = list.map((one) => [data.runs[one.run].at, one.values]);
  const table = tables.length === 0 ? [[]] : uPlot.join(tables);
  const title = (value) => seconds(value);
  // A point is at the end of its second: the first second begins when the run does.
  const begin = Math.min(...data.runs.map((run) => run.begin));
  const range = (self, min, max) => min === table[0][0] ? [Math.min(begin, min), max] : [min, max];
  make(id, { list, limits, table, x: "time in the measured window", y, format, tick, title, sync: true, scale: { range } });
}

function byPercentile() {
  const list = [];
  data.runs.forEach((run, number) => {
    if (run.curve.length > 1) {
      list.push({ run: number, values: run.curve.map((point) => point[1]), label: several ? LETTERS[number] : "latency", colour: number, dash: [] });
    }
  });
  const tables = list.map((one) => {
    const { curve } = data.runs[one.run];
    return [curve.map((point) => point[0]), one.values];
  });
  const table = tables.length === 0 ? [[]] : uPlot.join(tables);
  const limits = limitsOf(["p", "max", "min", "mean"]);
  make("percentiles", {
    list, limits, table, x: "percentile", y: "latency", format: time, tick: round, title: percentile, sync: false,
    scale: { distr: 3, log: 10, range: (self, min, max) => [1, Math.max(max, 10)] },
  });
}

byPercentile();
const requested = several ? [] : data.runs.filter((run) => run.requested_per_second !== null)
  .map((run) => ({ label: "requested: " + whole(run.requested_per_second), value: run.requested_per_second, requested: true }));
overTime("rate", [figure("per_second", "messages per second")], [...limitsOf(["rate"]), ...requested], "messages per second", whole, compact);
overTime("latency", [figure("p50_us", "p50"), figure("p99_us", "p99"), figure("p99_9_us", "p99.9")], limitsOf(["p"]), "latency", time, round);
overTime("clients", [figure("connected", "clients")], [], "clients", whole, compact);
overTime("cpu", [figure("server_cpu_share", "server"), figure("load_cpu_share", "load generator")], [], "CPU", share);
overTime("lag", [figure("loop_lag_mean_us", "mean"), figure("loop_lag_max_us", "maximum")], [], "lag", time, round);

// Colours are read from the style when a chart is drawn.
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  for (const chart of charts) chart.redraw(false, true);
});
