//! The cells of one row and the checks that need no other row. Reading and validating share them.

use arrow::array::{Float64Array, RecordBatch, StringArray};
use arrow::datatypes::Schema;
use arrow::error::ArrowError;

use super::{CostKind, Split};
use crate::error::{Fault, Problem, Problems};
use crate::split;
use crate::table::{Kind, check_column, number_at, number_column, text_at, text_column};

/// Columns that carry the prompt's text; not even decoded where no text is wanted.
const TEXT_COLUMNS: [&str; 2] = ["prompt", "prompt_format"];

/// Name, kind, whether a file must have it. `response` and `reference` are never read.
const COLUMNS: [(&str, Kind, bool); 18] = [
    ("prompt_id", Kind::Text, true),
    ("split", Kind::Text, true),
    ("model", Kind::Text, true),
    ("score", Kind::Number, true),
    ("split_key", Kind::Text, false),
    ("dataset", Kind::Text, false),
    ("subset", Kind::Text, false),
    ("domain", Kind::Text, false),
    ("model_tier", Kind::Number, false),
    ("score_kind", Kind::Text, false),
    ("n_samples", Kind::Number, false),
    ("input_tokens", Kind::Number, false),
    ("output_tokens", Kind::Number, false),
    ("cost_usd", Kind::Number, false),
    ("cost_kind", Kind::Text, false),
    ("latency_s", Kind::Number, false),
    ("prompt", Kind::Text, false),
    ("prompt_format", Kind::Text, false),
];

/// Columns to decode.
pub(super) fn columns(with_text: bool) -> Vec<&'static str> {
    let names = COLUMNS.iter().map(|(name, ..)| *name);
    names.filter(|name| with_text || !TEXT_COLUMNS.contains(name)).collect()
}

/// Columns that are missing or of a type that cannot be read.
pub(super) fn check_schema(schema: &Schema) -> Vec<Problem> {
    let checks = COLUMNS
        .iter()
        .map(|(name, kind, required)| check_column(schema, name, *kind, *required));
    checks.filter_map(Result::err).map(|fault| fault.at(None)).collect()
}

/// The columns of one batch. Absent ones read as null.
pub(super) struct Cells {
    prompt_id: Option<StringArray>,
    split: Option<StringArray>,
    split_key: Option<StringArray>,
    dataset: Option<StringArray>,
    subset: Option<StringArray>,
    domain: Option<StringArray>,
    model: Option<StringArray>,
    model_tier: Option<Float64Array>,
    score: Option<Float64Array>,
    score_kind: Option<StringArray>,
    n_samples: Option<Float64Array>,
    input_tokens: Option<Float64Array>,
    output_tokens: Option<Float64Array>,
    cost_usd: Option<Float64Array>,
    cost_kind: Option<StringArray>,
    latency_s: Option<Float64Array>,
    prompt: Option<StringArray>,
    prompt_format: Option<StringArray>,
}

/// A row whose own cells are right. `None` stands for absent or null.
pub(super) struct Row<'a> {
    pub(super) prompt_id: &'a str,
    pub(super) split: Split,
    pub(super) split_key: Option<&'a str>,
    pub(super) dataset: Option<&'a str>,
    pub(super) subset: &'a str,
    pub(super) domain: &'a str,
    pub(super) model: &'a str,
    pub(super) class: Option<u8>,
    pub(super) score: f64,
    pub(super) score_kind: &'a str,
    pub(super) n_samples: u32,
    pub(super) input_tokens: Option<u32>,
    pub(super) output_tokens: Option<u32>,
    pub(super) cost_usd: Option<f64>,
    pub(super) cost_kind: CostKind,
    pub(super) latency_s: Option<f64>,
    pub(super) prompt: Option<&'a str>,
    pub(super) is_messages_json: bool,
}

