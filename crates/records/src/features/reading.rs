//! Reading features. The file is ours, so its columns must be as written; a file of other columns
//! is refused by name.

use std::path::Path;

use arrow::array::{Array, ArrowPrimitiveType, AsArray, PrimitiveArray, RecordBatch};
use arrow::datatypes::{DataType, Field, Float32Type, Int8Type, UInt16Type, UInt32Type};

use super::writing::check_widths;
use super::{FeatureFile, Features, VERSION_KEY};
use crate::error::{Fault, Problem, RecordsError};
use crate::manifest;
use crate::table::{batches, cast_column, open};

const COLUMNS: [&str; 10] = [
    "prompt_id",
    "ask_tokens",
    "context_tokens",
    "surface",
    "embedding",
    "dense",
    "word_hash",
    "word_count",
    "char_hash",
    "char_count",
];

const MEND: &str = "Make the file again with `tiercast featurise`";

/// Reads a features file. One listed by a manifest beside it must be unchanged.
pub fn read(path: &Path) -> Result<FeatureFile, RecordsError> {
    manifest::check_file(path)?;
    let builder = open(path)?;
    let notes = builder
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .into_iter()
        .flatten();
    let stated = notes
        .filter(|note| note.key == VERSION_KEY)
        .find_map(|note| note.value.clone());
    let version = version_of(stated.as_deref()).map_err(|problem| RecordsError::invalid(path, problem))?;
    let mut file = FeatureFile {
        version,
        ..FeatureFile::default()
    };
    let mut first = None;
    for batch in batches(path, builder, &COLUMNS)? {
        let batch = batch.map_err(RecordsError::not_parquet(path))?;
        add_batch(&batch, &mut file, &mut first).map_err(|problem| RecordsError::invalid(path, problem))?;
    }
    Ok(file)
}

fn version_of(stated: Option<&str>) -> Result<u32, Problem> {
    stated.and_then(|version| version.parse().ok()).ok_or_else(|| Problem {
        row: None,
        line: None,
        column: None,
        what: format!("its metadata has no number under `{VERSION_KEY}`, so it is no features file"),
        mend: MEND.to_owned(),
    })
}

/// Adds rows; `first` is the first row of the file, by which all widths are measured.
fn add_batch(batch: &RecordBatch, file: &mut FeatureFile, first: &mut Option<Features>) -> Result<(), Problem> {
    let columns = Columns::of(batch).map_err(|fault| fault.at(None))?;
    for i in 0..batch.num_rows() {
        let at = Some(file.rows.len() as u64);
        let (id, features) = columns.row(i);
        check_widths(first.get_or_insert_with(|| features.clone()), &features).map_err(|fault| fault.at(at))?;
        if file.rows.insert(id.clone(), features).is_some() {
            return Err(Fault::new("prompt_id", format!("prompt `{id}` has a row already"), MEND).at(at));
        }
    }
    Ok(())
}

/// A list column: the values of all rows end to end, and where each row begins.
struct Lists<T: ArrowPrimitiveType> {
    values: PrimitiveArray<T>,
    offsets: Vec<i32>,
}

impl<T: ArrowPrimitiveType> Lists<T> {
    fn of(batch: &RecordBatch, column: &'static str) -> Result<Self, Fault> {
        let item = Field::new_list_field(T::DATA_TYPE, true);
        let array = column_as(batch, column, &DataType::List(item.into()))?;
        let list = array.as_list::<i32>();
        let values = list.values().as_primitive::<T>().clone();
        if list.null_count() + values.null_count() > 0 {
            return Err(Fault::new(column, "it has empty cells", MEND));
        }
        Ok(Self {
            values,
            offsets: list.value_offsets().to_vec(),
        })
    }

    fn row(&self, i: usize) -> &[T::Native] {
        &self.values.values()[self.offsets[i] as usize..self.offsets[i + 1] as usize]
    }
}

struct Columns {
    ids: Vec<String>,
    ask_tokens: Vec<u32>,
    context_tokens: Vec<u32>,
    surface: Lists<Float32Type>,
    embedding: Lists<Int8Type>,
    /// Absent in files made without the dense encoder.
    dense: Option<Lists<Int8Type>>,
    word_hash: Lists<UInt32Type>,
    word_count: Lists<UInt16Type>,
    char_hash: Lists<UInt32Type>,
    char_count: Lists<UInt16Type>,
}

impl Columns {
    fn of(batch: &RecordBatch) -> Result<Self, Fault> {
        let ids = column_as(batch, "prompt_id", &DataType::Utf8)?;
        let ids = ids
            .as_string::<i32>()
            .iter()
            .map(|id| id.unwrap_or_default().to_owned())
            .collect();
        Ok(Self {
            ids,
            ask_tokens: numbers(batch, "ask_tokens")?,
            context_tokens: numbers(batch, "context_tokens")?,
            surface: Lists::of(batch, "surface")?,
            embedding: Lists::of(batch, "embedding")?,
            dense: match batch.column_by_name("dense") {
                Some(_) => Some(Lists::of(batch, "dense")?),
                None => None,
            },
            word_hash: Lists::of(batch, "word_hash")?,
            word_count: Lists::of(batch, "word_count")?,
            char_hash: Lists::of(batch, "char_hash")?,
            char_count: Lists::of(batch, "char_count")?,
        })
    }

    fn row(&self, i: usize) -> (String, Features) {
        let features = Features {
            ask_tokens: self.ask_tokens[i],
            context_tokens: self.context_tokens[i],
            surface: self.surface.row(i).to_vec(),
            embedding: self.embedding.row(i).to_vec(),
            dense: self.dense.as_ref().map_or_else(Vec::new, |dense| dense.row(i).to_vec()),
            word_ngrams: pairs(self.word_hash.row(i), self.word_count.row(i)),
            char_ngrams: pairs(self.char_hash.row(i), self.char_count.row(i)),
        };
        (self.ids[i].clone(), features)
    }
}

fn pairs(hashes: &[u32], counts: &[u16]) -> Vec<(u32, u16)> {
    hashes.iter().copied().zip(counts.iter().copied()).collect()
}

fn numbers(batch: &RecordBatch, column: &'static str) -> Result<Vec<u32>, Fault> {
    Ok(column_as(batch, column, &DataType::UInt32)?
        .as_primitive::<UInt32Type>()
        .values()
        .to_vec())
}

fn column_as(batch: &RecordBatch, column: &'static str, data_type: &DataType) -> Result<arrow::array::ArrayRef, Fault> {
    let cast = cast_column(batch, column, data_type).map_err(|error| Fault::new(column, error.to_string(), MEND))?;
    cast.ok_or_else(|| Fault::new(column, "the column is missing", MEND))
}
