// One decision: every tier's predicted distribution, and why this tier. The same for a row of the journal and for
// an answer of /v1/route, which `ofServed` and `ofAnswer` bring to one shape.

import { distribution } from "./charts.js";
import { figure, folded, h, label, name, table, words } from "./dom.js";
import { clock, count, ms, quality, share, usd } from "./number.js";

const REASONS = {
  cheapest_acceptable: "the cheapest tier that is good enough",
  fastest_acceptable: "the fastest tier that is good enough",
  highest_quality: "the tier of the highest expected quality, which was asked for",
  best_trade_off: "the best quality for its price",
  none_acceptable: "no tier is good enough; this one comes nearest",
  insufficient_evidence: "the prompt is unlike all that was trained on, so the safe tier is taken",
  named_by_caller: "the caller named it",
  rule_fired: "a rule fired",
  classified: "the classifier named it",
  by_chance: "a die fell on it",
  cascade_begun: "a cascade begins with it",
  budget_spent: "a budget is spent, so the cheapest tier is taken",
  planned: "a plan gave the step to it",
  no_tier_fits: "no tier fits",
};

const EXCLUSIONS = {
  by_caller: "the caller excluded it",
  no_endpoint: "it has no endpoint",
  circuit_open: "it failed too often in a row and is left alone for a while",
  untranslatable: "its dialects cannot say a field of this request",
  no_tools: "it takes no tools",
  no_json_schema: "it keeps to no JSON schema",
  no_vision: "it reads no images",
  context_window: "prompt and reply are longer than its context window",
  cost: "it is expected to cost more than allowed",
  budget: "it is expected to take more than a budget has left",
  latency: "it is expected to take longer than allowed",
};

export const exclusion = (why) => EXCLUSIONS[why] ?? why;

const ROLES = { chosen: "chosen", fallback: "the call before it failed", escalation: "the answer before it was not good enough" };

const sum = (values) => values.reduce((total, value) => total + value, 0);

// P(quality >= target), from the distribution.
function reaching(pmf, target) {
  return sum(pmf.filter((_, at) => at / (pmf.length - 1) >= target - 1e-6));
}

export function ofServed(row) {
  const chosen = row.reason === "no_tier_fits" ? null : (row.tiers[row.chosen]?.tier ?? null);
  const answer = row.answered_by === null ? null : row.calls[row.answered_by];
  return {
    chosen, target: row.target, reason: row.reason, rule: row.rule, evidence: row.evidence,
    answered: answer?.tier ?? null, calls: row.calls,
    tiers: row.tiers.map((tier) => ({ ...tier, latency_ms: tier.latency_p95_ms })),
  };
}

export function ofAnswer({ decision, tiers, evidence }, target) {
  const excluded = new Map(decision.excluded.map(({ tier, why, detail }) => [tier, detail ? `${exclusion(why)} (${detail})` : why]));
  return {
    chosen: decision.tier, target, reason: decision.reason, rule: decision.rule, evidence: evidence.sufficient,
    answered: null, calls: [],
    tiers: tiers.map((tier) => ({ ...tier, excluded: excluded.get(tier.tier) ?? null })),
  };
}

// Why this tier, in a sentence or three.
export function why(decision) {
  const reason = REASONS[decision.reason] ?? decision.reason;
  const rule = decision.rule ? [" (", name(decision.rule), ")"] : null;
  const isTold = decision.reason === "insufficient_evidence";
  return [
    h("strong", name(decision.chosen ?? "none")), `: ${reason}`, rule, ". ",
    !decision.evidence && !isTold && "The evidence behind the prediction was insufficient. ",
    decision.calls.length > 1 && calledOn(decision),
  ];
}

function calledOn({ calls, answered }) {
  const steps = calls.slice(1).map((call, at) => {
    const before = calls[at];
    const cause = call.role === "escalation"
      ? `'s answer was estimated at ${quality(before.estimate)}, which was not enough, so `
      : ` failed (${before.error ?? before.outcome}), so `;
    return [name(before.tier), cause, name(call.tier), " was asked. "];
  });
  return [steps, answered ? ["The answer is from ", name(answered), "."] : "Nobody answered."];
}

