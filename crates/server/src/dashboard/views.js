// The sections that /v1/stats feeds: functions from figures and a width in pixels to nodes.

import { costs, frontier as frontierChart, qualities, series } from "./charts.js";
import { exclusion } from "./decision.js";
import { figure, folded, h, label, name, plain, table, words } from "./dom.js";
import {
  bucketTime, count, counted, difference, duration, interval, moment, ms, quality, share, unit, usd, within,
} from "./number.js";

// The first rows of a long list, whose rest is in the table.
const MOST_DRAWN = 8;

const soft = (...children) => h("p.soft", children);
const called = (row) => ({ ...row, name: row.is_rest ? "all others" : row.name });
// A column of figures with their intervals.
const bounded = (head, field, format) => ({ head, cell: (row) => within(row?.[field], row?.[`${field}_interval`], format) });
const ofSaved = (column) => ({ ...column, cell: ({ saved }) => column.cell(saved) });
const sum = (rows, of) => rows.reduce((total, row) => total + of(row), 0);

function key(...entries) {
  return h("p.soft.key", entries.map(([kind, says]) => h("span", h("i", { class: kind, "aria-hidden": "true" }), says)));
}

export function isEmpty(figures) {
  return !figures?.totals?.requests;
}

export function nothingYet() {
  return h("p.notice", "No requests yet. Send one to ", h("code", "/v1/chat/completions"), " with the model ",
    h("code", "auto"), ", or try the ", h("a", { href: "#playground" }, "playground"), ".");
}

// What an operator sees first.
export function now({ figures, findings = [] }) {
  const { totals, cost, quality: said, escalations } = figures;
  return h("div.answers",
    answer("Requests", count(totals.requests), requestsRemark(totals), totals.failed > 0 && totals.failed > totals.requests / 20),
    answer("Spent", usd(totals.spent_usd), spentRemark(totals)),
    answer("Saved", usd(cost.all.saved?.saved_usd), savedRemark(cost)),
    answer("Quality", qualityFigure(said.all), qualityRemark(said.all)),
    answer("Escalated", share(escalations.rate), escalatedRemark(figures)),
    driftAnswer(findings));
}

function answer(head, figure, remark, isBad = false) {
  return h(isBad ? "div.answer.bad" : "div.answer",
    h("h3", head), h("p.figure", figure), h("p.remark", remark));
}

function requestsRemark(totals) {
  const parts = [`${count(totals.answered)} answered`];
  if (totals.failed) parts.push(`${count(totals.failed)} failed`);
  if (totals.refused) parts.push(`${count(totals.refused)} refused`);
  if (totals.decided_only) parts.push(`${count(totals.decided_only)} decided only`);
  if (totals.insufficient_evidence) parts.push(`${count(totals.insufficient_evidence)} without sufficient evidence`);
  return parts.join(", ");
}

function spentRemark(totals) {
  const each = totals.answered ? `${usd(totals.spent_usd / totals.answered)} an answer, ` : "";
  const estimated = totals.calls_with_estimated_tokens;
  return `${each}${counted(totals.calls, "call")}${estimated ? `, ${count(estimated)} with tokens counted here` : ""}`;
}

const BASIS = {
  calls_of_the_tier: "",
  calls_of_other_tiers: " It was hardly called: its cost is judged by calls to other tiers.",
  forecasts_alone: " Hardly any call was complete: its cost is a forecast.",
};

function savedRemark({ all: { saved }, always_best }) {
  if (!saved || !always_best) return "Nothing to compare with yet.";
  const bounds = saved.saved_usd_interval ? `${interval(saved.saved_usd_interval, usd)}; ` : "";
  return [bounds, `${within(saved.saved_share, saved.saved_share_interval, share)} of what `, name(always_best.tier, 32),
    ` alone would have cost. Estimated.${BASIS[always_best.basis] ?? ""}`];
}

function qualityFigure(all) {
  return all.observed === null ? [quality(all.predicted), h("small", " predicted")] : [quality(all.observed), h("small", " observed")];
}

function qualityRemark(all) {
  if (!all.n_observed) return "Nobody has said anything of an answer yet: POST /v1/feedback.";
  const gap = all.difference === null ? "" : ` On the same requests, observed minus predicted is ${within(all.difference, all.difference_interval, difference)}.`;
  return `${interval(all.observed_interval, quality)}, n = ${count(all.n_observed)}, of which ${count(all.n_judged)} judged; predicted ${quality(all.predicted)} over all.${gap}`;
}

function escalatedRemark({ escalations, failures }) {
  const hints = escalations.stages.filter((stage) => stage.hint).length;
  const fallbacks = sum(failures.fallbacks, (row) => row.calls);
  const failed = sum(failures.by_tier, (row) => row.calls);
  return [`of answered requests. ${counted(fallbacks, "fallback")}, ${counted(failed, "failed call")}.`,
    hints > 0 && [" ", h("a", { href: "#escalations" }, counted(hints, "hint"))]];
}

