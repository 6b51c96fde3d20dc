//! Rows as columns, for writing. A column is its field and its cells; the schema follows from them.

use std::sync::Arc;

use arrow::array::{
    Array, ArrayRef, ArrowPrimitiveType, BinaryArray, BooleanArray, DictionaryArray, ListArray, PrimitiveArray,
    StringArray, StructArray,
};
use arrow::buffer::{NullBuffer, OffsetBuffer};
use arrow::datatypes::{Field, Fields, Int32Type};

use crate::features::Features;

/// A column: its field and its cells.
pub(super) type Column = (Field, ArrayRef);

/// Where arrays that cannot be made would show: rows of one slice give columns of one length.
pub(super) const ONE_LENGTH: &str = "cells are made from the same rows, so lengths and offsets agree";

fn full(name: &str, cells: impl Array + 'static) -> Column {
    let field = Field::new(name, cells.data_type().clone(), false);
    (field, Arc::new(cells))
}

fn with_gaps(name: &str, cells: impl Array + 'static) -> Column {
    let field = Field::new(name, cells.data_type().clone(), true);
    (field, Arc::new(cells))
}

/// Text that hardly repeats.
pub(super) fn text<'a>(name: &str, cells: impl Iterator<Item = &'a str>) -> Column {
    full(name, StringArray::from_iter_values(cells))
}

pub(super) fn maybe_text<'a>(name: &str, cells: impl Iterator<Item = Option<&'a str>>) -> Column {
    with_gaps(name, cells.collect::<StringArray>())
}

/// Words from a bounded set: each is stored once, and read once.
pub(super) fn words<'a>(name: &str, cells: impl Iterator<Item = &'a str>) -> Column {
    full(name, cells.collect::<DictionaryArray<Int32Type>>())
}

pub(super) fn maybe_words<'a>(name: &str, cells: impl Iterator<Item = Option<&'a str>>) -> Column {
    with_gaps(name, cells.collect::<DictionaryArray<Int32Type>>())
}

pub(super) fn numbers<T: ArrowPrimitiveType>(name: &str, cells: impl Iterator<Item = T::Native>) -> Column {
    full(name, PrimitiveArray::<T>::from_iter_values(cells))
}

pub(super) fn maybe_numbers<T: ArrowPrimitiveType>(
    name: &str,
    cells: impl Iterator<Item = Option<T::Native>>,
) -> Column {
    with_gaps(name, cells.collect::<PrimitiveArray<T>>())
}

pub(super) fn flags(name: &str, cells: impl Iterator<Item = bool>) -> Column {
    full(name, BooleanArray::from(cells.collect::<Vec<_>>()))
}

/// Numbers in steps of 1/256, a byte each.
pub(super) fn bytes<'a>(name: &str, cells: impl Iterator<Item = &'a [i8]>) -> Column {
    let cells: Vec<Vec<u8>> = cells
        .map(|cell| cell.iter().map(|value| value.cast_unsigned()).collect())
        .collect();
    full(name, BinaryArray::from_iter_values(cells))
}

/// Lists, from their lengths and all their items end to end.
pub(super) fn lists(name: &str, lengths: impl Iterator<Item = usize>, items: Column) -> Column {
    let (field, items) = items;
    full(
        name,
        ListArray::new(Arc::new(field), OffsetBuffer::from_lengths(lengths), items, None),
    )
}

/// Lists of numbers.
pub(super) fn number_lists<'a, T, L>(name: &str, cells: impl Iterator<Item = &'a L> + Clone) -> Column
where
    T: ArrowPrimitiveType,
    L: AsRef<[T::Native]> + ?Sized + 'a,
{
    let items = cells.clone().flat_map(|cell| cell.as_ref().iter().copied());
    lists(name, cells.map(|cell| cell.as_ref().len()), numbers::<T>("item", items))
}

/// Columns side by side as one; `present` says in which rows there is anything, if not in all.
pub(super) fn structure(name: &str, columns: Vec<Column>, present: Option<Vec<bool>>) -> Column {
    let (fields, cells): (Vec<Field>, Vec<ArrayRef>) = columns.into_iter().unzip();
    let is_nullable = present.is_some();
    let nulls = present.map(NullBuffer::from);
    let cells = StructArray::try_new(Fields::from(fields), cells, nulls).expect(ONE_LENGTH);
    (
        Field::new(name, cells.data_type().clone(), is_nullable),
        Arc::new(cells),
    )
}

/// Features, where they were kept.
pub(super) fn features<'a>(name: &str, rows: impl Iterator<Item = Option<&'a Features>> + Clone) -> Column {
    use arrow::datatypes::{Float32Type, UInt16Type, UInt32Type};

    let none = Features::default();
    let present = rows.clone().map(|row| row.is_some()).collect();
    let all: Vec<&Features> = rows.map(|row| row.unwrap_or(&none)).collect();
    let all = all.iter();
    let hashes = |name, ngrams: fn(&Features) -> &Vec<(u32, u16)>| {
        let items = all.clone().flat_map(|row| ngrams(row)).map(|(hash, _)| *hash);
        let lengths = all.clone().map(|row| ngrams(row).len());
        lists(name, lengths, numbers::<UInt32Type>("item", items))
    };
    let counts = |name, ngrams: fn(&Features) -> &Vec<(u32, u16)>| {
        let items = all.clone().flat_map(|row| ngrams(row)).map(|(_, count)| *count);
        let lengths = all.clone().map(|row| ngrams(row).len());
        lists(name, lengths, numbers::<UInt16Type>("item", items))
    };
    let columns = vec![
        numbers::<UInt32Type>("ask_tokens", all.clone().map(|row| row.ask_tokens)),
        numbers::<UInt32Type>("context_tokens", all.clone().map(|row| row.context_tokens)),
        number_lists::<Float32Type, _>("surface", all.clone().map(|row| &row.surface)),
        bytes("embedding", all.clone().map(|row| row.embedding.as_slice())),
        bytes("dense", all.clone().map(|row| row.dense.as_slice())),
        hashes("word_hash", |row| &row.word_ngrams),
        counts("word_count", |row| &row.word_ngrams),
        hashes("char_hash", |row| &row.char_ngrams),
        counts("char_count", |row| &row.char_ngrams),
    ];
    structure(name, columns, Some(present))
}
