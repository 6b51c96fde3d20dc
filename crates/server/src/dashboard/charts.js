// Figures as drawings. Each is a function from figures and a width in pixels to SVG; none keeps anything.

import { plain, s, short } from "./dom.js";
import { bucketTime, count } from "./number.js";

const LETTER = 7.2;
const ISOLATE = ["\u2068", "\u2069"];

// A label with its own direction, cut to so many pixels.
function label(text, width) {
  return ISOLATE.join(short(text, Math.floor(width / LETTER)));
}

function drawing(width, height, says, ...children) {
  return s("svg", { width, height, viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": says }, children);
}

function text(x, y, what, attributes = {}) {
  return s("text", { x, y, ...attributes }, what);
}

// At most `most` round steps from 0 that reach `top`.
function steps(top, most = 3) {
  const rough = top / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((by) => by * power).find((step) => step >= rough * 0.999);
  return Array.from({ length: Math.ceil(top / step - 1e-9) + 1 }, (_, at) => at * step);
}

// A series over time: solid columns, and what stands on them in outline. `line` draws the first as a line.
export function series(width, height, timeline, { says, lower, upper = () => 0, format, top, isLine = false, isWhole = false }) {
  const { points, bucket_ms } = timeline;
  const left = 58, bottom = 20, above = 8;
  const value = (point) => Math.max(0, lower(point) ?? 0) + Math.max(0, upper(point) ?? 0);
  const most = top ?? Math.max(...points.map(value), 0);
  const marks = most > 0 ? steps(most).filter((mark) => !isWhole || Number.isInteger(mark)) : [0];
  const scale = Math.max(marks.at(-1), most) || 1;
  const y = (amount) => above + (height - bottom - above) * (1 - amount / scale);
  const step = (width - left - 6) / points.length;
  const x = (at) => left + step * at;
  const gap = step > 5 ? 1.5 : 0.5;
  const column = (at, from, to, kind) =>
    s("rect", { class: kind, x: x(at) + gap / 2, width: Math.max(0.5, step - gap), y: y(to), height: Math.max(0, y(from) - y(to)) });
  const drawn = isLine
    ? pieces(points, lower).map((piece) =>
        piece.length > 1
          ? s("polyline.curve", { points: piece.map(([at, amount]) => `${x(at + 0.5)},${y(amount)}`).join(" ") })
          : s("circle.spent", { cx: x(piece[0][0] + 0.5), cy: y(piece[0][1]), r: 2.5 }))
    : points.flatMap((point, at) => {
        const [base, rest] = [Math.max(0, lower(point) ?? 0), Math.max(0, upper(point) ?? 0)];
        return [base > 0 && column(at, 0, base, "spent"), rest > 0 && column(at, base, base + rest, "beyond")];
      });
  const every = Math.max(1, Math.ceil(points.length / Math.max(2, Math.floor((width - left) / 90))));
  return drawing(width, height, says,
    s("g.grid", marks.map((mark) => s("line", { x1: left, x2: width, y1: y(mark), y2: y(mark) }))),
    marks.map((mark) => text(left - 6, y(mark) + 4, format(mark), { class: "soft", "text-anchor": "end" })),
    drawn,
    points.map((point, at) => at % every === 0 && x(at) < width - 34 &&
      text(x(at), height - 5, bucketTime(point.from_ms, bucket_ms), { class: "soft" })));
}

// Runs of points that have a value.
function pieces(points, value) {
  const runs = [[]];
  points.forEach((point, at) => {
    const amount = value(point);
    if (Number.isFinite(amount)) runs.at(-1).push([at, amount]);
    else if (runs.at(-1).length) runs.push([]);
  });
  return runs.filter((run) => run.length);
}

const ROW = 40;

// Observed quality with its interval, and predicted quality, by row.
export function qualities(width, rows, says) {
  const left = 8, right = width - 8;
  const x = (value) => left + (right - left) * Math.min(1, Math.max(0, value));
  const height = rows.length * ROW + 22;
  const marks = [0, 0.25, 0.5, 0.75, 1];
  return drawing(width, height, says,
    s("g.grid", marks.map((mark) => s("line", { x1: x(mark), x2: x(mark), y1: 16, y2: height - 18 }))),
    marks.map((mark) => text(x(mark), height - 4, String(mark), { class: "soft", "text-anchor": mark === 0 ? "start" : mark === 1 ? "end" : "middle" })),
    rows.map((row, at) => {
      const y = at * ROW + 27;
      const { observed_interval: bounds } = row;
      return s("g",
        text(left, y - 13, label(row.name, width - 150), { class: "label" }),
        text(right, y - 13, `n = ${count(row.n_observed)} of ${count(row.requests)}`, { class: "soft label", "text-anchor": "end" }),
        s("line.track", { x1: left, x2: right, y1: y, y2: y }),
        bounds && s("line.interval", { x1: x(bounds.low), x2: x(bounds.high), y1: y, y2: y }),
        row.predicted !== null && diamond(x(row.predicted), y),
        row.observed !== null && s("circle.observed", { cx: x(row.observed), cy: y, r: 5 }));
    }));
}

function diamond(x, y, r = 6) {
  return s("path.expected", { d: `M${x - r} ${y}L${x} ${y - r}L${x + r} ${y}L${x} ${y + r}z` });
}

// What was spent, and in outline what was saved, by row.
export function costs(width, rows, format, says) {
  const saved = (row) => Math.max(0, row.saved?.saved_usd ?? 0);
  const most = Math.max(...rows.map((row) => row.spent_usd + saved(row)), 1e-12);
  const x = (value) => (width - 2) * (value / most);
  return drawing(width, rows.length * ROW, says, rows.map((row, at) => {
    const y = at * ROW + 14;
    const [solid, outline] = [x(row.spent_usd), x(saved(row))];
    return s("g",
      text(0, y, label(row.name, width - 90)),
      text(width, y, format(row.spent_usd), { "text-anchor": "end" }),
      s("rect.spent", { x: 0, y: y + 6, width: Math.max(1, solid), height: 12 }),
      outline > 1 && s("rect.beyond", { x: solid, y: y + 6.5, width: outline, height: 11 }));
  }));
}

// Cost against expected quality: floors as a curve, tiers alone, and where we stand.
export function frontier(width, { floors, tiers, decided, answered }, format) {
  const height = Math.min(360, Math.max(250, width * 0.6));
  const left = 44, bottom = 40, above = 14, right = width - 12;
  const all = [...floors, ...tiers, decided, answered].filter(Boolean);
  const dearest = Math.max(...all.map((point) => point.cost_usd)) || 1;
  const qualities = all.map((point) => point.quality);
  const low = Math.max(0, Math.floor(Math.min(...qualities) * 20 - 0.5) / 20);
  const high = Math.min(1, Math.ceil(Math.max(...qualities) * 20 + 0.5) / 20);
  const costMarks = steps(dearest, width > 420 ? 4 : 2);
  const span = Math.max(costMarks.at(-1), dearest);
  const x = (cost) => left + (right - left) * (cost / span);
  const y = (quality) => above + (height - bottom - above) * (1 - (quality - low) / (high - low || 1));
  const marks = Array.from({ length: 5 }, (_, at) => low + ((high - low) * at) / 4);
  const place = placer(width, height - bottom);
  for (const point of [...tiers, decided, answered].filter(Boolean)) place.block(x(point.cost_usd), y(point.quality));
  const named = (point, what, kind) => place.label(x(point.cost_usd), y(point.quality), what, kind);
  const stand = [decided && named(decided, "decided", "name label"), answered && named(answered, "answered", "name label")];
  const says = "Mean cost of a request against mean expected quality: a curve of floors, each tier alone, and the present point.";
  return drawing(width, height, says,
    s("g.grid", marks.map((mark) => s("line", { x1: left, x2: right, y1: y(mark), y2: y(mark) }))),
    marks.map((mark) => text(left - 6, y(mark) + 4, mark.toFixed(2), { class: "soft", "text-anchor": "end" })),
    costMarks.map((mark, at) => text(x(mark), height - bottom + 17, format(mark), {
      class: "soft", "text-anchor": at === 0 ? "start" : mark > span * 0.95 ? "end" : "middle",
    })),
    text(right, height - 5, "mean cost of a request", { class: "soft", "text-anchor": "end" }),
    text(left, height - 5, "↑ expected quality", { class: "soft" }),
    s("polyline.curve", { points: floors.map((point) => `${x(point.cost_usd)},${y(point.quality)}`).join(" ") }),
    tiers.map((point) => s("rect.tier", { x: x(point.cost_usd) - 4.5, y: y(point.quality) - 4.5, width: 9, height: 9 },
      s("title", plain(point.tier)))),
    decided && diamond(x(decided.cost_usd), y(decided.quality), 7),
    answered && s("circle.observed", { cx: x(answered.cost_usd), cy: y(answered.quality), r: 6 }),
    stand,
    tiers.map((point) => named(point, label(point.tier, Math.min(190, width * 0.45)), "soft label")));
}

// Finds room for labels beside their points; one that finds none is left out, as the table has it.
function placer(width, height) {
  const taken = [];
  const isFree = ({ x, y, w }) => x >= 0 && y >= 0 && x + w <= width && y + 14 <= height &&
    taken.every((other) => x + w < other.x || other.x + other.w < x || y + 14 < other.y || other.y + 14 < y);
  const take = (box) => taken.push(box) && box;
  return {
    block: (x, y) => take({ x: x - 6, y: y - 7, w: 12 }),
    label(x, y, what, kind) {
      const w = [...what].length * LETTER;
      const at = [[10, -7, 0], [-10, -7, 1], [0, -25, 0.5], [0, 10, 0.5], [4, -23, 0], [4, 9, 0], [-4, -23, 1], [-4, 9, 1]];
      const box = at.map(([dx, dy, part]) => ({ x: x + dx - part * w, y: y + dy, w, part })).find(isFree);
      if (!box) return null;
      take(box);
      return text(box.x + box.part * w, box.y + 11.5, what, { class: kind, "text-anchor": ["start", "middle", "end"][2 * box.part] });
    },
  };
}

// Probability at each point of the grid 0, 0.05, ..., 1. Solid where the target is reached; a triangle at the mean.
export function distribution(pmf, { mean, target, scale, says }) {
  const width = 231, height = 58, base = 46;
  const step = width / pmf.length;
  const x = (value) => step / 2 + (width - step) * value;
  const reaches = (at) => target === null || at / (pmf.length - 1) >= target - 1e-6;
  return s("svg.pmf", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": says },
    s("line.track", { x1: 0, x2: width, y1: base, y2: base }),
    pmf.map((mass, at) => {
      const tall = Math.max(mass > 0 ? 0.6 : 0, (base - 3) * (mass / scale));
      return s("rect", { class: reaches(at) ? "spent" : "below", x: at * step + 1, width: step - 2, y: base - tall, height: tall });
    }),
    target !== null && s("line.threshold", { x1: x(target), x2: x(target), y1: 0, y2: base }),
    s("path.mean", { d: `M${x(mean)} ${base + 1}l5 9h-10z` }));
}