impl Cells {
    /// The columns of `batch`, of whatever width they are stored in.
    pub(super) fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let text = |column| text_column(batch, column);
        let number = |column| number_column(batch, column);
        Ok(Self {
            prompt_id: text("prompt_id")?,
            split: text("split")?,
            split_key: text("split_key")?,
            dataset: text("dataset")?,
            subset: text("subset")?,
            domain: text("domain")?,
            model: text("model")?,
            model_tier: number("model_tier")?,
            score: number("score")?,
            score_kind: text("score_kind")?,
            n_samples: number("n_samples")?,
            input_tokens: number("input_tokens")?,
            output_tokens: number("output_tokens")?,
            cost_usd: number("cost_usd")?,
            cost_kind: text("cost_kind")?,
            latency_s: number("latency_s")?,
            prompt: text("prompt")?,
            prompt_format: text("prompt_format")?,
        })
    }

    /// The row at `i`, named `at` in messages. Every cell is checked before any makes it fail.
    pub(super) fn row(&self, i: usize, at: u64, problems: &mut Problems) -> Option<Row<'_>> {
        let cost = problems.note(at, self.cost(i));
        let prompt_id = problems.note(
            at,
            name(
                &self.prompt_id,
                i,
                "prompt_id",
                "Name the prompt, the same for every model",
            ),
        );
        let model = problems.note(at, name(&self.model, i, "model", "Name the model that answered"));
        let split = problems.note(at, split_of(text_at(self.split.as_ref(), i)));
        let score = problems.note(at, score_of(number_at(self.score.as_ref(), i)));
        let class = problems.note(at, class_of(number_at(self.model_tier.as_ref(), i)));
        let n_samples = problems.note(at, samples_of(number_at(self.n_samples.as_ref(), i)));
        let input_tokens = problems.note(at, whole("input_tokens", number_at(self.input_tokens.as_ref(), i)));
        let output_tokens = problems.note(at, whole("output_tokens", number_at(self.output_tokens.as_ref(), i)));
        let latency_s = problems.note(
            at,
            amount("latency_s", "seconds", number_at(self.latency_s.as_ref(), i)),
        );
        let is_messages_json = problems.note(at, format_of(text_at(self.prompt_format.as_ref(), i)));
        let (cost_usd, cost_kind) = cost?;
        Some(Row {
            prompt_id: prompt_id?,
            split: split?,
            split_key: text_at(self.split_key.as_ref(), i).filter(|key| !key.is_empty()),
            dataset: text_at(self.dataset.as_ref(), i),
            subset: text_at(self.subset.as_ref(), i).unwrap_or_default(),
            domain: text_at(self.domain.as_ref(), i).unwrap_or_default(),
            model: model?,
            class: class?,
            score: score?,
            score_kind: text_at(self.score_kind.as_ref(), i).unwrap_or("unspecified"),
            n_samples: n_samples?,
            input_tokens: input_tokens?,
            output_tokens: output_tokens?,
            cost_usd,
            cost_kind,
            latency_s: latency_s?,
            prompt: text_at(self.prompt.as_ref(), i),
            is_messages_json: is_messages_json?,
        })
    }

    /// Cost and what it covers. A cost of no stated kind counts as reported.
    fn cost(&self, i: usize) -> Result<(Option<f64>, CostKind), Fault> {
        let kind = text_at(self.cost_kind.as_ref(), i).map(cost_kind_of).transpose()?;
        let cost_usd = amount("cost_usd", "US dollars", number_at(self.cost_usd.as_ref(), i))?;
        match (cost_usd, kind) {
            (None, _) => Ok((None, CostKind::None)),
            (Some(cost), Some(CostKind::None)) => Err(Fault::new(
                "cost_kind",
                format!("it is `none` beside a cost_usd of {cost}"),
                "Leave cost_usd empty, or say what the cost covers",
            )),
            (cost_usd, kind) => Ok((cost_usd, kind.unwrap_or(CostKind::Reported))),
        }
    }
}

