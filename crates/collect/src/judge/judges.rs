//! The judges of a configuration, compiled: checked once, each with the hash of all it goes by.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use jsonschema::Validator;
use regex::Regex;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tiercast_records::disk::hex;
use tiercast_records::prompts::Prompt;
use tiercast_upstream::settings::EndpointSettings;

use super::case::{Case, Verdict};
use super::checkers::choice::Statement;
use super::checkers::numeric::Tolerance;
use super::checkers::{choice, numeric, pattern, schema, text};
use super::command::CommandJudge;
use super::rubric::Rubric;
use super::settings::{Definition, Extract, JudgeSettings, config};
use crate::error::CollectError;

/// Most judges inside judges; more is a circle.
const MAX_DEPTH: usize = 8;

/// Version of the way judges ask and read: part of every hash, raised when a verdict would change.
const VERSION: u32 = 1;

/// One way to judge.
#[derive(Debug)]
pub struct Judge {
    /// Name in the configuration; inline judges are named by their kind.
    pub name: String,
    /// Hash of all that a verdict rests on, rubric included; endpoints only with model and parameters.
    pub hash: String,
    /// How scores are marked in outcome files: they compare only inside one kind.
    pub score_kind: String,
    /// What it does.
    pub check: Check,
}

/// What a judge does.
#[derive(Debug)]
pub enum Check {
    /// The same letter.
    Choice(Statement),
    /// The same text.
    Text,
    /// The same text in a JSON answer.
    JsonAnswer,
    /// The same number.
    Numeric(Tolerance),
    /// A pattern.
    Pattern(Box<Regex>),
    /// A schema, and perhaps the reference.
    Schema {
        /// The judge's own schema.
        own: Option<Box<Validator>>,
        /// Whether the reference has to be met.
        compare: bool,
    },
    /// A command.
    Command(CommandJudge),
    /// A model.
    Model(Box<ModelJudge>),
}

/// A model that judges.
#[derive(Debug)]
pub struct ModelJudge {
    /// What it goes by.
    pub rubric: Rubric,
    /// Whom replies are compared with; none for scores by rubric.
    pub against: Option<Against>,
    /// How it is reached.
    pub endpoint: EndpointSettings,
    /// US dollars per million tokens, in and out, where known.
    pub prices: Option<(f64, f64)>,
}

/// Whom replies are compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Against {
    /// The prompt's reference.
    Reference,
    /// The answer of a tier.
    Tier(String),
}

impl Against {
    /// Whether a tier that is compared with is one of these.
    pub(crate) fn is_one_of(&self, tiers: &[String]) -> bool {
        match self {
            Self::Reference => true,
            Self::Tier(name) => tiers.contains(name),
        }
    }
}

/// How the judges of one prompt are put together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tree {
    /// A judge, by its place in [`Judges::all`].
    One(usize),
    /// The least score.
    All(Vec<Tree>),
    /// The mean score.
    Mean(Vec<Tree>),
}

/// All judges of a run.
#[derive(Debug, Default)]
pub struct Judges {
    all: Vec<Arc<Judge>>,
    by_name: BTreeMap<String, Tree>,
    default: Option<String>,
    by_domain: BTreeMap<String, String>,
    inline: BTreeMap<String, usize>,
}

impl Judge {
    /// A verdict without cost or waiting; none for commands and models.
    pub fn check_now(&self, reply: &str, case: &Case<'_>) -> Option<Verdict> {
        Some(match &self.check {
            Check::Choice(statement) => choice::check(reply, case, *statement),
            Check::Text => text::check(reply, case),
            Check::JsonAnswer => text::check_json_answer(reply, case),
            Check::Numeric(tolerance) => numeric::check(reply, case, *tolerance),
            Check::Pattern(regex) => pattern::check(reply, regex),
            Check::Schema { own, compare } => schema::check(reply, case, own.as_deref(), *compare),
            Check::Command(_) | Check::Model(_) => return None,
        })
    }

