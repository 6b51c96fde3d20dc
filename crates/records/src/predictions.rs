//! Predictions of a checkpoint, one row per prompt and model: the file by which outside tools judge
//! the router.

use std::fs::File;
use std::io;
use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, Float64Builder, ListBuilder, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Field, Float64Type};

use crate::disk::write_atomically;
use crate::error::{Fault, RecordsError};
use crate::table::{Kind, batches, cast_column, check_column, open, properties, write_batches};

/// Rows held while writing.
const CHUNK_ROWS: usize = 4096;

/// Predictions are made often and rarely kept: quick to write.
const ZSTD_LEVEL: i32 = 3;

/// How far the sum of a mass may lie from one.
const MASS_TOLERANCE: f64 = 1e-6;

/// What a checkpoint expects of one model on one prompt.
#[derive(Debug, Clone, PartialEq)]
pub struct Prediction {
    /// The prompt.
    pub prompt_id: String,
    /// The model, by name.
    pub model: String,
    /// Expected quality.
    pub quality_mean: f64,
    /// Qualities that have mass, rising; the same in every row.
    pub quality_grid: Vec<f64>,
    /// Mass at each of them; sums to one.
    pub quality_pmf: Vec<f64>,
    /// Expected cost of the call in US dollars, above zero.
    pub cost_usd: f64,
    /// Expected tokens of the reply.
    pub output_tokens: f64,
}

/// Writes `rows` as they come; a few thousand are held at a time. Returns how many there were.
pub fn write(path: &Path, rows: impl IntoIterator<Item = Prediction>) -> Result<u64, RecordsError> {
    let mut rows = rows.into_iter();
    let mut n_rows = 0;
    write_atomically(path, |file| write_chunks(file, &mut rows, &mut n_rows))?;
    Ok(n_rows)
}

fn write_chunks(file: &mut File, rows: &mut impl Iterator<Item = Prediction>, n_rows: &mut u64) -> io::Result<()> {
    let schema = batch(&[])?.schema();
    let chunks = std::iter::from_fn(|| {
        let chunk: Vec<Prediction> = rows.by_ref().take(CHUNK_ROWS).collect();
        let first_row = *n_rows;
        *n_rows += chunk.len() as u64;
        (!chunk.is_empty()).then(|| checked_batch(first_row, &chunk))
    });
    write_batches(file, schema, properties(ZSTD_LEVEL, Vec::new()), chunks)
}

fn checked_batch(first_row: u64, rows: &[Prediction]) -> io::Result<RecordBatch> {
    for (at, row) in (first_row..).zip(rows) {
        check(row).map_err(|fault| io::Error::other(fault.at(Some(at))))?;
    }
    batch(rows)
}

/// Refuses what no reader could use, before it is on disk.
fn check(row: &Prediction) -> Result<(), Fault> {
    let mend = format!(
        "This is a fault of the checkpoint: prompt `{}`, model `{}`",
        row.prompt_id, row.model
    );
    let fault = |column, what: String| Err(Fault::new(column, what, mend.as_str()));
    let mass: f64 = row.quality_pmf.iter().sum();
    if row.quality_grid.len() != row.quality_pmf.len() {
        return fault(
            "quality_pmf",
            format!(
                "{} masses for {} qualities",
                row.quality_pmf.len(),
                row.quality_grid.len()
            ),
        );
    }
    if mass.is_nan() || (mass - 1.0).abs() > MASS_TOLERANCE {
        return fault("quality_pmf", format!("it sums to {mass} instead of 1"));
    }
    if !(row.cost_usd > 0.0 && row.cost_usd.is_finite()) {
        return fault("cost_usd", format!("{} is no cost", row.cost_usd));
    }
    Ok(())
}

/// Reads predictions, in the order of the file.
pub fn read(path: &Path) -> Result<Vec<Prediction>, RecordsError> {
    let builder = open(path)?;
    for (column, kind) in [
        ("prompt_id", Kind::Text),
        ("model", Kind::Text),
        ("quality_mean", Kind::Number),
    ] {
        check_column(builder.schema(), column, kind, true)
            .map_err(|fault| RecordsError::invalid(path, fault.at(None)))?;
    }
    let mut predictions = Vec::new();
    for batch in batches(path, builder, &COLUMNS)? {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        let rows = rows_of(&batch).map_err(|fault| RecordsError::invalid(path, fault.at(None)))?;
        predictions.extend(rows);
    }
    Ok(predictions)
}

const COLUMNS: [&str; 7] = [
    "prompt_id",
    "model",
    "quality_mean",
    "quality_grid",
    "quality_pmf",
    "cost_usd",
    "output_tokens",
];

