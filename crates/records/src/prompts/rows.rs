//! Rows of a Parquet file to fields. Outcome files have a row per model: a row that repeats the one
//! before in everything that is read here is counted and not looked at again.

use std::path::Path;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use serde_json::{Map, Value};

use super::fields::FIELDS;
use super::gather::Gather;
use crate::error::{Fault, RecordsError, Spot};
use crate::table::{batches, cast_column, open, text_at};

/// Columns whose text is JSON.
const JSON: [&str; 4] = ["messages", "tools", "response_format", "schema"];

/// Reads every row of `path` into `gather`.
pub(super) fn read(path: &Path, gather: &mut Gather<'_>) -> Result<(), RecordsError> {
    let builder = open(path)?;
    gather.is_outcomes = builder.schema().field_with_name("model").is_ok();
    let mut before: Option<Row> = None;
    let mut row = 0;
    for batch in batches(path, builder, &FIELDS)? {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        let columns = Columns::of(&batch).map_err(RecordsError::not_parquet(path))?;
        for i in 0..batch.num_rows() {
            let cells = columns.row(i);
            match &before {
                Some(before) if *before == cells => gather.repeat(),
                _ => gather.add(Spot::Row(row), fields(&cells)),
            }
            before = Some(cells);
            row += 1;
        }
    }
    Ok(())
}

/// The cells of a row that are not null, in the order of [`FIELDS`].
type Row = Vec<(&'static str, Cell)>;

#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Text(String),
    Number(f64),
}

struct Columns {
    texts: Vec<(&'static str, StringArray)>,
    /// References may be numbers.
    numbers: Vec<(&'static str, ArrayRef)>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, ArrowError> {
        let (mut texts, mut numbers) = (Vec::new(), Vec::new());
        for field in FIELDS {
            let is_number = |column: &ArrayRef| column.data_type().is_numeric();
            if field == "reference" && batch.column_by_name(field).is_some_and(is_number) {
                numbers.extend(cast_column(batch, field, &DataType::Float64)?.map(|column| (field, column)));
            } else if let Some(column) = cast_column(batch, field, &DataType::Utf8)? {
                texts.push((field, StringArray::from(column.to_data())));
            }
        }
        Ok(Self { texts, numbers })
    }

    fn row(&self, i: usize) -> Row {
        let texts = self.texts.iter().filter_map(|(field, column)| {
            let text = text_at(Some(column), i)?;
            Some((*field, Cell::Text(text.to_owned())))
        });
        let numbers = self.numbers.iter().filter(|(_, column)| column.is_valid(i));
        let numbers =
            numbers.map(|(field, column)| (*field, Cell::Number(column.as_primitive::<Float64Type>().value(i))));
        texts.chain(numbers).collect()
    }
}

fn fields(row: &Row) -> Result<Map<String, Value>, Fault> {
    row.iter()
        .map(|(field, cell)| Ok(((*field).to_owned(), value(field, cell)?)))
        .collect()
}

fn value(field: &'static str, cell: &Cell) -> Result<Value, Fault> {
    match cell {
        Cell::Number(number) => Ok(number_value(*number)),
        Cell::Text(text) if JSON.contains(&field) || (field == "judge" && text.starts_with(['{', '['])) => {
            serde_json::from_str(text)
                .map_err(|error| Fault::new(field, format!("it is not JSON ({error})"), "Write the cell as JSON"))
        }
        Cell::Text(text) => Ok(Value::String(text.clone())),
    }
}

/// A whole number as one: 42 and not 42.0.
fn number_value(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 9e15 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}