    /// The model behind it, if it is one.
    pub fn model(&self) -> Option<&ModelJudge> {
        match &self.check {
            Check::Model(model) => Some(model),
            _ => None,
        }
    }
}

impl Tree {
    /// Places of the judges in it.
    pub fn judges(&self) -> Vec<usize> {
        match self {
            Self::One(judge) => vec![*judge],
            Self::All(of) | Self::Mean(of) => of.iter().flat_map(Self::judges).collect(),
        }
    }

    /// The score, where every judge in it has one.
    pub fn score(&self, of: &impl Fn(usize) -> Option<f64>) -> Option<f64> {
        let scores = |trees: &[Self]| trees.iter().map(|tree| tree.score(of)).collect::<Option<Vec<f64>>>();
        match self {
            Self::One(judge) => of(*judge),
            Self::All(trees) => Some(scores(trees)?.into_iter().fold(1.0, f64::min)),
            Self::Mean(trees) => {
                let scores = scores(trees)?;
                Some(scores.iter().sum::<f64>() / scores.len() as f64)
            }
        }
    }
}

impl Judges {
    /// Compiles the judges of `settings`; rubrics are read from `folder`.
    pub fn new(settings: &JudgeSettings, folder: &Path) -> Result<Self, CollectError> {
        let mut judges = Self {
            default: settings.default.clone(),
            by_domain: settings.by_domain.clone(),
            ..Self::default()
        };
        for name in settings.judges.keys() {
            judges.compile(name, settings, folder, 0)?;
        }
        let named = settings
            .default
            .iter()
            .chain(settings.by_domain.values())
            .chain(&settings.gate.exact);
        for name in named {
            judges.named(name)?;
        }
        Ok(judges)
    }

    /// Every judge.
    pub fn all(&self) -> &[Arc<Judge>] {
        &self.all
    }

    /// Hashes of all judges of a name: those that prompts bring along are named by their kind.
    pub fn hashes_of(&self, name: &str) -> Vec<&str> {
        let of_name = self.all().iter().filter(|judge| judge.name == name);
        of_name.map(|judge| judge.hash.as_str()).collect()
    }

    /// The judges of a prompt: its own, else its domain's, else the default.
    pub fn of_prompt(&mut self, prompt: &Prompt) -> Result<Tree, CollectError> {
        if let Some(own) = &prompt.judge {
            return self
                .of_value(own)
                .map_err(|error| config(&format!("prompt `{}`: {error}", prompt.prompt_id)));
        }
        let name = self.by_domain.get(&prompt.domain).or(self.default.as_ref()).cloned();
        let name = name.ok_or_else(|| {
            config(&format!(
                "prompt `{}` of domain `{}` has no judge: set `judge.default`, or the domain in `judge.by_domain`",
                prompt.prompt_id, prompt.domain
            ))
        })?;
        self.named(&name).cloned()
    }

