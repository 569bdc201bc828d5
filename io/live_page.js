// SPDX-License-Identifier: MIT
// The live page: server-sent events in, canvases out. Text from the network is only ever set as text.
"use strict";
(() => {
const MOST = 10000, ROOM = 64, KERNELS = ["a", "b", "c", "d"], COLOURS = ["--kA", "--kB", "--kC", "--kD"];
const WORDS = {degraded_inference_mode: "degraded", emergency_mode: "emergency", jko_suspended: "weights held",
  kernel_d_frozen: "kernel D frozen", mode_collapse_warning: "mode collapse", regime_change_detected: "regime change"};
const SEVERITY = {emergency_mode: "--bad", degraded_inference_mode: "--warn", regime_change_detected: "--warn",
  mode_collapse_warning: "--warn"};
const CHARTS = [
  {id: "level", name: "Forecast and actual", height: 220, draw: drawLevel,
    keys: [["actual", "--actual"], ["forecast", "--fore"], ["95 % interval", "--band"], ["refused", "--bad"],
      ["configuration epoch", "--good"]]},
  {id: "error", name: "Error", height: 100, draw: drawError},
  {id: "weights", name: "Weights", height: 100, draw: drawWeights,
    keys: KERNELS.map((name, i) => [name.toUpperCase(), COLOURS[i]])},
  {id: "flags", name: "Flags", height: 84, draw: drawFlags},
  {id: "free_energy", name: "Free energy", height: 90, draw: drawOne, small: true},
  {id: "holder_exponent", name: "Hölder exponent", height: 90, draw: drawOne, small: true},
  {id: "kurtosis", name: "Kurtosis", height: 90, draw: drawOne, small: true},
  {id: "dgm_entropy", name: "Entropy of kernel B", height: 90, draw: drawOne, small: true},
  {id: "latency_ms", name: "Latency, ms", height: 90, draw: drawOne, small: true},
];
const $ = id => document.getElementById(id);
let overview = null, at = {}, symbol = null, run = 0, rows = [], last = 0, source = null, paused = false, dirty = true;
let cursor = null, colours = {}, view = [];

function element(name, text, css) {
  const made = document.createElement(name);
  if (text !== undefined) made.textContent = text;
  if (css) made.className = css;
  return made;
}
function shown(value, digits = 6) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  const text = size && (size < 1e-4 || size >= 1e9) ? value.toExponential(2)
    : value.toLocaleString("en", {maximumSignificantDigits: digits});
  return text.replace("-", "−");
}
const clock = ms => new Date(ms).toISOString().slice(11, 19);
const day = ms => new Date(ms).toISOString().replace("T", " ").slice(0, 19);
const words = name => WORDS[name] || name.replaceAll("_", " ");

function readColours() {
  const style = getComputedStyle(document.documentElement);
  for (const name of ["--ink", "--dim", "--grid", "--line", "--card", "--actual", "--fore", "--band", "--err", "--warn",
    "--bad", "--info", "--good", ...COLOURS]) colours[name] = style.getPropertyValue(name).trim();
}

// Charts -------------------------------------------------------------------------------------------------------------

function makeCharts() {
  const plots = $("plots");
  const minor = element("div", undefined, "minor");
  for (const chart of CHARTS) {
    const box = element("div");
    const head = element("div", undefined, "name");
    head.append(element("b", chart.name));
    const keys = element("span");
    chart.legend = (chart.keys || []).map(([text, colour]) => {
      const key = element("span", text, colour === "--band" || chart.id === "weights" ? "key area" : "key");
      key.style.setProperty("--c", `var(${colour})`);
      return key;
    });
    keys.append(...chart.legend);
    chart.value = element("span", "", "value");
    keys.append(chart.value);
    head.append(keys);
    chart.canvas = element("canvas");
    chart.canvas.tabIndex = 0;
    chart.canvas.setAttribute("role", "img");
    chart.canvas.style.height = `${chart.height}px`;
    chart.canvas.addEventListener("keydown", onKey);
    chart.canvas.addEventListener("pointermove", event => point(chart, event));
    chart.canvas.addEventListener("pointerleave", () => { cursor = null; dirty = true; });
    chart.canvas.addEventListener("blur", () => { cursor = null; dirty = true; });
    box.append(head, chart.canvas);
    (chart.small ? minor : plots).append(box);
  }
  plots.append(minor);
}
function onKey(event) {
  const moves = {ArrowLeft: -1, ArrowRight: 1, PageUp: -50, PageDown: 50, Home: -MOST, End: MOST};
  if (event.key === "Escape") cursor = null;
  else if (event.key in moves && view.length) {
    const from = cursor === null ? view.length - 1 : cursor;
    cursor = Math.max(0, Math.min(view.length - 1, from + moves[event.key]));
  } else return;
  event.preventDefault();
  dirty = true;
}
function point(chart, event) {
  const box = chart.canvas.getBoundingClientRect();
  const share = (event.clientX - box.left) / (box.width - ROOM);
  cursor = view.length ? Math.max(0, Math.min(view.length - 1, Math.round(share * view.length))) : null;
  dirty = true;
}
// Forecast columns stand one place later: the forecast of row n is for row n + 1.
const ahead = name => i => i > 0 && view[i - 1] ? view[i - 1][at[name]] : null;
const column = name => i => i < view.length ? view[i][at[name]] : null;
const accepted = i => i < view.length && view[i][at.accepted] ? view[i][at.value] : null;

function extent(getters, count, trim) {
  const numbers = [];
  for (const get of getters) for (let i = 0; i < count; i++) { const v = get(i); if (v !== null) numbers.push(v); }
  if (!numbers.length) return null;
  numbers.sort((a, b) => a - b);
  const cut = trim ? Math.floor(numbers.length * 0.01) : 0;
  return [numbers[cut], numbers[numbers.length - 1 - cut]];
}
function scaleOf(range) {
  let [low, high] = range || [0, 1];
  const spread = Math.max(high - low, Math.abs(high) * 1e-9, 1e-9);
  if (high === low) { low -= Math.abs(high) / 100 || 1; high += Math.abs(high) / 100 || 1; }
  return [low - 0.08 * spread, high + 0.08 * spread];
}
function begin(chart, scale) {
  const ratio = window.devicePixelRatio || 1, {canvas, height} = chart, wide = canvas.clientWidth;
  if (canvas.width !== Math.round(wide * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(wide * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, wide, height);
  const width = wide - ROOM, places = Math.max(1, view.length);
  const area = {g, width, height, ratio, scale, columns: Math.max(1, Math.floor(width * ratio)),
    x: place => width * place / places, y: v => height * (1 - Math.max(-0.5, Math.min(1.5,
      (v - scale[0]) / (scale[1] - scale[0]))))};
  grid(area);
  return area;
}
function grid({g, width, height, scale, y}) {
  const rough = (scale[1] - scale[0]) / Math.max(3, height / 45), power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 2.5, 5, 10].map(f => f * power).find(s => s >= rough) || 10 * power;
  g.font = "11px system-ui,sans-serif";
  g.textBaseline = "middle";
  g.lineWidth = 1;
  const digits = Math.max(0, Math.min(8, 1 - Math.floor(Math.log10(step))));
  for (let v = Math.ceil(scale[0] / step) * step, n = 0; v <= scale[1] && n < 12; v += step, n++) {
    const py = Math.round(y(v)) + 0.5;
    g.strokeStyle = colours["--grid"];
    g.beginPath(); g.moveTo(0, py); g.lineTo(width, py); g.stroke();
    g.fillStyle = colours["--dim"];
    const value = Math.abs(v) < step / 2 ? 0 : v, far = value && (Math.abs(value) >= 1e7 || step < 1e-4);
    const text = (far ? value.toExponential(1) : value.toLocaleString("en", {maximumFractionDigits: digits}))
      .replace("-", "−");
    g.fillText(text, width + 6, Math.max(7, Math.min(height - 7, py)), ROOM - 8);
  }
}
// Calls `take(x, first, lowest, highest, last)` for every pixel column that has a number, `gap` where there is none.
function perPixel(area, get, count, take, gap) {
  const size = count / area.columns;
  if (size <= 1) {
    for (let i = 0; i < count; i++) { const v = get(i); if (v === null) gap(); else take(area.x(i), v, v, v, v); }
    return;
  }
  for (let c = 0; c < area.columns; c++) {
    let first = null, low = Infinity, high = -Infinity, end = null;
    for (let i = Math.floor(c * size); i < Math.floor((c + 1) * size); i++) {
      const v = get(i);
      if (v === null) continue;
      if (first === null) first = v;
      if (v < low) low = v;
      if (v > high) high = v;
      end = v;
    }
    if (first === null) gap(); else take(area.x(c * size), first, low, high, end);
  }
}
function line(area, get, count, colour, dash) {
  const {g, y} = area;
  let open = false;
  g.beginPath();
  perPixel(area, get, count, (x, first, low, high, end) => {
    if (open) g.lineTo(x, y(first)); else { g.moveTo(x, y(first)); g.lineTo(x, y(first) + 0.01); }
    if (low !== high) { g.lineTo(x, y(low)); g.lineTo(x, y(high)); g.lineTo(x, y(end)); }
    open = true;
  }, () => { open = false; });
  g.strokeStyle = colours[colour];
  g.lineWidth = 1.5;
  g.setLineDash(dash || []);
  g.stroke();
  g.setLineDash([]);
}
function band(area, low, high, count, colour) {
  const {g, y} = area;
  let lows = [], highs = [];
  const upper = [], lower = [];
  perPixel(area, low, count, (x, f, v) => lows.push([x, v]), () => lows.push(null));
  perPixel(area, high, count, (x, f, l, v) => highs.push([x, v]), () => highs.push(null));
  const fill = () => {
    if (!upper.length) return;
    g.beginPath();
    upper.forEach(([x, v], i) => (i ? g.lineTo(x, y(v)) : g.moveTo(x, y(v))));
    lower.reverse().forEach(([x, v]) => g.lineTo(x, y(v)));
    g.closePath();
    g.fill();
    upper.length = lower.length = 0;
  };
  g.fillStyle = colours[colour];
  lows.forEach((point, i) => {
    if (point && highs[i]) { upper.push(highs[i]); lower.push(point); } else fill();
  });
  fill();
}
function epochs(area) {
  const {g, x, height} = area;
  g.fillStyle = colours["--good"];
  let before = null;
  view.forEach((row, i) => {
    const epoch = row[at.epoch];
    if (before !== null && epoch !== before) {
      g.fillRect(Math.round(x(i)), 0, 1.5, height);
      g.fillText(`epoch ${epoch}`, x(i) + 4, 9, 70);
    }
    before = epoch;
  });
}
function mark(area) {
  if (cursor === null) return;
  area.g.fillStyle = colours["--dim"];
  area.g.fillRect(Math.round(area.x(cursor)), 0, 1, area.height);
}
function drawLevel(chart) {
  const n = view.length, range = extent([accepted], n) || extent([ahead("mean")], n + 1);
  const wide = extent([ahead("lo"), ahead("hi")], n + 1, true);
  const both = range && wide ? [Math.min(range[0], wide[0]), Math.max(range[1], wide[1])] : range || wide;
  const area = begin(chart, scaleOf(both)), {g, x, y} = area;
  band(area, ahead("lo"), ahead("hi"), n + 1, "--band");
  line(area, accepted, n, "--actual");
  line(area, ahead("mean"), n + 1, "--fore", [3, 3]);
  g.fillStyle = colours["--bad"];
  view.forEach((row, i) => {
    if (row[at.accepted] || row[at.value] === null) return;
    g.beginPath();
    g.arc(x(i), Math.max(5, Math.min(area.height - 5, y(row[at.value]))), 3.5, 0, 7);
    g.fill();
  });
  if (n) {
    g.fillStyle = colours["--fore"];
    g.beginPath(); g.arc(x(n), y(view[n - 1][at.mean]), 3.5, 0, 7); g.fill();
  }
  epochs(area);
  mark(area);
}
function drawError(chart) {
  const get = i => view[i][at.accepted] ? view[i][at.error] : null;
  const range = extent([get], view.length, true), most = range ? Math.max(Math.abs(range[0]), Math.abs(range[1])) : 1;
  const area = begin(chart, scaleOf([-most, most])), {g, y} = area, zero = y(0);
  g.fillStyle = colours["--err"];
  const wide = Math.max(1 / area.ratio, Math.min(3, area.width / Math.max(1, view.length) - 1));
  perPixel(area, get, view.length, (x, f, low, high) => {
    const top = Math.min(zero, y(Math.max(0, high))), bottom = Math.max(zero, y(Math.min(0, low)));
    g.fillRect(x, top, wide, Math.max(0.5, bottom - top));
  }, () => {});
  let sum = 0, count = 0;
  for (let i = 0; i < view.length; i++) { const e = get(i); if (e !== null) { sum += e * e; count++; } }
  chart.value.textContent = count ? `RMSE ${shown(Math.sqrt(sum / count), 4)}` : "";
  epochs(area);
  mark(area);
}
function drawWeights(chart) {
  const area = begin(chart, [0, 1]), {g, height} = area, n = view.length;
  const steps = Math.min(n, area.columns), size = n / Math.max(1, steps), tops = [];
  for (let c = 0; c < steps; c++) {
    const sums = [0, 0, 0, 0];
    let count = 0;
    for (let i = Math.floor(c * size); i < Math.floor((c + 1) * size); i++) {
      const row = view[i];
      if (row[at.a] === null) continue;
      KERNELS.forEach((name, k) => { sums[k] += Math.max(0, row[at[name]]); });
      count++;
    }
    const total = sums[0] + sums[1] + sums[2] + sums[3];
    tops.push(count && total ? sums.map(s => s / total) : null);
  }
  const left = c => Math.floor(area.x(c * size) * area.ratio) / area.ratio;
  tops.forEach((shares, c) => {
    if (!shares) return;
    let top = 0;
    shares.forEach((share, k) => {
      g.fillStyle = colours[COLOURS[k]];
      g.fillRect(left(c), top * height, left(c + 1) - left(c), share * height);
      top += share;
    });
  });
  const newest = n ? view[n - 1] : null;
  chart.legend.forEach((key, k) => {
    const share = newest ? ` ${Math.round(100 * newest[at[KERNELS[k]]])} %` : "";
    key.textContent = KERNELS[k].toUpperCase() + share;
  });
  mark(area);
}
function drawFlags(chart) {
  const names = overview ? overview.flags : [], area = begin(chart, [0, 1]), {g, width, height} = area;
  g.clearRect(0, 0, width + ROOM, height);
  const each = height / Math.max(1, names.length), told = [];
  names.forEach((name, place) => {
    g.fillStyle = colours["--grid"];
    g.fillRect(0, place * each, width, each - 3);
    g.fillStyle = colours[SEVERITY[name] || "--info"];
    const up = i => view[i][at.flags] >> place & 1 ? 1 : null, step = area.width / Math.max(1, view.length);
    let count = 0;
    for (let i = 0; i < view.length; i++) count += up(i) || 0;
    perPixel(area, up, view.length, x => g.fillRect(x, place * each, Math.max(2, step + 0.3), each - 3), () => {});
    g.fillStyle = colours["--dim"];
    g.fillText(words(name), width + 4, place * each + each / 2 - 1, ROOM - 6);
    if (count) told.push(`${words(name)} ${count}`);
  });
  chart.value.textContent = told.join(" · ") || "all clear";
  mark(area);
}
function drawOne(chart) {
  const get = column(chart.id), area = begin(chart, scaleOf(extent([get], view.length, true)));
  line(area, get, view.length, "--kB");
  chart.value.textContent = view.length ? shown(get(view.length - 1), 4) : "";
  mark(area);
}
function readout() {
  const row = cursor === null ? null : view[cursor];
  if (!row) { $("readout").textContent = view.length ? `${day(view[0][at.time_ms])} to ${day(view[view.length - 1]
    [at.time_ms])} · ${view.length.toLocaleString("en")} points` : ""; return; }
  const before = cursor ? view[cursor - 1] : null;
  const flags = overview.flags.filter((name, place) => row[at.flags] >> place & 1).map(words);
  $("readout").textContent = [`${day(row[at.time_ms])}`, `actual ${shown(row[at.value], 8)}`,
    before ? `forecast ${shown(before[at.mean], 8)} (${shown(before[at.lo], 8)} to ${shown(before[at.hi], 8)})` : "",
    `error ${shown(row[at.error], 4)}`, `next ${shown(row[at.mean], 8)}`,
    KERNELS.map(k => `${k.toUpperCase()} ${Math.round(100 * row[at[k]])} %`).join(" "),
    `epoch ${row[at.epoch]}`, row[at.accepted] ? "" : "refused as outlier", ...flags].filter(Boolean).join(" · ");
}
function draw() {
  if (dirty && overview) {
    dirty = false;
    view = rows.slice(-Number($("span").value));
    for (const chart of CHARTS) {
      chart.draw(chart);
      chart.canvas.setAttribute("aria-label", `${chart.name} of ${symbol}, newest ${view.length} points. ` +
        (chart.id === "weights" ? chart.legend.map(key => key.textContent).join(", ") : chart.value.textContent));
    }
    readout();
  }
  requestAnimationFrame(draw);
}

// Words around the charts --------------------------------------------------------------------------------------------

function tiles(totals) {
  const cells = [[totals.predictions.toLocaleString("en"), "Predictions read"], [shown(totals.rate, 4), "Per second"],
    [totals.rejected.toLocaleString("en"), "Rejected"], [totals.outliers.toLocaleString("en"), "Outliers held back"],
    [`${shown(totals.latency_p50_ms, 3)} ms`, "Latency, median"], [`${shown(totals.latency_p99_ms, 3)} ms`,
      "Latency, p99"]];
  $("tiles").replaceChildren(...cells.map(([value, name]) => {
    const tile = element("div", undefined, "tile");
    tile.append(element("b", value), element("span", name));
    return tile;
  }));
}
function table(symbols) {
  const body = $("symbols");
  symbols.forEach((each, place) => {
    let row = body.rows[place];
    if (!row) {
      row = body.insertRow();
      for (let i = 0; i < 8; i++) row.insertCell();
      const button = element("button");
      button.type = "button";
      button.addEventListener("click", () => choose(button.textContent));
      row.cells[0].append(button);
    }
    row.setAttribute("aria-selected", String(each.name === symbol));
    const button = row.cells[0].firstChild;
    if (button.textContent !== each.name) button.textContent = each.name;
    button.setAttribute("aria-pressed", String(each.name === symbol));
    const chips = each.flags.length ? each.flags.map(flag => element("span", words(flag),
      `chip ${(SEVERITY[flag] || "--info").slice(2)}`)) : [element("span", "clear", "chip good")];
    row.cells[1].replaceChildren(...chips);
    [shown(each.value, 8), shown(each.mean, 8), `${shown(each.lo, 8)} … ${shown(each.hi, 8)}`,
      each.weights.map(w => Math.round(100 * w)).join(" "), shown(each.relative_rmse, 4),
      each.coverage === null ? "–" : `${(100 * each.coverage).toFixed(1)} %`]
      .forEach((text, i) => { row.cells[i + 2].textContent = text; });
  });
  while (body.rows.length > symbols.length) body.deleteRow(-1);
}
function bars(counts) {
  const list = Object.entries(counts), most = Math.max(1, ...list.map(([, count]) => count));
  $("rejected").replaceChildren(...(list.length ? list : [["none", 0]]).flatMap(([name, count]) => {
    const bar = element("div", undefined, "bar"), cell = element("dd");
    bar.style.width = `${100 * count / most}%`;
    cell.append(bar);
    return [element("dt", words(name)), cell, element("dd", count.toLocaleString("en"))];
  }));
}
function list(id, items, empty) {
  $(id).replaceChildren(...(items.length ? items : [[empty]]).map(([strong, ...others]) => {
    const item = element("li");
    item.append(element("b", strong), ...others.map(text => element("span", text)));
    return item;
  }));
}
function show() {
  at = Object.fromEntries(overview.columns.map((name, i) => [name, i]));
  tiles(overview.totals);
  table(overview.symbols);
  bars(overview.rejected);
  list("alerts", overview.alerts.slice().reverse().map(a => [a.event, a.severity, a.symbol || a.stage, clock(a.time_ms),
    Object.entries(a.detail).map(([k, v]) => `${k} ${v}`).join(", ").slice(0, 160)]), "none");
  list("epochs", overview.epochs.slice().reverse().map(e => [`epoch ${e.epoch}`, e.rollback ? "rollback" : "",
    day(e.time_ms)]), "none since this page was opened");
  $("hidden").hidden = !overview.hidden;
  $("hidden").textContent = `${overview.hidden} more symbols are not drawn.`;
  if (symbol === null && overview.symbols.length) choose(overview.symbols[0].name);
}

// The stream ---------------------------------------------------------------------------------------------------------

function state(text, css) { $("state").textContent = text; $("state").className = `chip ${css}`; }
function choose(name) {
  symbol = name;
  $("title").textContent = name;
  open();
}
function open() {
  if (source) source.close();
  rows = [];
  run = last = 0;
  dirty = true;
  source = new EventSource(`events?symbol=${encodeURIComponent(symbol || "")}`);
  source.onopen = () => state(paused ? "paused" : "live", paused ? "warn" : "good");
  source.onerror = () => state("reconnecting", "bad");
  source.addEventListener("overview", event => {
    if (paused) return;
    overview = JSON.parse(event.data);
    show();
  });
  source.addEventListener("rows", event => {
    const news = JSON.parse(event.data);
    if (news.symbol !== (symbol || "")) return;
    if (news.run !== run || news.first > last) rows = [];
    run = news.run;
    last = news.first + news.rows.length;
    rows.push(...news.rows);
    if (rows.length > MOST) rows = rows.slice(-MOST);
    if (!paused) dirty = true;
  });
}
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  state(paused ? "paused" : "live", paused ? "warn" : "good");
  dirty = !paused;
});
$("span").addEventListener("change", () => { dirty = true; });
window.addEventListener("resize", () => { dirty = true; });
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { readColours(); dirty = true; });
$("heads").append((() => {
  const row = element("tr");
  for (const name of ["Symbol", "State", "Last", "Next", "95 % interval", "Weights A–D, %", "RMSE ratio",
    "Inside 95 %"]) {
    const head = element("th", name);
    head.scope = "col";
    row.append(head);
  }
  return row;
})());
readColours();
makeCharts();
open();
requestAnimationFrame(draw);
})();
