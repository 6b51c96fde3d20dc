//! Reading segments of a journal: row by row, and only the columns that are wanted.
//!
//! A report folds many millions of rows, so what nobody asked for is not decoded, and words are shared.

use std::fs::File;
use std::ops::ControlFlow;
use std::path::Path;

use arrow::array::{RecordBatch, StructArray};
use arrow::datatypes::SchemaRef;
use parquet::arrow::ProjectionMask;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::file::metadata::FileMetaData;

use super::cells::{Known, Table};
use super::rows::{FeedbackColumns, ServedColumns};
use super::writing::{feedback_batch, served_batch};
use super::{Feedback, KIND_KEY, SegmentKind, Served, VERSION_KEY};
use crate::error::{Fault, Problem, RecordsError};

/// Columns that came later, last in their segments, and the first version that has them.
const ADDED: [(&str, u32); 2] = [("judge_hash", 2), ("sample_rate", 2)];

/// Rows decoded at a time.
const BATCH_ROWS: usize = 4096;

/// The heavy columns that are wanted; the others are always there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Parts {
    /// `quality_pmf` of every tier; left out, it is empty.
    pub pmf: bool,
    /// `features`.
    pub features: bool,
    /// `prompt` and `reply`.
    pub text: bool,
}

impl Parts {
    /// Everything that was written.
    pub const ALL: Self = Self {
        pmf: true,
        features: true,
        text: true,
    };

    fn leave_out(self) -> impl Fn(&str) -> bool {
        move |name| match name {
            "quality_pmf" => !self.pmf,
            "features" => !self.features,
            "prompt" | "reply" => !self.text,
            _ => false,
        }
    }

    /// A row without what is not wanted, for rows that were read as a whole.
    pub fn trim(self, row: &mut Served) {
        if !self.pmf {
            row.tiers.iter_mut().for_each(|tier| tier.quality_pmf = Vec::new());
        }
        if !self.features {
            row.features = None;
        }
        if !self.text {
            row.prompt = None;
            row.reply = None;
        }
    }
}

/// Hands the rows of `path` to `row`, in the order in which they were written, until it breaks.
/// [`RecordsError::NewerSegment`] where a newer build wrote it, [`RecordsError::BrokenSegment`] where it is
/// cut or damaged, which may show only after some rows.
pub fn read_served(
    path: &Path,
    parts: Parts,
    row: &mut dyn FnMut(Served) -> ControlFlow<()>,
) -> Result<(), RecordsError> {
    let (schema, leave_out) = (served_batch(&[]).schema(), parts.leave_out());
    let mut known = Known::default();
    each_batch(path, SegmentKind::Served, &schema, leave_out, |batch| {
        let columns = ServedColumns::of(Table::new(batch), &mut known)?;
        Ok((0..columns.n_rows()).try_for_each(|i| row(columns.row(i))))
    })
}

/// Hands what was said in `path` to `row`, in the order in which it was written, until it breaks. Errors
/// as of [`read_served`].
pub fn read_feedback(path: &Path, row: &mut dyn FnMut(Feedback) -> ControlFlow<()>) -> Result<(), RecordsError> {
    let schema = feedback_batch(&[]).schema();
    let mut known = Known::default();
    each_batch(
        path,
        SegmentKind::Feedback,
        &schema,
        |_| false,
        |batch| {
            let columns = FeedbackColumns::of(Table::new(batch), &mut known)?;
            Ok((0..columns.n_rows()).try_for_each(|i| row(columns.row(i))))
        },
    )
}

fn each_batch(
    path: &Path,
    kind: SegmentKind,
    schema: &SchemaRef,
    leave_out: impl Fn(&str) -> bool,
    mut each: impl FnMut(&StructArray) -> Result<ControlFlow<()>, Fault>,
) -> Result<(), RecordsError> {
    let broken = |source| RecordsError::BrokenSegment {
        file: path.to_path_buf(),
        source,
    };
    let file = File::open(path).map_err(RecordsError::io(path, "opened"))?;
    let builder = ParquetRecordBatchReaderBuilder::try_new(file).map_err(broken)?;
    let version = check_notes(path, kind, builder.metadata().file_metadata())?;
    check_schema(path, builder.schema(), schema, version)?;
    let leaves = builder.parquet_schema().columns().iter().enumerate();
    let wanted: Vec<usize> = leaves
        .filter(|(_, leaf)| !leaf.path().parts().iter().any(|part| leave_out(part)))
        .map(|(at, _)| at)
        .collect();
    let mask = ProjectionMask::leaves(builder.parquet_schema(), wanted);
    let batches = builder.with_projection(mask).with_batch_size(BATCH_ROWS).build();
    for batch in batches.map_err(broken)? {
        let batch: RecordBatch = batch.map_err(|error| broken(error.into()))?;
        let flow = each(&StructArray::from(batch)).map_err(|fault| RecordsError::invalid(path, fault.at(None)))?;
        if flow.is_break() {
            break;
        }
    }
    Ok(())
}

/// Its version, which is looked at before anything but a kind that is known as another: a newer file may differ in
/// everything else.
fn check_notes(path: &Path, kind: SegmentKind, metadata: &FileMetaData) -> Result<u32, RecordsError> {
    let notes = || metadata.key_value_metadata().into_iter().flatten();
    let note = |key: &str| {
        notes()
            .find(|note| note.key == key)
            .and_then(|note| note.value.as_deref())
    };
    let version: Option<u32> = note(VERSION_KEY).and_then(|version| version.parse().ok());
    let found_kind = note(KIND_KEY);
    let kinds = [SegmentKind::Served, SegmentKind::Feedback];
    let is_other = kinds
        .iter()
        .any(|other| *other != kind && found_kind == Some(other.name()));
    match version {
        None => Err(no_segment(
            path,
            &format!("its metadata has no number under `{VERSION_KEY}`"),
        )),
        Some(_) if is_other => Err(no_segment(
            path,
            &format!(
                "it holds {} where {} is read",
                found_kind.unwrap_or_default(),
                kind.name()
            ),
        )),
        Some(found) if found > kind.version() => Err(RecordsError::NewerSegment {
            file: path.to_path_buf(),
            found,
            known: kind.version(),
        }),
        Some(_) if found_kind != Some(kind.name()) => Err(no_segment(
            path,
            &format!("it does not say that it holds {}", kind.name()),
        )),
        Some(found) => Ok(found),
    }
}

fn check_schema(path: &Path, found: &SchemaRef, expected: &SchemaRef, version: u32) -> Result<(), RecordsError> {
    let is_newer = |name: &str| ADDED.iter().any(|(added, since)| *added == name && *since > version);
    let expected: Vec<_> = expected
        .fields()
        .iter()
        .filter(|field| !is_newer(field.name()))
        .collect();
    let differs = |(found, expected): (&arrow::datatypes::FieldRef, &arrow::datatypes::FieldRef)| {
        (found != expected).then(|| format!("column `{}` is not as this build writes it", expected.name()))
    };
    let n_columns = found.fields().len();
    let what = match found.fields().iter().zip(expected.iter().copied()).find_map(differs) {
        None if n_columns == expected.len() => return Ok(()),
        None => format!("it has {n_columns} columns"),
        Some(what) => what,
    };
    Err(no_segment(path, &what))
}

fn no_segment(path: &Path, what: &str) -> RecordsError {
    let problem = Problem {
        row: None,
        line: None,
        column: None,
        what: format!("this is no segment of a journal: {what}"),
        mend: "Move it out of the folder of the journal".to_owned(),
    };
    RecordsError::invalid(path, problem)
}