    /// Names in the configuration.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.by_name.keys().map(String::as_str)
    }

    /// The judge of a name.
    pub fn named(&self, name: &str) -> Result<&Tree, CollectError> {
        self.by_name.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.by_name.keys().map(String::as_str).collect();
            config(&format!(
                "there is no judge `{name}` in [judge.judges]; there are: {}",
                known.join(", ")
            ))
        })
    }

    /// How scores of `tree` are marked.
    pub fn score_kind(&self, tree: &Tree) -> String {
        let of = |trees: &[Tree]| {
            trees
                .iter()
                .map(|tree| self.score_kind(tree))
                .collect::<Vec<_>>()
                .join(", ")
        };
        match tree {
            Tree::One(judge) => self.all[*judge].score_kind.clone(),
            Tree::All(trees) => format!("all({})", of(trees)),
            Tree::Mean(trees) => format!("mean({})", of(trees)),
        }
    }

    /// A prompt's own: a name, a judge, or a list of which all must pass.
    pub(super) fn of_value(&mut self, value: &Value) -> Result<Tree, CollectError> {
        match value {
            Value::String(name) => self.named(name).cloned(),
            Value::Array(list) => Ok(Tree::All(
                list.iter().map(|one| self.of_value(one)).collect::<Result<_, _>>()?,
            )),
            _ => self.inline(value),
        }
    }

    /// A judge that a prompt describes itself. Prompts are data: they may not start commands or name endpoints.
    fn inline(&mut self, value: &Value) -> Result<Tree, CollectError> {
        let text = value.to_string();
        if let Some(judge) = self.inline.get(&text) {
            return Ok(Tree::One(*judge));
        }
        let definition: Definition =
            serde_json::from_value(value.clone()).map_err(|error| config(&format!("its judge: {error}")))?;
        let Some((kind, check, identity)) = plain(&definition)? else {
            return Err(config(
                "its judge is a command, a model or a combination: describe it in [judge.judges.NAME] and name it here",
            ));
        };
        let judge = self.add(kind, kind.to_owned(), check, &identity);
        self.inline.insert(text, judge);
        Ok(Tree::One(judge))
    }

    fn compile(
        &mut self,
        name: &str,
        settings: &JudgeSettings,
        folder: &Path,
        depth: usize,
    ) -> Result<Tree, CollectError> {
        if let Some(tree) = self.by_name.get(name) {
            return Ok(tree.clone());
        }
        if depth > MAX_DEPTH {
            return Err(config(&format!("`judge.judges.{name}` is part of itself")));
        }
        let definition = settings
            .judges
            .get(name)
            .ok_or_else(|| config(&format!("`judge.judges.{name}` is named in `of` and is not there")))?;
        let in_table = |error: CollectError| config(&format!("`judge.judges.{name}`: {error}"));
        let mut parts = |of: &[String]| -> Result<Vec<Tree>, CollectError> {
            if of.is_empty() {
                return Err(config(&format!("`judge.judges.{name}.of` names no judge")));
            }
            of.iter()
                .map(|part| self.compile(part, settings, folder, depth + 1))
                .collect()
        };
        let tree = match definition {
            Definition::All { of } => Tree::All(parts(of)?),
            Definition::Mean { of } => Tree::Mean(parts(of)?),
            _ => match plain(definition).map_err(in_table)? {
                Some((kind, check, identity)) => Tree::One(self.add(name, kind.to_owned(), check, &identity)),
                None => {
                    let (kind, check, identity) = costly(definition, folder).map_err(in_table)?;
                    Tree::One(self.add(name, format!("{kind}:{name}"), check, &identity))
                }
            },
        };
        self.by_name.insert(name.to_owned(), tree.clone());
        Ok(tree)
    }

    fn add(&mut self, name: &str, score_kind: String, check: Check, identity: &Value) -> usize {
        let hash = hex(&Sha256::digest(json!([VERSION, identity]).to_string())[..8]);
        self.all.push(Arc::new(Judge {
            name: name.to_owned(),
            hash,
            score_kind,
            check,
        }));
        self.all.len() - 1
    }
}