pub(crate) fn name<'a>(
    cells: &'a Option<StringArray>,
    i: usize,
    column: &'static str,
    mend: &str,
) -> Result<&'a str, Fault> {
    let cell = text_at(cells.as_ref(), i).filter(|name| !name.is_empty());
    cell.ok_or_else(|| Fault::new(column, "it is empty", mend))
}

fn split_of(cell: Option<&str>) -> Result<Split, Fault> {
    cell.and_then(Split::from_name).ok_or_else(|| {
        let found = cell.map_or("it is empty".to_owned(), |cell| format!("`{cell}` is no split"));
        let mend = format!(
            "Write train, validation, test or holdout. The rule for new data: {}",
            split::RULE
        );
        Fault::new("split", found, mend)
    })
}

fn score_of(cell: Option<f64>) -> Result<f64, Fault> {
    let fault = |what: String, mend: &str| Err(Fault::new("score", what, mend));
    match cell {
        None => fault("it is empty".to_owned(), "Leave out rows that were not judged"),
        Some(score) if score.is_nan() => fault("it is NaN".to_owned(), "Leave out rows that were not judged"),
        Some(score) if !(0.0..=1.0).contains(&score) => fault(
            format!("{score} is outside [0, 1]"),
            "Scale scores so that 0 is worst and 1 is best",
        ),
        Some(score) => Ok(score),
    }
}

fn class_of(cell: Option<f64>) -> Result<Option<u8>, Fault> {
    match cell {
        None => Ok(None),
        Some(1.0) => Ok(Some(1)),
        Some(2.0) => Ok(Some(2)),
        Some(3.0) => Ok(Some(3)),
        Some(4.0) => Ok(Some(4)),
        Some(other) => Err(Fault::new(
            "model_tier",
            format!("{other} is no tier class"),
            "Write 1 (frontier or reasoner), 2 (mid generalist), 3 (light) or 4 (fine-tuned for one domain)",
        )),
    }
}

fn samples_of(cell: Option<f64>) -> Result<u32, Fault> {
    match whole("n_samples", cell)? {
        None => Ok(1),
        Some(0) => Err(Fault::new(
            "n_samples",
            "it is 0",
            "Write how many samples the score averages, at least 1",
        )),
        Some(n) => Ok(n),
    }
}

fn cost_kind_of(cell: &str) -> Result<CostKind, Fault> {
    CostKind::from_name(cell).ok_or_else(|| {
        let allowed = CostKind::ALL.map(CostKind::name).join(", ");
        Fault::new(
            "cost_kind",
            format!("`{cell}` is no kind of cost"),
            format!("Write one of: {allowed}"),
        )
    })
}

pub(crate) fn format_of(cell: Option<&str>) -> Result<bool, Fault> {
    match cell {
        None | Some("text") => Ok(false),
        Some("messages_json") => Ok(true),
        Some(other) => {
            let mend = "Write text, or messages_json for {\"messages\": [...], \"tools\": [...]}";
            Err(Fault::new("prompt_format", format!("`{other}` is no format"), mend))
        }
    }
}

/// A count. Averages over samples are rounded.
pub(crate) fn whole(column: &'static str, cell: Option<f64>) -> Result<Option<u32>, Fault> {
    let wrong = |number: f64| {
        Fault::new(
            column,
            format!("{number} is no count"),
            "Write a whole number from 0, or leave the cell empty (null)",
        )
    };
    match cell {
        None => Ok(None),
        Some(number) if (0.0..=f64::from(u32::MAX)).contains(&number) => Ok(Some(number.round() as u32)),
        Some(number) => Err(wrong(number)),
    }
}

/// A finite number from 0.
pub(crate) fn amount(column: &'static str, unit: &str, cell: Option<f64>) -> Result<Option<f64>, Fault> {
    match cell {
        Some(number) if !(number.is_finite() && number >= 0.0) => Err(Fault::new(
            column,
            format!("{number} cannot be {unit}"),
            format!("Write {unit} from 0, or leave the cell empty (null)"),
        )),
        cell => Ok(cell),
    }
}
