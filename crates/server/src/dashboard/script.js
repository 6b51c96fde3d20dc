// The page's clock: asks for figures while somebody looks, draws what changed, and says when the server is away.

import * as decisions from "./decisions.js";
import { h, plain, show } from "./dom.js";
import { count, duration } from "./number.js";
import * as playground from "./playground.js";
import * as server from "./server.js";
import * as views from "./views.js";

const EVERY_MS = 2000;
const MOST_DECISIONS = 50;
// Rows and figures are kept apart, so that a row may come a little after its count.
const DECISIONS_AT_LEAST_EVERY_MS = 10_000;

const at = (id) => document.getElementById(id);
const keyForm = at("key-form");

let stats = null;
let receivedAt = null;
let trouble = null;
let decisionsOf = { requests: null, at: 0 };
let timer = null;
let isAsking = false;

async function poll() {
  clearTimeout(timer);
  if (document.hidden || isAsking) return;
  isAsking = true;
  try {
    stats = await server.stats();
    receivedAt = Date.now();
    draw();
    await pollDecisions();
    trouble = null;
  } catch (error) {
    trouble = error;
  }
  isAsking = false;
  drawTrouble();
  timer = setTimeout(poll, EVERY_MS);
}

async function pollDecisions() {
  const requests = stats.figures?.totals.requests ?? null;
  if (requests === decisionsOf.requests && Date.now() - decisionsOf.at < DECISIONS_AT_LEAST_EVERY_MS) return;
  decisions.take(await server.decisions(MOST_DECISIONS));
  decisionsOf = { requests, at: Date.now() };
}

const chosen = (radios) => document.querySelector(`input[name=${radios}]:checked`).value;
const widthOf = (id) => Math.max(240, Math.floor(at(id).clientWidth));

function draw() {
  if (!stats) return;
  const { figures } = stats;
  const isEmpty = views.isEmpty(figures);
  for (const id of ["now", "drift", "tiers"]) at(id).hidden = false;
  for (const id of ["traffic", "quality", "cost", "frontier", "escalations", "decisions"]) at(id).hidden = isEmpty;
  const sections = [...document.querySelectorAll("section:not([hidden])")];
  show(document.querySelector("nav"), sections.map((section) => h("a", { href: `#${section.id}` }, section.dataset.name)));
  show(at("now-body"), isEmpty ? views.nothingYet() : views.now(stats));
  show(at("drift-body"), views.drift(stats.findings));
  show(at("tiers-body"), views.tiers(stats));
  if (isEmpty) return;
  show(at("traffic-body"), views.traffic(span(figures.timelines), widthOf("traffic-body")));
  show(at("quality-body"), views.qualityBy(figures.quality, chosen("quality-by"), widthOf("quality-body")));
  show(at("cost-body"), views.costBy(figures.cost, chosen("cost-by"), widthOf("cost-body")));
  show(at("frontier-body"), views.frontier(figures.frontier, widthOf("frontier-body")));
  show(at("escalations-body"), views.escalations(figures));
}

// The series that is looked at.
function span(timelines) {
  const select = at("span");
  at("span-label").hidden = timelines.length < 2;
  show(select, timelines.map((timeline) => h("option", { value: timeline.bucket_ms }, views.spanName(timeline))));
  return timelines.find((timeline) => String(timeline.bucket_ms) === select.value) ?? timelines[0];
}

function drawState() {
  const age = receivedAt === null ? null : Date.now() - receivedAt;
  show(at("state"), stats ? `checkpoint ${plain(stats.checkpoint)} · ` : null,
    age === null ? "no figures yet" : age < 2 * EVERY_MS + 1000 ? "live" : `figures of ${duration(age)} ago`);
}

function drawTrouble() {
  const isRefused = trouble instanceof server.Refused;
  const needsKey = isRefused && trouble.status === 401;
  if (keyForm.hidden === needsKey) {
    keyForm.hidden = !needsKey;
    if (needsKey && document.activeElement === document.body) at("key").focus();
  }
  show(at("trouble"), trouble && h("p.notice.bad", isRefused ? plain(trouble.message) : away()));
  drawState();
}

function away() {
  const kept = stats ? " The figures below are the last that came." : "";
  return `The server does not answer.${kept} Trying again every ${count(EVERY_MS / 1000)} seconds.`;
}

keyForm.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = at("key").value.trim();
  at("key").value = "";
  if (given) server.key.set(given);
  else server.key.forget();
  poll();
  playground.again();
});
for (const id of ["quality", "cost", "span"]) at(id).addEventListener("change", draw);
document.addEventListener("visibilitychange", poll);
addEventListener("resize", draw);
setInterval(drawState, 1000);
decisions.start();
playground.start();
poll();