/// Kind, check and identity.
type Compiled = (&'static str, Check, Value);

/// Judges that cost nothing and start nothing; none for the others.
fn plain(definition: &Definition) -> Result<Option<Compiled>, CollectError> {
    Ok(Some(match definition {
        Definition::ExactMatch {
            extract: Extract::Choice,
            statement,
        } => ("exact_match", Check::Choice(*statement), json!(["choice", statement])),
        Definition::ExactMatch {
            extract: Extract::Text, ..
        } => ("exact_match", Check::Text, json!(["text"])),
        Definition::ExactMatch {
            extract: Extract::JsonAnswer,
            ..
        } => ("exact_match", Check::JsonAnswer, json!(["json_answer"])),
        Definition::Numeric {
            tolerance,
            relative_tolerance,
        } => {
            if !(*tolerance >= 0.0 && *relative_tolerance >= 0.0) {
                return Err(config("a tolerance must be 0 or more"));
            }
            let tolerance = Tolerance {
                absolute: *tolerance,
                relative: *relative_tolerance,
            };
            (
                "numeric",
                Check::Numeric(tolerance),
                json!(["numeric", tolerance.absolute, tolerance.relative]),
            )
        }
        Definition::Regex { pattern } => {
            let regex = pattern::compile(pattern).map_err(|error| config(&format!("`pattern`: {error}")))?;
            ("regex", Check::Pattern(Box::new(regex)), json!(["regex", pattern]))
        }
        Definition::JsonSchema { schema, compare } => {
            let own = schema.as_ref().map(schema::compile).transpose();
            let own = own
                .map_err(|error| config(&format!("`schema`: {error}")))?
                .map(Box::new);
            (
                "json_schema",
                Check::Schema { own, compare: *compare },
                json!(["json_schema", schema, compare]),
            )
        }
        _ => return Ok(None),
    }))
}

/// Commands and models.
fn costly(definition: &Definition, folder: &Path) -> Result<Compiled, CollectError> {
    match definition {
        Definition::Command {
            command,
            timeout_s,
            input,
        } => {
            if command.is_empty() || !(*timeout_s > 0.0 && *timeout_s <= 3600.0) {
                return Err(config(
                    "`command` needs a program, and `timeout_s` seconds, more than 0 and at most 3600",
                ));
            }
            let judge = CommandJudge {
                command: command.clone(),
                timeout: Duration::from_secs_f64(*timeout_s),
                input: *input,
            };
            Ok((
                "command",
                Check::Command(judge),
                json!(["command", command, format!("{input:?}")]),
            ))
        }
        Definition::LlmRubric {
            rubric,
            scale,
            endpoint,
            input_usd_per_mtok,
            output_usd_per_mtok,
        } => {
            let rubric = Rubric::read(folder, rubric, *scale)?;
            model(
                "llm_rubric",
                rubric,
                None,
                endpoint,
                (*input_usd_per_mtok, *output_usd_per_mtok),
            )
        }
        Definition::LlmPairwise {
            against,
            rubric,
            endpoint,
            input_usd_per_mtok,
            output_usd_per_mtok,
        } => {
            let rubric = match rubric {
                Some(path) => Rubric::read(folder, path, None)?,
                None => Rubric::general(),
            };
            let against = match (against.as_str(), against.strip_prefix("tier:")) {
                ("reference", _) => Against::Reference,
                (_, Some(tier)) => Against::Tier(tier.to_owned()),
                _ => {
                    return Err(config(&format!(
                        "`against` is `{against}`; write reference or tier:NAME"
                    )));
                }
            };
            model(
                "llm_pairwise",
                rubric,
                Some(against),
                endpoint,
                (*input_usd_per_mtok, *output_usd_per_mtok),
            )
        }
        _ => Err(config("this kind of judge stands alone")),
    }
}

fn model(
    kind: &'static str,
    rubric: Rubric,
    against: Option<Against>,
    endpoint: &EndpointSettings,
    prices: (Option<f64>, Option<f64>),
) -> Result<Compiled, CollectError> {
    if [prices.0, prices.1]
        .into_iter()
        .flatten()
        .any(|price| !(price >= 0.0 && price.is_finite()))
    {
        return Err(config("prices are US dollars per million tokens, 0 or more"));
    }
    let identity = json!([
        kind,
        rubric.text,
        [rubric.scale.low, rubric.scale.high],
        format!("{against:?}"),
        endpoint.model(),
        endpoint.parameters(),
    ]);
    let model = ModelJudge {
        rubric,
        against,
        endpoint: endpoint.clone(),
        prices: prices.0.zip(prices.1),
    };
    Ok((kind, Check::Model(Box::new(model)), identity))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENDPOINT: &str = "endpoint = { base_url = \"http://127.0.0.1:1/v1\", model = \"m\" }\n";

    fn judges(text: &str) -> Result<Judges, CollectError> {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("r.md"), "Be right.").unwrap();
        Judges::new(&JudgeSettings::parse(text)?, folder.path())
    }

    fn refused(text: &str, part: &str) {
        let message = judges(text).map(|_| ()).unwrap_err().to_string();
        assert!(message.contains(part), "{text}: {message}");
    }

    #[test]
    fn refusals_name_the_key() {
        refused("", "no table [judge]");
        refused("[judge]\ndefault = \"x\"\n", "no judge `x`");
        refused("[judge]\nrepeat = 3\n", "repeat");
        refused("[judge.gate]\nmin_parse_rate = 3\n", "min_parse_rate");
        refused("[judge.judges.a]\nkind = \"guess\"\n", "guess");
        refused(
            "[judge.judges.a]\nkind = \"regex\"\npattern = \"(\"\n",
            "`judge.judges.a`: `pattern`",
        );
        refused("[judge.judges.a]\nkind = \"numeric\"\ntolerance = -1\n", "tolerance");
        refused(
            "[judge.judges.a]\nkind = \"exact_match\"\nextract = \"choice\"\nstrict = true\n",
            "strict",
        );
        refused("[judge.judges.a]\nkind = \"all\"\nof = [\"b\"]\n", "judge.judges.b");
        refused("[judge.judges.a]\nkind = \"all\"\nof = [\"a\"]\n", "part of itself");
        refused(
            &format!("[judge.judges.a]\nkind = \"llm_rubric\"\nrubric = \"none.md\"\n{ENDPOINT}"),
            "none.md",
        );
        refused(
            &format!("[judge.judges.a]\nkind = \"llm_pairwise\"\nagainst = \"me\"\n{ENDPOINT}"),
            "reference or tier:NAME",
        );
    }

    #[test]
    fn the_hash_covers_what_a_verdict_rests_on() {
        let hash = |more: &str| {
            let text = format!("[judge.judges.a]\nkind = \"llm_rubric\"\nrubric = \"r.md\"\n{more}");
            judges(&text).unwrap().all()[0].hash.clone()
        };
        let base = hash(ENDPOINT);
        assert_eq!(base, hash(&ENDPOINT.replace("127.0.0.1:1", "127.0.0.1:2")));
        assert_ne!(base, hash(&ENDPOINT.replace("\"m\"", "\"n\"")));
        assert_ne!(base, hash(&format!("scale = [1, 5]\n{ENDPOINT}")));
    }

    #[test]
    fn judges_of_prompts() {
        let mut judges = judges(
            "[judge]\ndefault = \"letter\"\nby_domain = { math = \"number\" }\n[judge.judges.letter]\nkind = \"exact_match\"\n\
             extract = \"choice\"\n[judge.judges.number]\nkind = \"numeric\"\n[judge.judges.both]\nkind = \"mean\"\n\
             of = [\"letter\", \"number\"]\n",
        )
        .unwrap();
        let mut kind = |judge: Value| {
            let tree = judges.of_value(&judge).map_err(|error| error.to_string())?;
            Ok::<String, String>(judges.score_kind(&tree))
        };
        assert_eq!(kind(json!("both")).unwrap(), "mean(exact_match, numeric)");
        assert_eq!(kind(json!({"kind": "regex", "pattern": "^42$"})).unwrap(), "regex");
        assert_eq!(
            kind(json!(["letter", {"kind": "regex", "pattern": "x"}])).unwrap(),
            "all(exact_match, regex)"
        );
        assert!(
            kind(json!({"kind": "command", "command": ["rm"]}))
                .unwrap_err()
                .contains("name it here")
        );
        assert!(kind(json!({"kind": "regex"})).unwrap_err().contains("pattern"));
    }

    #[test]
    fn scores_together() {
        let of = |judge: usize| [Some(1.0), Some(0.5), None][judge];
        let check = |tree: Tree, expected| assert_eq!(tree.score(&of), expected, "{tree:?}");
        check(Tree::All(vec![Tree::One(0), Tree::One(1)]), Some(0.5));
        check(Tree::Mean(vec![Tree::One(0), Tree::One(1)]), Some(0.75));
        check(Tree::Mean(vec![Tree::One(0), Tree::One(2)]), None);
    }
}
