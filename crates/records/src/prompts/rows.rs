//! Rows of a Parquet file to fields. Outcome files have a row per model: a row that repeats the one
//! before in everything that is read here is counted and not looked at again.

use std::path::Path;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, StringArray};
use arrow::datatypes::{DataType, Float64Type};
use arrow::error::ArrowError;
use serde_json::{Map, Value};

use super::fields::FIELDS;
use super::gather::Gather;
use super::nested::{is_nested, value_at};
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
        let columns = Columns::of(&batch).map_err(|fault| RecordsError::invalid(path, fault.at(None)))?;
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

/// The cells of a row that are not null.
type Row = Vec<(&'static str, Cell)>;

#[derive(Debug, Clone, PartialEq)]
enum Cell {
    Text(String),
    Number(f64),
    Json(Value),
}

struct Columns {
    texts: Vec<(&'static str, StringArray)>,
    /// References may be numbers.
    numbers: Vec<(&'static str, ArrayRef)>,
    /// Lists and objects as such, and not as JSON in text.
    nested: Vec<(&'static str, ArrayRef)>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, Fault> {
        let mut columns = Self {
            texts: Vec::new(),
            numbers: Vec::new(),
            nested: Vec::new(),
        };
        for field in FIELDS {
            let Some(column) = batch.column_by_name(field) else {
                continue;
            };
            let cast = |to| cast_column(batch, field, &to).map_err(|error| unreadable(field, column, &error));
            if is_nested(column.data_type()) {
                columns.nested.push((field, Arc::clone(column)));
            } else if field == "reference" && column.data_type().is_numeric() {
                columns
                    .numbers
                    .extend(cast(DataType::Float64)?.map(|column| (field, column)));
            } else if let Some(column) = cast(DataType::Utf8)? {
                columns.texts.push((field, StringArray::from(column.to_data())));
            }
        }
        Ok(columns)
    }

    fn row(&self, i: usize) -> Row {
        let texts = self.texts.iter().filter_map(|(field, column)| {
            let text = text_at(Some(column), i)?;
            Some((*field, Cell::Text(text.to_owned())))
        });
        let numbers = self.numbers.iter().filter(|(_, column)| column.is_valid(i));
        let numbers =
            numbers.map(|(field, column)| (*field, Cell::Number(column.as_primitive::<Float64Type>().value(i))));
        let nested = self.nested.iter().filter(|(_, column)| column.is_valid(i));
        let nested = nested.map(|(field, column)| (*field, Cell::Json(value_at(column, i))));
        texts.chain(numbers).chain(nested).collect()
    }
}

fn unreadable(field: &'static str, column: &ArrayRef, error: &ArrowError) -> Fault {
    let what = format!("it holds {} ({error})", column.data_type());
    Fault::new(field, what, "Write the column as text, or as lists and structs")
}

fn fields(row: &Row) -> Result<Map<String, Value>, Fault> {
    row.iter()
        .map(|(field, cell)| Ok(((*field).to_owned(), value(field, cell)?)))
        .collect()
}

fn value(field: &'static str, cell: &Cell) -> Result<Value, Fault> {
    match cell {
        Cell::Number(number) => Ok(number_value(*number)),
        Cell::Json(value) => Ok(value.clone()),
        Cell::Text(text) if JSON.contains(&field) || (field == "judge" && text.starts_with(['{', '['])) => {
            serde_json::from_str(text)
                .map_err(|error| Fault::new(field, format!("it is not JSON ({error})"), "Write the cell as JSON"))
        }
        Cell::Text(text) => Ok(Value::String(text.clone())),
    }
}

/// A whole number as one: 42 and not 42.0.
pub(super) fn number_value(number: f64) -> Value {
    match number.fract() == 0.0 && number.abs() < 9e15 {
        true => Value::from(number as i64),
        false => Value::from(number),
    }
}
