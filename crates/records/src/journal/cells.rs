//! Columns as cells, for reading. Types were compared with ours when the file was opened, so looking at a
//! column as its type cannot fail. A word is made once per batch and shared by the rows.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{
    Array, ArrowPrimitiveType, AsArray, BinaryArray, BooleanArray, PrimitiveArray, StringArray, StructArray,
};
use arrow::buffer::NullBuffer;
use arrow::datatypes::{Float32Type, Int32Type, UInt16Type, UInt32Type};

use super::Label;
use crate::error::Fault;
use crate::features::Features;

const MEND: &str = "Make the segment again, or move it away";

/// Columns by name, of a batch or of a struct in it.
#[derive(Clone, Copy)]
pub(super) struct Table<'b>(&'b StructArray);

impl<'b> Table<'b> {
    pub(super) fn new(columns: &'b StructArray) -> Self {
        Self(columns)
    }

    fn column(self, name: &'static str) -> Result<&'b dyn Array, Fault> {
        self.maybe_column(name)
            .ok_or_else(|| Fault::new(name, "the column is missing", MEND))
    }

    fn maybe_column(self, name: &str) -> Option<&'b dyn Array> {
        self.0.column_by_name(name).map(|column| &**column)
    }

    pub(super) fn text(self, name: &'static str) -> Result<&'b StringArray, Fault> {
        Ok(self.column(name)?.as_string::<i32>())
    }

    /// Whether a column is there: older versions do not have all of them.
    pub(super) fn has(self, name: &str) -> bool {
        self.maybe_column(name).is_some()
    }

    /// A column that may have been left out.
    pub(super) fn maybe_text(self, name: &str) -> Option<&'b StringArray> {
        self.maybe_column(name).map(|column| column.as_string::<i32>())
    }

    pub(super) fn numbers<T: ArrowPrimitiveType>(self, name: &'static str) -> Result<&'b [T::Native], Fault> {
        Ok(self.column(name)?.as_primitive::<T>().values())
    }

    pub(super) fn maybe_numbers<T: ArrowPrimitiveType>(self, name: &'static str) -> Result<MaybeNumbers<'b, T>, Fault> {
        Ok(MaybeNumbers(self.column(name)?.as_primitive::<T>()))
    }

    pub(super) fn flags(self, name: &'static str) -> Result<&'b BooleanArray, Fault> {
        Ok(self.column(name)?.as_boolean())
    }

    fn bytes(self, name: &'static str) -> Result<&'b BinaryArray, Fault> {
        Ok(self.column(name)?.as_binary::<i32>())
    }

    /// Structs in lists.
    pub(super) fn lists(self, name: &'static str) -> Result<(Table<'b>, &'b [i32]), Fault> {
        let list = self.column(name)?.as_list::<i32>();
        Ok((Table(list.values().as_struct()), list.value_offsets()))
    }

    /// Lists of numbers, which may have been left out.
    pub(super) fn maybe_number_lists<T: ArrowPrimitiveType>(self, name: &str) -> Option<NumberLists<'b, T>> {
        let list = self.maybe_column(name)?.as_list::<i32>();
        Some(NumberLists {
            items: list.values().as_primitive::<T>().values(),
            offsets: list.value_offsets(),
        })
    }

    fn number_lists<T: ArrowPrimitiveType>(self, name: &'static str) -> Result<NumberLists<'b, T>, Fault> {
        self.maybe_number_lists(name)
            .ok_or_else(|| Fault::new(name, "the column is missing", MEND))
    }

    /// Words, each turned into a value once.
    pub(super) fn words<T>(
        self,
        name: &'static str,
        mut value: impl FnMut(&str) -> Option<T>,
    ) -> Result<Words<'b, T>, Fault> {
        let dictionary = self.column(name)?.as_dictionary::<Int32Type>();
        let values = dictionary.values().as_string::<i32>().iter();
        let values = values.map(|word| {
            let word = word.unwrap_or_default();
            value(word).ok_or_else(|| Fault::new(name, format!("`{word}` is not known here"), MEND))
        });
        Ok(Words {
            values: values.collect::<Result<_, Fault>>()?,
            keys: dictionary.keys(),
        })
    }

    /// Words shared with all rows of the reader.
    pub(super) fn labels(self, name: &'static str, known: &mut Known) -> Result<Words<'b, Label>, Fault> {
        self.words(name, |word| Some(known.label(word)))
    }
}

/// Words met so far, so that equal ones share their text over all batches.
#[derive(Debug, Default)]
pub(super) struct Known(HashSet<Label>);

impl Known {
    fn label(&mut self, word: &str) -> Label {
        if let Some(label) = self.0.get(word) {
            return Arc::clone(label);
        }
        let label: Label = word.into();
        self.0.insert(Arc::clone(&label));
        label
    }
}

/// A column of words.
pub(super) struct Words<'b, T> {
    values: Vec<T>,
    keys: &'b PrimitiveArray<Int32Type>,
}

impl<T: Clone> Words<'_, T> {
    pub(super) fn at(&self, i: usize) -> T {
        self.values[self.keys.value(i) as usize].clone()
    }

    pub(super) fn maybe_at(&self, i: usize) -> Option<T> {
        self.keys.is_valid(i).then(|| self.at(i))
    }
}

/// A column of numbers with gaps.
pub(super) struct MaybeNumbers<'b, T: ArrowPrimitiveType>(&'b PrimitiveArray<T>);

impl<T: ArrowPrimitiveType> MaybeNumbers<'_, T> {
    pub(super) fn at(&self, i: usize) -> Option<T::Native> {
        self.0.is_valid(i).then(|| self.0.value(i))
    }
}