// Every tier, its distribution, and what speaks for or against it.
export function tiers(decision) {
  const scale = Math.max(0.2, ...decision.tiers.flatMap((tier) => tier.quality_pmf ?? []));
  return h("div",
    h("ol.tier-list", decision.tiers.map((tier) => tierRow(tier, decision, scale))),
    h("p.soft", "Bars: predicted probability of each quality, from 0 (left) to 1 (right). Triangle: expected quality.",
      decision.target === null ? " No quality was aimed at." : " Line: the quality aimed at; bars that reach it are solid."),
    distributions(decision.tiers));
}

function tierRow(tier, decision, scale) {
  const isChosen = tier.tier === decision.chosen;
  const pmf = tier.quality_pmf ?? [];
  const says = `Predicted quality: mean ${quality(tier.quality_mean)}`;
  return h("li", { class: isChosen ? "chosen" : tier.excluded ? "excluded" : null },
    h("div.tier-name", name(tier.tier, 40), isChosen && h("span.badge", "chosen"),
      decision.answered === tier.tier && !isChosen && h("span.badge.other", "answered"),
      h("span.soft.verdict", verdict(tier, decision))),
    pmf.length ? distribution(pmf, { mean: tier.quality_mean, target: decision.target, scale, says }) : h("p.soft", "no distribution kept"),
    h("dl", pair("expected", quality(tier.quality_mean)),
      decision.target !== null && pmf.length > 0 && pair(`P(≥ ${quality(decision.target)})`, quality(reaching(pmf, decision.target))),
      pair("cost", usd(tier.cost_usd)), pair("p95", ms(tier.latency_ms))));
}

const pair = (term, value) => h("div", h("dt", term), h("dd", value));

function verdict(tier, decision) {
  return [judged(tier, decision), tier.predicted_as && [" Predicted as ", name(tier.predicted_as), "."]];
}

function judged(tier, { target, chosen, tiers }) {
  if (tier.excluded) return `Out of the question: ${exclusion(tier.excluded)}.`;
  if (!tier.acceptable) return target === null ? "Not among the acceptable." : `Not good enough for ${quality(target)}.`;
  if (tier.tier === chosen) return "Good enough.";
  const cost = tiers.find((other) => other.tier === chosen)?.cost_usd;
  return tier.cost_usd > cost ? "Good enough, but dearer." : "Good enough, but ranked lower.";
}

function distributions(tiers) {
  const drawn = tiers.filter((tier) => tier.quality_pmf?.length);
  if (!drawn.length) return null;
  const points = drawn[0].quality_pmf.map((_, at) => at);
  const masses = drawn.map((tier) => ({ head: name(tier.tier, 20), cell: (at) => share(tier.quality_pmf[at]) }));
  return folded("predicted distributions", [{ head: "quality", cell: (at) => (at / (points.length - 1)).toFixed(2) }, ...masses], points);
}

// The calls that were made.
export function calls(made) {
  if (!made.length) return h("p.soft", "No call was made.");
  return table("Calls that were made", [
    label("tier", "tier"), words("why", (call) => ROLES[call.role] ?? call.role),
    words("outcome", (call) => [call.outcome, call.error && [": ", name(call.error)]]),
    figure("estimate", "estimate", quality), figure("cost", "cost_usd", usd), figure("tokens in", "input_tokens", count),
    { head: "tokens out", cell: (call) => [count(call.output_tokens), call.is_estimated && " (counted here)"] },
    figure("first token", "first_token_ms", ms), figure("total", "total_ms", ms),
  ], made);
}

// How the answer was come by.
export function path({ calls, answered_by, endpoint }) {
  if (answered_by === null) return calls.length ? "unanswered" : endpoint === "route" ? "decided only" : "refused";
  const has = (role) => calls.some((call) => call.role === role);
  return has("escalation") ? "escalated" : has("fallback") ? "fallback" : "direct";
}

// What a row says of itself beside its decision.
export function about(row) {
  return h("dl.about",
    pair("when", clock(row.time_ms)), pair("asked by", [row.endpoint, row.cohort !== "none" && [" · ", name(row.cohort)]]),
    pair("task", [name(row.task), !row.task_is_told && " (guessed)"]), pair("policy", row.policy),
    pair("probability of this choice", share(row.propensity)), pair("overhead", ms(row.overhead_ms)),
    row.session && pair("session", name(row.session)), pair("id", h("code", name(row.id, 80))), pair("checkpoint", name(row.checkpoint)));
}
