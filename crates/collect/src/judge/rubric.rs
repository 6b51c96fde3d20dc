//! Rubrics: Markdown files that say what a good answer is, with a front matter for the scale.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::settings::config;
use crate::error::CollectError;

/// What a score means where neither the rubric nor the configuration says.
const DEFAULT_SCALE: Scale = Scale { low: 1.0, high: 10.0 };

/// For pairwise judges without a rubric of their own.
const GENERAL: &str = "Prefer the answer that is correct, does what was asked, and says so clearly. Neither length nor \
                       tone counts in itself. Where both are equally good or equally bad, call it a tie.";

/// A rubric.
#[derive(Debug, Clone, PartialEq)]
pub struct Rubric {
    /// What to look at, in Markdown.
    pub text: String,
    /// Lowest and highest score.
    pub scale: Scale,
}

/// Lowest and highest score.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Scale {
    /// The worst.
    pub low: f64,
    /// The best.
    pub high: f64,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct FrontMatter {
    scale: Option<[f64; 2]>,
}

impl Scale {
    /// A score as quality in [0, 1]; none outside the scale.
    pub fn quality(self, score: f64) -> Option<f64> {
        let quality = (score - self.low) / (self.high - self.low);
        (-1e-9..=1.0 + 1e-9)
            .contains(&quality)
            .then_some(quality.clamp(0.0, 1.0))
    }

    fn checked([low, high]: [f64; 2], of: &str) -> Result<Self, CollectError> {
        if low.is_finite() && high.is_finite() && low < high {
            return Ok(Self { low, high });
        }
        Err(config(&format!(
            "{of}: `scale` is [{low}, {high}]; write the lowest score and then the highest, as in [1, 10]"
        )))
    }
}

impl Rubric {
    /// What a pairwise judge goes by without a file.
    pub fn general() -> Self {
        Self {
            text: GENERAL.to_owned(),
            scale: Scale { low: 0.0, high: 1.0 },
        }
    }

    /// Reads `path` inside `folder`. `scale` outranks that of the front matter.
    pub fn read(folder: &Path, path: &Path, scale: Option<[f64; 2]>) -> Result<Self, CollectError> {
        let path: PathBuf = folder.join(path);
        let text = std::fs::read_to_string(&path).map_err(CollectError::io(&path, "read"))?;
        Self::parse(&text, scale, &path.display().to_string())
    }

    /// The text of a file, named `of` in messages: TOML between two lines `+++`, then Markdown.
    pub fn parse(text: &str, scale: Option<[f64; 2]>, of: &str) -> Result<Self, CollectError> {
        let text = text.trim_start_matches('\u{feff}').replace("\r\n", "\n");
        let (front, body) = match text.strip_prefix("+++\n").and_then(|rest| rest.split_once("\n+++")) {
            Some((front, body)) => (toml::from_str(front), body),
            None => (Ok(FrontMatter::default()), text.as_str()),
        };
        let front = front.map_err(|error| config(&format!("the front matter of {of}: {error}")))?;
        if body.trim().is_empty() {
            return Err(config(&format!("{of} has no text: say what a good answer is")));
        }
        let scale = scale
            .or(front.scale)
            .map(|scale| Scale::checked(scale, of))
            .transpose()?;
        Ok(Self {
            text: body.trim().to_owned(),
            scale: scale.unwrap_or(DEFAULT_SCALE),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn front_matter_and_scale() {
        let check = |text: &str, scale: Option<[f64; 2]>, expected: (f64, f64)| {
            let rubric = Rubric::parse(text, scale, "r.md").unwrap();
            assert_eq!(
                ((rubric.scale.low, rubric.scale.high), rubric.text.as_str()),
                (expected, "Be right."),
                "{text}"
            );
        };
        check("Be right.", None, (1.0, 10.0));
        check("+++\nscale = [0, 4]\n+++\n\nBe right.\n", None, (0.0, 4.0));
        check("+++\nscale = [0, 4]\n+++\nBe right.", Some([1.0, 5.0]), (1.0, 5.0));
    }

    #[test]
    fn refusals() {
        for text in [
            "",
            "+++\nscale = [5, 1]\n+++\nx",
            "+++\nscales = [1, 5]\n+++\nx",
            "+++\nscale = [1, 5]\n+++\n",
        ] {
            assert!(Rubric::parse(text, None, "r.md").is_err(), "{text}");
        }
    }

    #[test]
    fn quality_of_scores() {
        let scale = Scale { low: 1.0, high: 5.0 };
        assert_eq!(
            (scale.quality(1.0), scale.quality(3.0), scale.quality(5.0)),
            (Some(0.0), Some(0.5), Some(1.0))
        );
        assert_eq!((scale.quality(0.0), scale.quality(6.0)), (None, None));
    }
}
