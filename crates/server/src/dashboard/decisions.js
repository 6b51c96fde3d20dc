// Recent decisions: a list to choose from, and the chosen one.

import { about, calls, ofServed, path, tiers, why } from "./decision.js";
import { h, name, plain, show } from "./dom.js";
import { clock, count, usd } from "./number.js";
import * as server from "./server.js";

const list = document.getElementById("decision-list");
const newer = document.getElementById("newer");
const LINK = "#decision=";

let latest = [];
let shown = [];
let selected = null;
let isOpened = false;

const optionId = (row) => `option-${row.id}`;
const sum = (values) => values.reduce((total, value) => total + value, 0);

// Takes the newest rows. While somebody is in the list it stands still, so that nothing moves under a hand.
export function take(rows) {
  latest = rows;
  selected ??= rows[0] ?? null;
  if (!isInUse()) shown = rows;
  draw();
  if (!isOpened) openLinked();
  isOpened = true;
}

function isInUse() {
  return shown.length > 0 && (list.matches(":hover") || list.contains(document.activeElement));
}

function draw() {
  const waiting = shown[0] ? latest.findIndex((row) => row.id === shown[0].id) : 0;
  newer.hidden = waiting === 0 || !latest.length;
  newer.textContent = waiting < 0 ? `Show more than ${count(latest.length)} newer` : `Show ${count(waiting)} newer`;
  show(document.getElementById("decisions-note"), shown.length
    ? "Arrow keys choose one. The list stands still while you are in it."
    : "No decisions yet.");
  list.hidden = !shown.length;
  const reached = shown.find((row) => optionId(row) === document.activeElement?.id) ?? shown.find((row) => row.id === selected?.id) ?? shown[0];
  show(list, shown.map((row) => option(row, row === reached)));
  drawSelected();
}

function option(row, isReached) {
  const { chosen, answered } = ofServed(row);
  const how = path(row);
  return h("li", { id: optionId(row), role: "option", tabindex: isReached ? 0 : -1, "aria-selected": String(row.id === selected?.id) },
    h("span.when", clock(row.time_ms)),
    h("span.what", name(chosen ?? "none", 32), answered && answered !== chosen && [" → ", name(answered, 32)]),
    h("span.paid", usd(sum(row.calls.map((call) => call.cost_usd)))),
    h("span.of.soft", name(row.task, 28)),
    h("span", { class: `how ${how.split(" ")[0]}` }, how));
}

function drawSelected() {
  const region = document.getElementById("decision");
  region.hidden = !selected;
  if (!selected) return;
  const decision = ofServed(selected);
  show(document.getElementById("decision-why"), why(decision));
  show(document.getElementById("decision-body"), tiers(decision), calls(selected.calls), about(selected));
}

function select(row) {
  selected = row;
  history.replaceState(null, "", LINK + encodeURIComponent(row.id));
  draw();
}

function rowOf(target) {
  const at = target.closest?.("[role=option]");
  return at && shown.find((row) => optionId(row) === at.id);
}

function moved(key, at) {
  const to = { ArrowDown: at + 1, ArrowUp: at - 1, Home: 0, End: shown.length - 1 }[key];
  return to === undefined ? null : shown[Math.min(shown.length - 1, Math.max(0, to))];
}

function onKey(event) {
  const row = rowOf(event.target);
  if (!row || event.ctrlKey || event.metaKey || event.altKey) return;
  const to = ["Enter", " "].includes(event.key) ? row : moved(event.key, shown.indexOf(row));
  if (!to) return;
  event.preventDefault();
  select(to);
  document.getElementById(optionId(to)).focus();
}

function catchUp() {
  if (isInUse() || shown === latest) return;
  shown = latest;
  draw();
}

// Opens the decision that the address names.
async function openLinked() {
  if (!location.hash.startsWith(LINK)) return;
  try {
    const id = decodeURIComponent(location.hash.slice(LINK.length));
    selected = latest.find((row) => row.id === id) ?? (await server.decision(id));
    draw();
    document.getElementById("decisions").scrollIntoView();
  } catch (error) {
    show(document.getElementById("decisions-note"), `The decision of this link cannot be shown: ${plain(error.message)}`);
  }
}

export function start() {
  list.addEventListener("click", (event) => {
    const row = rowOf(event.target);
    if (row) select(row);
  });
  list.addEventListener("keydown", onKey);
  list.addEventListener("pointerleave", catchUp);
  list.addEventListener("focusout", () => setTimeout(catchUp));
  newer.addEventListener("click", () => {
    shown = latest;
    draw();
    list.scrollTop = 0;
    list.querySelector("[tabindex='0']")?.focus({ preventScroll: true });
  });
  window.addEventListener("hashchange", openLinked);
}
