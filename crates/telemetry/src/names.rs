//! Names of spans and attributes, in one place because they are not stable.
//!
//! `gen_ai.*`, `server.*`, `error.type` and `http.*` are OpenTelemetry's. Those of generative AI have the status
//! "Development": they moved to a repository of their own (open-telemetry/semantic-conventions-genai), which has made
//! no stable release. `router.*` are ours: there is no convention for routing and its cost yet.

/// Version of OpenTelemetry's semantic conventions that the names are of, the last that held those of generative
/// AI. Sent along as the schema, so that a collector can translate.
pub const SCHEMA_URL: &str = "https://opentelemetry.io/schemas/1.41.0";

/// Version of the `router.*` names; it counts on when one changes its meaning. Sent along with the program.
pub const ROUTER_VERSION: i64 = 1;

/// Span of a decision.
pub const DECIDE: &str = "router.decide";

/// What calls do, and the first word of their spans' names.
pub const CHAT: &str = "chat";

/// Provider of a tier of which nothing else is known: endpoints speak OpenAI's dialect.
pub const OPENAI: &str = "openai";

/// Of the program.
pub mod resource {
    /// Its name, as configured.
    pub const SERVICE_NAME: &str = "service.name";
    /// Its version.
    pub const SERVICE_VERSION: &str = "service.version";
    /// [`super::ROUTER_VERSION`].
    pub const NAMES_VERSION: &str = "router.names_version";
}

/// OpenTelemetry's.
pub mod gen_ai {
    /// `chat`.
    pub const OPERATION: &str = "gen_ai.operation.name";
    /// Who serves the model.
    pub const PROVIDER: &str = "gen_ai.provider.name";
    /// The model as the endpoint calls it.
    pub const REQUEST_MODEL: &str = "gen_ai.request.model";
    /// The session.
    pub const CONVERSATION: &str = "gen_ai.conversation.id";
    /// Tokens of the prompt, cached ones too.
    pub const INPUT_TOKENS: &str = "gen_ai.usage.input_tokens";
    /// Tokens of the reply.
    pub const OUTPUT_TOKENS: &str = "gen_ai.usage.output_tokens";
    /// Tokens of the prompt that were cached.
    pub const CACHED_TOKENS: &str = "gen_ai.usage.cache_read.input_tokens";
    /// Seconds from the call to the first piece of the reply.
    pub const FIRST_CHUNK: &str = "gen_ai.response.time_to_first_chunk";
    /// Kind of the error.
    pub const ERROR: &str = "error.type";
    /// Host of the endpoint.
    pub const ADDRESS: &str = "server.address";
    /// Port of the endpoint.
    pub const PORT: &str = "server.port";
    /// Method of the client's request.
    pub const METHOD: &str = "http.request.method";
}

/// Ours.
pub mod router {
    /// Id of the decision, as in `x-tiercast-decision-id`.
    pub const DECISION: &str = "router.decision_id";
    /// Path that took the request: `chat`, `responses`, `messages`, `route`.
    pub const ENDPOINT: &str = "router.endpoint";
    /// Who asked.
    pub const COHORT: &str = "router.cohort";
    /// What it is about.
    pub const TASK: &str = "router.task";
    /// Whether the client named the task.
    pub const TASK_IS_TOLD: &str = "router.task_is_told";
    /// Of a decision the tier that was chosen, of a call the tier that was asked.
    pub const TIER: &str = "router.tier";
    /// Policy.
    pub const POLICY: &str = "router.policy";
    /// Checkpoint that predicted: the version of what the policy knows.
    pub const POLICY_VERSION: &str = "router.policy_version";
    /// Reason of the decision.
    pub const REASON: &str = "router.reason";
    /// The rule that fired.
    pub const RULE: &str = "router.rule";
    /// Quality that was aimed at.
    pub const TARGET: &str = "router.target_quality";
    /// Probability with which the tier was chosen.
    pub const PROPENSITY: &str = "router.propensity";
    /// Expected quality of the chosen tier's answer, in [0, 1].
    pub const PREDICTED_QUALITY: &str = "router.predicted_quality";
    /// Expected cost of the chosen tier's answer, US dollars.
    pub const PREDICTED_COST: &str = "router.predicted_cost_usd";
    /// Tier whose evidence the chosen one borrows.
    pub const PREDICTED_AS: &str = "router.predicted_as";
    /// Whether the evidence was sufficient.
    pub const EVIDENCE: &str = "router.evidence_is_sufficient";
    /// What all calls cost, US dollars. On the decision's span alone, so that a sum over spans is right.
    pub const COST: &str = "router.cost_usd";
    /// Whether a call was made because the answer before it was not good enough.
    pub const ESCALATED: &str = "router.escalated";
    /// Tier whose answer the client got.
    pub const ANSWERED_BY: &str = "router.answered_by";
    /// Why a call was made: `chosen`, `fallback`, `escalation`.
    pub const ROLE: &str = "router.role";
    /// How a call ended: `complete`, `failed`, `client_gone`, ...
    pub const OUTCOME: &str = "router.outcome";
    /// What a call cost, US dollars.
    pub const CALL_COST: &str = "router.call.cost_usd";
    /// Whether a call's tokens were counted here, because the endpoint told none.
    pub const USAGE_IS_ESTIMATED: &str = "router.call.usage_is_estimated";
    /// Estimate of an answer's quality, where a cascade read it.
    pub const ESTIMATED_QUALITY: &str = "router.call.estimated_quality";
}