const RANK = { alarm: 0, warning: 1, note: 2 };
const ranked = (findings) => [...findings].sort((a, b) => (RANK[a.severity] ?? 3) - (RANK[b.severity] ?? 3));

function driftAnswer(findings) {
  const [worst] = ranked(findings);
  if (!worst) return answer("Drift", "none", "No sign that the router has become wrong.");
  const alike = findings.filter((finding) => finding.severity === worst.severity).length;
  return answer("Drift", counted(alike, worst.severity), [plain(worst.says), " ", h("strong", plain(worst.do_this)),
    findings.length > 1 && [" ", h("a", { href: "#drift" }, `All ${findings.length}`)]], worst.severity === "alarm");
}

export function drift(findings = []) {
  if (!findings.length) return soft("No finding.");
  return h("ul.findings", ranked(findings).map((finding) =>
    h("li", { class: finding.severity },
      h("p", h("strong", { class: finding.severity }, finding.severity), ` · ${finding.kind} · `, name(finding.what, 80),
        finding.at_ms !== null && h("span.soft", ` · ${moment(finding.at_ms)}`)),
      h("p", plain(finding.says)), h("p", h("strong", plain(finding.do_this))))));
}

export function spanName({ bucket_ms, points }) {
  return points.length > 1 ? `${duration(bucket_ms * points.length)} by ${unit(bucket_ms)}` : `by ${unit(bucket_ms)}`;
}

export function traffic(timeline, width) {
  if (!timeline?.points.length) return soft("No series over time.");
  const each = width > 760 ? (width - 28) / 2 : width;
  const chart = (head, options, entries) =>
    h("figure", h("h3", head), series(each, 130, timeline, { says: `${head}, over time`, ...options }), key(...entries));
  const saved = (point) => Math.max(0, point.saved_usd ?? 0);
  return [
    h("div.charts",
      chart("Requests", { lower: (point) => point.answered, upper: (point) => point.requests - point.answered, format: count, isWhole: true },
        [["solid", "answered"], ["outline", "not answered, or decided only"]]),
      chart("Cost", { lower: (point) => point.spent_usd, upper: saved, format: usd }, [["solid", "spent"], ["outline", "saved (estimated)"]]),
      chart("Escalations and failed calls", { lower: (point) => point.escalated, upper: (point) => point.errors, format: count, isWhole: true },
        [["solid", "escalated"], ["outline", "failed calls"]]),
      chart("Predicted quality", { lower: (point) => point.predicted, format: quality, top: 1, isLine: true },
        [["line", "mean over the tiers that answered"]])),
    folded("over time", [
      figure("from", "from_ms", (from_ms) => bucketTime(from_ms, timeline.bucket_ms)), figure("requests", "requests", count),
      figure("answered", "answered", count), figure("spent", "spent_usd", usd), figure("saved", "saved_usd", usd),
      figure("predicted", "predicted", quality), figure("escalated", "escalated", count), figure("fallbacks", "fallbacks", count),
      figure("failed calls", "errors", count),
    ], [...timeline.points].reverse()),
  ];
}

function rates(judged) {
  if (!judged) return "";
  const [low, high] = judged;
  return `What was judged was drawn by chance, ${low === high ? share(low) : `${share(low)} to ${share(high)}`} of the answers.`;
}

export function qualityBy(section, by, width) {
  const rows = section[by].filter((row) => row.requests > 0).map(called);
  if (!rows.length) return soft("Nothing yet.");
  const most = [...rows].sort((a, b) => b.requests - a.requests).slice(0, MOST_DRAWN);
  const drawn = by === "by_path" ? rows : most;
  return [
    h("figure", qualities(width, drawn, "Observed quality with its interval, and predicted quality"),
      key(["dot", "observed, with a 95 % interval"], ["diamond", "predicted"])),
    soft("Those who say something of an answer are no random sample: who is cross speaks sooner. n says of how many requests something was said. ",
      rates(section.judged_at_rates),
      rows.length > drawn.length && ` Drawn: the ${drawn.length} with the most requests of ${rows.length}.`),
    folded("quality", [
      label("name", "name"), figure("requests", "requests", count), figure("predicted", "predicted", quality),
      figure("n", "n_observed", count), bounded("observed", "observed", quality),
      figure("n judged", "n_judged", count), bounded("judged", "judged", quality),
      bounded("observed − predicted", "difference", difference),
      ...["good_fit", "underpowered", "overprovisioned", "failed"].map((verdict) =>
        figure(verdict.replace("_", " "), "verdicts", (verdicts) => count(verdicts[verdict]))),
    ], rows),
  ];
}

