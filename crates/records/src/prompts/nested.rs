//! Cells of lists and structs as JSON. Structs of one column have the fields of all rows, so a field that is null is
//! left out: the prompt as it was before it became a row had none.

use arrow::array::{Array, ArrayRef, AsArray, Float64Array, StringArray};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type, UInt64Type};
use serde_json::{Map, Value};

use super::rows::number_value;

/// Whether cells of this type are lists or objects.
pub(super) fn is_nested(data_type: &DataType) -> bool {
    use DataType as T;
    matches!(
        data_type,
        T::List(_) | T::LargeList(_) | T::FixedSizeList(..) | T::Struct(_) | T::Map(..)
    )
}

/// The cell as JSON. What JSON has no word for (dates, bytes) is its text.
pub(super) fn value_at(column: &ArrayRef, row: usize) -> Value {
    if column.is_null(row) {
        return Value::Null;
    }
    match column.data_type() {
        DataType::Struct(_) => object(column, row),
        DataType::List(_) => list(&column.as_list::<i32>().value(row)),
        DataType::LargeList(_) => list(&column.as_list::<i64>().value(row)),
        DataType::FixedSizeList(..) => list(&column.as_fixed_size_list().value(row)),
        DataType::Map(..) => entries(column, row),
        DataType::Boolean => column.as_boolean().value(row).into(),
        DataType::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        data_type if data_type.is_integer() => integer(&column.slice(row, 1)),
        data_type if data_type.is_numeric() => number(&column.slice(row, 1)),
        _ => text(&column.slice(row, 1)).map_or(Value::Null, Value::String),
    }
}

fn object(column: &ArrayRef, row: usize) -> Value {
    let cells = column.as_struct();
    let fields = cells.column_names().into_iter().zip(cells.columns());
    let fields = fields.filter(|(_, field)| field.is_valid(row));
    Value::Object(
        fields
            .map(|(name, field)| (name.to_owned(), value_at(field, row)))
            .collect(),
    )
}

fn list(items: &ArrayRef) -> Value {
    (0..items.len()).map(|item| value_at(items, item)).collect()
}

/// A map with its keys as text.
fn entries(column: &ArrayRef, row: usize) -> Value {
    let pairs = column.as_map().value(row);
    let (keys, values) = (pairs.column(0), pairs.column(1));
    let pair = |at: usize| Some((text(&keys.slice(at, 1))?, value_at(values, at)));
    Value::Object((0..pairs.len()).filter_map(pair).collect::<Map<String, Value>>())
}

/// The only cell of `cell`; likewise below.
fn integer(cell: &ArrayRef) -> Value {
    let whole = cast(cell, &DataType::Int64).ok();
    whole.map_or(Value::Null, |whole| whole.as_primitive::<Int64Type>().value(0).into())
}

fn number(cell: &ArrayRef) -> Value {
    let number = cast(cell, &DataType::Float64).ok();
    number.map_or(Value::Null, |number| {
        number_value(Float64Array::from(number.to_data()).value(0))
    })
}

fn text(cell: &ArrayRef) -> Option<String> {
    let text = StringArray::from(cast(cell, &DataType::Utf8).ok()?.to_data());
    text.is_valid(0).then(|| text.value(0).to_owned())
}