/// A column of lists: the items of all rows end to end, and where each row begins.
pub(super) struct NumberLists<'b, T: ArrowPrimitiveType> {
    items: &'b [T::Native],
    offsets: &'b [i32],
}

impl<T: ArrowPrimitiveType> NumberLists<'_, T> {
    pub(super) fn at(&self, i: usize) -> &[T::Native] {
        &self.items[span(self.offsets, i)]
    }
}

/// Where the items of row `i` stand.
pub(super) fn span(offsets: &[i32], i: usize) -> std::ops::Range<usize> {
    offsets[i] as usize..offsets[i + 1] as usize
}

/// The cell of a column that may be absent, or have a gap.
pub(super) fn text_at(column: Option<&StringArray>, i: usize) -> Option<String> {
    column
        .filter(|column| column.is_valid(i))
        .map(|column| column.value(i).to_owned())
}

/// Features, column by column.
pub(super) struct FeatureColumns<'b> {
    present: Option<&'b NullBuffer>,
    ask_tokens: &'b [u32],
    context_tokens: &'b [u32],
    surface: NumberLists<'b, Float32Type>,
    embedding: &'b BinaryArray,
    dense: &'b BinaryArray,
    word_hash: NumberLists<'b, UInt32Type>,
    word_count: NumberLists<'b, UInt16Type>,
    char_hash: NumberLists<'b, UInt32Type>,
    char_count: NumberLists<'b, UInt16Type>,
}

impl<'b> FeatureColumns<'b> {
    /// Nothing where the column was left out.
    pub(super) fn of(table: Table<'b>) -> Result<Option<Self>, Fault> {
        let Some(column) = table.maybe_column("features") else {
            return Ok(None);
        };
        let column = column.as_struct();
        let table = Table(column);
        Ok(Some(Self {
            present: column.nulls(),
            ask_tokens: table.numbers::<UInt32Type>("ask_tokens")?,
            context_tokens: table.numbers::<UInt32Type>("context_tokens")?,
            surface: table.number_lists("surface")?,
            embedding: table.bytes("embedding")?,
            dense: table.bytes("dense")?,
            word_hash: table.number_lists("word_hash")?,
            word_count: table.number_lists("word_count")?,
            char_hash: table.number_lists("char_hash")?,
            char_count: table.number_lists("char_count")?,
        }))
    }

    pub(super) fn at(&self, i: usize) -> Option<Features> {
        if self.present.is_some_and(|present| present.is_null(i)) {
            return None;
        }
        Some(Features {
            ask_tokens: self.ask_tokens[i],
            context_tokens: self.context_tokens[i],
            surface: self.surface.at(i).to_vec(),
            embedding: signed(self.embedding.value(i)),
            dense: signed(self.dense.value(i)),
            word_ngrams: pairs(self.word_hash.at(i), self.word_count.at(i)),
            char_ngrams: pairs(self.char_hash.at(i), self.char_count.at(i)),
        })
    }
}

fn signed(bytes: &[u8]) -> Vec<i8> {
    bytes.iter().map(|byte| byte.cast_signed()).collect()
}

fn pairs(hashes: &[u32], counts: &[u16]) -> Vec<(u32, u16)> {
    hashes.iter().copied().zip(counts.iter().copied()).collect()
}
