//! What spans say of the endpoints behind the tiers. The server makes it of its configuration.

use std::collections::BTreeMap;

/// By tier.
pub type Targets = BTreeMap<String, Target>;

/// The endpoint of a tier. A tier that nothing is known of is served by `openai` under its own name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Target {
    /// Who serves it: a well-known value of `gen_ai.provider.name` or a name of one's own.
    pub provider: Option<String>,
    /// What the endpoint calls the model.
    pub model: Option<String>,
    /// Its host.
    pub address: Option<String>,
    /// Its port.
    pub port: Option<u16>,
}
