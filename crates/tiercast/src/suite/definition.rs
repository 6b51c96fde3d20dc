//! What a suite is: `evals/suites/NAME.toml`.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;
use serde::Deserialize;

use crate::arguments::UsageError;

/// A suite file.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Suite {
    /// Its file's name, without ending.
    #[serde(skip)]
    pub(crate) name: String,
    /// For a reader.
    pub(crate) title: String,
    /// Where the data and the protocol come from, and what to know.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    /// Rows that parts refer to.
    pub(crate) set: Vec<Set>,
    /// What is measured, in order.
    pub(crate) part: Vec<Part>,
}

/// Rows of a file, answered by some of its models.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Set {
    /// Name inside the suite.
    pub(crate) name: String,
    /// Outcome file, looked up in the data folder.
    pub(crate) file: String,
    /// Models of the file, in the order of the catalog.
    pub(crate) tiers: Vec<String>,
    /// Common names for them where sets are pooled, parallel to `tiers`.
    #[serde(default)]
    pub(crate) stand_for: Vec<String>,
    /// Only these subsets; all when empty.
    #[serde(default)]
    pub(crate) subsets: Vec<String>,
    /// Without these subsets.
    #[serde(default)]
    pub(crate) without_subsets: Vec<String>,
}

impl Set {
    /// Whether prompts of this subset belong to it.
    pub(crate) fn has_subset(&self, subset: &str) -> bool {
        let is_in = |list: &[String]| list.iter().any(|name| name == subset);
        (self.subsets.is_empty() || is_in(&self.subsets)) && !is_in(&self.without_subsets)
    }
}

/// One protocol.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    /// Name inside the suite.
    pub(crate) name: String,
    /// How rows are divided.
    pub(crate) protocol: Protocol,
    /// Names of its sets: one, or for `transfer` all that are pooled.
    pub(crate) sets: Vec<String>,
    /// For folds: train and validation prompts of each fold together, when fewer than there are.
    #[serde(default)]
    pub(crate) labels: Option<usize>,
    /// For `transfer`: sets to test on, each left out in turn.
    #[serde(default)]
    pub(crate) test_on: Vec<String>,
    /// For `transfer`: sets whose mean is given.
    #[serde(default)]
    pub(crate) mean_over: Vec<String>,
    /// For `transfer`: the pair of tiers that is measured.
    #[serde(default)]
    pub(crate) pair: Vec<String>,
}

/// How rows are divided into train, validation and test.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Protocol {
    /// As the file says.
    Split,
    /// Five folds by question, over all rows of the file.
    Folds,
    /// Five folds by subset: whole subsets are held out.
    Unseen,
    /// Trained on all sets but one, tested on that one.
    Transfer,
}

impl Suite {
    /// The set of this name; checked when the suite was read.
    pub(crate) fn set(&self, name: &str) -> &Set {
        let found = self.set.iter().find(|set| set.name == name);
        found.expect("parts name sets of their suite: `check` has seen to it")
    }

    /// Files of all sets, each once, in order.
    pub(crate) fn files(&self) -> Vec<&str> {
        let mut seen = BTreeSet::new();
        self.set
            .iter()
            .map(|set| set.file.as_str())
            .filter(|file| seen.insert(*file))
            .collect()
    }
}

/// Reads suite `name` of `folder`, or all of them for `all`.
pub(crate) fn find(folder: &Path, name: &str) -> anyhow::Result<Vec<Suite>> {
    let known = known(folder)?;
    let wanted: Vec<&String> = known.iter().filter(|suite| name == "all" || *suite == name).collect();
    if wanted.is_empty() {
        let list = known.join(", ");
        return Err(UsageError(format!(
            "there is no suite `{name}` in {}: name one of {list}, or all",
            folder.display()
        ))
        .into());
    }
    wanted.into_iter().map(|name| read(folder, name)).collect()
}