fn batch(rows: &[Prediction]) -> io::Result<RecordBatch> {
    let text = |value: fn(&Prediction) -> &str| -> ArrayRef {
        Arc::new(StringArray::from_iter_values(rows.iter().map(value)))
    };
    let number = |value: fn(&Prediction) -> f64| -> ArrayRef {
        Arc::new(Float64Array::from_iter_values(rows.iter().map(value)))
    };
    let columns = COLUMNS.into_iter().zip([
        text(|row| &row.prompt_id),
        text(|row| &row.model),
        number(|row| row.quality_mean),
        lists(rows.iter().map(|row| &row.quality_grid)),
        lists(rows.iter().map(|row| &row.quality_pmf)),
        number(|row| row.cost_usd),
        number(|row| row.output_tokens),
    ]);
    RecordBatch::try_from_iter(columns).map_err(io::Error::other)
}

fn lists<'a>(rows: impl Iterator<Item = &'a Vec<f64>>) -> ArrayRef {
    let mut list = ListBuilder::new(Float64Builder::new());
    rows.for_each(|values| list.append_value(values.iter().copied().map(Some)));
    Arc::new(list.finish())
}

fn rows_of(batch: &RecordBatch) -> Result<Vec<Prediction>, Fault> {
    let list = DataType::List(Field::new_list_field(DataType::Float64, true).into());
    let [ids, models] = [texts(batch, "prompt_id")?, texts(batch, "model")?];
    let [means, costs, tokens] = [
        numbers(batch, "quality_mean")?,
        numbers(batch, "cost_usd")?,
        numbers(batch, "output_tokens")?,
    ];
    let [grids, masses] = [
        column(batch, "quality_grid", &list)?,
        column(batch, "quality_pmf", &list)?,
    ];
    Ok((0..batch.num_rows())
        .map(|i| Prediction {
            prompt_id: ids[i].clone(),
            model: models[i].clone(),
            quality_mean: means[i],
            quality_grid: values_at(&grids, i),
            quality_pmf: values_at(&masses, i),
            cost_usd: costs[i],
            output_tokens: tokens[i],
        })
        .collect())
}

fn values_at(lists: &ArrayRef, i: usize) -> Vec<f64> {
    lists
        .as_list::<i32>()
        .value(i)
        .as_primitive::<Float64Type>()
        .values()
        .to_vec()
}

fn texts(batch: &RecordBatch, name: &'static str) -> Result<Vec<String>, Fault> {
    let array = column(batch, name, &DataType::Utf8)?;
    Ok(array
        .as_string::<i32>()
        .iter()
        .map(|cell| cell.unwrap_or_default().to_owned())
        .collect())
}

fn numbers(batch: &RecordBatch, name: &'static str) -> Result<Vec<f64>, Fault> {
    Ok(column(batch, name, &DataType::Float64)?
        .as_primitive::<Float64Type>()
        .values()
        .to_vec())
}

/// A column without empty cells.
fn column(batch: &RecordBatch, name: &'static str, data_type: &DataType) -> Result<ArrayRef, Fault> {
    let mend = "Make the file again with `tiercast predict`";
    let array = cast_column(batch, name, data_type).map_err(|error| Fault::new(name, error.to_string(), mend))?;
    let array = array.ok_or_else(|| Fault::new(name, "the column is missing", mend))?;
    if array.null_count() > 0 {
        return Err(Fault::new(name, "it has empty cells", mend));
    }
    Ok(array)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn prediction(i: usize) -> Prediction {
        Prediction {
            prompt_id: format!("p{i}"),
            model: "small".to_owned(),
            quality_mean: 0.25,
            quality_grid: vec![0.0, 1.0],
            quality_pmf: vec![0.75, 0.25],
            cost_usd: 1e-6,
            output_tokens: 12.5,
        }
    }

    #[test]
    fn rows_come_back_in_order() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.parquet");
        let rows: Vec<Prediction> = (0..10_000).map(prediction).collect();
        assert_eq!(write(&path, rows.clone()).unwrap(), 10_000);
        assert_eq!(read(&path).unwrap(), rows);
    }

    #[test]
    fn what_no_reader_could_use_is_refused_by_row() {
        let check_refused = |change: fn(&mut Prediction), expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("p.parquet");
            let mut rows: Vec<Prediction> = (0..5000).map(prediction).collect();
            change(&mut rows[4500]);
            let error = write(&path, rows).unwrap_err();
            let cause = std::error::Error::source(&error).unwrap().to_string();
            assert!(cause.contains("row 4500") && cause.contains(expected), "{cause}");
            assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
        };
        check_refused(|row| row.quality_pmf[0] = 0.5, "sums to 0.75");
        check_refused(|row| row.quality_pmf[0] = f64::NAN, "sums to NaN");
        check_refused(|row| row.quality_grid.clear(), "2 masses for 0 qualities");
        check_refused(|row| row.cost_usd = 0.0, "column `cost_usd`");
    }
}