export function costBy(section, by, width) {
  const rows = section[by].filter((row) => row.requests > 0 || row.spent_usd > 0).map(called);
  if (!rows.length) return soft("Nothing yet.");
  const drawn = [...rows].sort((a, b) => b.spent_usd - a.spent_usd).slice(0, MOST_DRAWN);
  return [
    h("figure", costs(width, drawn, usd, "What was spent and what was saved"), key(["solid", "spent"], ["outline", "saved (estimated)"])),
    rows.length > drawn.length && soft(`Drawn: the ${drawn.length} that cost most, of ${rows.length}.`),
    folded("cost", [
      label("name", "name"), figure("requests", "requests", count), by === "by_tier" && figure("calls", "calls", count),
      figure("spent", "spent_usd", usd), ofSaved(bounded("saved", "saved_usd", usd)), ofSaved(bounded("share saved", "saved_share", share)),
    ].filter(Boolean), rows),
  ];
}

export function frontier(section, width) {
  if (!section.floors.some((point) => point.n > 0)) return soft("Nothing yet.");
  const rows = [
    section.answered && { what: "answered (real cost)", ...section.answered }, section.decided && { what: "decided", ...section.decided },
    ...section.tiers.map((point) => ({ what: point.tier, ...point })),
    ...section.floors.map((point) => ({ what: `floor ${quality(point.floor)}`, ...point })),
  ].filter(Boolean);
  return [
    h("figure", frontierChart(width, section, usd),
      key(["line", "a floor on quality, from 0 to 1"], ["square", "one tier always"], ["diamond", "decided: expected cost"], ["dot", "answered: real cost"])),
    soft("Expected cost and expected quality of the same requests under other dials. Up and to the left is better."),
    folded("cost and quality of other dials", [
      label("dial", "what"), figure("requests", "n", count), figure("mean cost", "cost_usd", usd),
      figure("expected quality", "quality", quality),
    ], rows),
  ];
}

export function escalations({ escalations: { stages, moves }, failures }) {
  const [calls, tier, error] = [figure("calls", "calls", count), label("tier", "tier"), label("error", "error")];
  const fromTo = [label("from", "from"), label("to", "to")];
  const parts = [
    ...stages.filter((stage) => stage.hint).map((stage) => h("p.notice", plain(stage.hint))),
    moves.length > 0 && table("Cascades went on", [...fromTo, calls], moves),
    stages.length > 0 && table("Answers that a cascade read", [
      tier, figure("read", "answers_read", count), bounded("passed on", "escalation_rate", share),
      figure("estimate, let out", "estimate_let_out", quality), bounded("observed, let out", "observed", quality),
      figure("n", "n_observed", count), figure("estimate, passed on", "estimate_passed_on", quality),
      figure("spent on unused answers", "unused_usd", usd),
    ], stages),
    failures.fallbacks.length > 0 && folded("fallbacks", [...fromTo, error, calls], failures.fallbacks),
    failures.by_tier.length > 0 && folded("failed calls", [tier, error, calls], failures.by_tier),
    failures.exclusions.length > 0 && folded("tiers that were out of the question", [
      tier, words("why", (row) => exclusion(row.why)), figure("requests", "requests", count),
    ], failures.exclusions),
  ].filter(Boolean);
  return parts.length ? parts : soft("No cascade went on, and no call failed.");
}

export function tiers({ tiers: health, figures, journal }) {
  const rows = Object.entries(health).map(([tier, state]) => ({ tier, ...state }));
  const overhead = figures?.latency.overhead_ms;
  return [
    table("Tiers", [
      label("tier", "tier"), words("state", stateOf), figure("first token, p95", "first_token_p95_ms", ms),
      figure("whole reply, p95", "total_p95_ms", ms),
      words("predicted as", (row) => (row.predicted_as ? name(row.predicted_as) : "itself")),
    ], rows),
    overhead && soft(`Overhead of a decision: median ${ms(overhead.p50)}, p95 ${ms(overhead.p95)}, p99 ${ms(overhead.p99)}, n = ${count(overhead.n)}.`),
    journal ? journalState(journal) : soft("No journal is kept: figures are of this process alone."),
  ];
}

function stateOf({ has_endpoint, circuit_open_s }) {
  if (!has_endpoint) return "no endpoint";
  return circuit_open_s === null ? "open for calls" : h("strong.warn", `left alone for ${duration(circuit_open_s * 1000)}`);
}

function journalState({ written, waiting, dropped, failing, bytes_on_disk, n_segments }) {
  return h(failing || dropped ? "p.notice" : "p.soft",
    `Journal: ${counted(written, "row")} written, ${count(waiting)} waiting, ${count(dropped)} dropped; `,
    `${counted(n_segments, "segment")}, ${count(bytes_on_disk / 1e6)} MB.`,
    failing && ` It cannot be written${typeof failing === "string" ? `: ${plain(failing)}` : ""}. See the disk and the server's log.`);
}