/// Names of the suites, in order.
fn known(folder: &Path) -> anyhow::Result<Vec<String>> {
    let none = || {
        UsageError(format!(
            "{} holds no suites: run this in the checkout, or name the folder with --suites",
            folder.display()
        ))
    };
    let entries = fs::read_dir(folder).map_err(|_| none())?;
    let paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<std::io::Result<_>>()?;
    let mut names: Vec<String> = paths
        .iter()
        .filter(|path| path.extension().is_some_and(|ending| ending == "toml"))
        .filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
        .collect();
    names.sort();
    if names.is_empty() {
        Err(none().into())
    } else {
        Ok(names)
    }
}

fn read(folder: &Path, name: &str) -> anyhow::Result<Suite> {
    let path = folder.join(format!("{name}.toml"));
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read the suite {}", path.display()))?;
    let refuse = |what: String| UsageError(format!("{}: {what}", path.display()));
    let suite: Suite = toml::from_str(&text).map_err(|error| refuse(error.to_string()))?;
    check(&suite).map_err(refuse)?;
    Ok(Suite {
        name: name.to_owned(),
        ..suite
    })
}

/// What the types do not say; the error names the place and the mend.
fn check(suite: &Suite) -> Result<(), String> {
    for set in &suite.set {
        if set.tiers.len() < 2 {
            return Err(format!("set `{}` has fewer than two tiers", set.name));
        }
        if !set.stand_for.is_empty() && set.stand_for.len() != set.tiers.len() {
            return Err(format!("set `{}`: `stand_for` needs one name per tier", set.name));
        }
    }
    suite.part.iter().try_for_each(|part| check_part(suite, part))
}

fn check_part(suite: &Suite, part: &Part) -> Result<(), String> {
    let refuse = |what: &str| Err(format!("part `{}`: {what}", part.name));
    let is_transfer = part.protocol == Protocol::Transfer;
    for name in part.sets.iter().chain(&part.mean_over).chain(&part.test_on) {
        if !suite.set.iter().any(|set| set.name == *name) {
            return refuse(&format!("there is no set `{name}`"));
        }
    }
    if part.mean_over.iter().any(|name| !part.test_on.contains(name)) {
        return refuse("`mean_over` may name only what `test_on` names");
    }
    if is_transfer != (part.sets.len() > 1) || part.sets.is_empty() {
        return refuse("`sets` has one name, or for `transfer` several");
    }
    if is_transfer != (part.pair.len() == 2) || is_transfer == part.test_on.is_empty() {
        return refuse("`pair` (two tiers) and `test_on` belong to `transfer`, which needs both");
    }
    if part.labels.is_some() && !matches!(part.protocol, Protocol::Folds | Protocol::Unseen) {
        return refuse("`labels` belongs to folds");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set() -> Set {
        Set {
            name: "a".to_owned(),
            file: "a.parquet".to_owned(),
            tiers: vec!["x".to_owned(), "y".to_owned()],
            stand_for: Vec::new(),
            subsets: Vec::new(),
            without_subsets: vec!["gsm8k".to_owned()],
        }
    }

    #[test]
    fn subsets_are_chosen_by_name() {
        assert!(set().has_subset("law") && !set().has_subset("gsm8k"));
        let only = Set {
            subsets: vec!["law".to_owned()],
            ..set()
        };
        assert!(only.has_subset("law") && !only.has_subset("art"));
    }

    #[test]
    fn parts_that_will_not_do() {
        let check = |part: &str, expected: &str| {
            let text = format!(
                "title = \"t\"\nset = [{{ name = \"a\", file = \"a.parquet\", tiers = [\"x\", \"y\"] }}]\n[[part]]\nname = \"p\"\n{part}"
            );
            let suite: Suite = toml::from_str(&text).unwrap();
            assert_eq!(check(&suite).err().unwrap_or_default(), expected, "{part}");
        };
        check("protocol = \"split\"\nsets = [\"a\"]", "");
        check("protocol = \"split\"\nsets = [\"b\"]", "part `p`: there is no set `b`");
        check(
            "protocol = \"transfer\"\nsets = [\"a\"]",
            "part `p`: `sets` has one name, or for `transfer` several",
        );
        check(
            "protocol = \"split\"\nsets = [\"a\"]\nlabels = 9",
            "part `p`: `labels` belongs to folds",
        );
    }
}
