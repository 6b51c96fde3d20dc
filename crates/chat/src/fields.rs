//! An object as the readers of the dialects see it: typed fields with their place in the body, and
//! a check that nothing is there which would be lost.

use serde_json::{Map, Number, Value};

use crate::error::{ChatError, Unreadable, Untranslatable};
use crate::parse::{join, wrong};

/// How much of a body must be understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reading {
    /// All of it: what is read will be written in another dialect.
    Whole,
    /// As much as can be: it will be counted. Images come out empty, for they may be large.
    Gist,
}

impl Reading {
    /// Something cannot be said in another dialect. Fine where it is only to be counted.
    pub(crate) fn refuse(self, field: impl Into<String>, why: impl Into<String>) -> Result<(), Unreadable> {
        match self {
            Self::Whole => Err(Untranslatable::new(field, why).into()),
            Self::Gist => Ok(()),
        }
    }
}

/// The keys that an object of some kind may hold. Others make it untranslatable; null counts as missing.
pub(crate) struct Known {
    /// Read and written again.
    pub read: &'static [&'static str],
    /// Lost without harm: they change what a provider stores, caches or adds, never what it replies.
    pub dropped: &'static [&'static str],
    /// Lost without harm where they hold this, which is what a provider does anyway.
    pub default: &'static [(&'static str, Plain)],
}

/// The value that says as much as a missing field.
pub(crate) enum Plain {
    False,
    Zero,
    One,
    Empty,
    Word(&'static str),
    /// A list of this word alone.
    Only(&'static str),
    /// An object of this type.
    Type(&'static str),
}

impl Plain {
    fn is(&self, value: &Value) -> bool {
        match self {
            Self::False => value == false,
            Self::Zero => value.as_f64() == Some(0.0),
            Self::One => value.as_f64() == Some(1.0),
            Self::Empty => {
                value.as_array().is_some_and(Vec::is_empty)
                    || value.as_object().is_some_and(Map::is_empty)
                    || value == ""
            }
            Self::Word(word) => value == word,
            Self::Type(word) => value.get("type").is_some_and(|kind| kind == word),
            Self::Only(word) => matches!(value.as_array().map(Vec::as_slice), Some([one]) if one == word),
        }
    }
}

/// More tokens than this no reply takes: what is told is no count.
const MOST_TOKENS: f64 = 1e9;

/// An object and the path to it.
#[derive(Clone)]
pub(crate) struct Fields<'a> {
    object: &'a Map<String, Value>,
    place: String,
}

impl<'a> Fields<'a> {
    pub(crate) fn new(object: &'a Map<String, Value>) -> Self {
        let place = String::new();
        Self { object, place }
    }

    pub(crate) fn of(value: &'a Value, place: impl Into<String>) -> Result<Self, ChatError> {
        let place = place.into();
        match value.as_object() {
            Some(object) => Ok(Self { object, place }),
            None => Err(wrong(place, "an object", Some(value))),
        }
    }

    pub(crate) fn place(&self) -> String {
        self.place.clone()
    }

    /// Path to a field.
    pub(crate) fn at(&self, key: &str) -> String {
        join(&self.place, key)
    }

    pub(crate) fn value(&self, key: &str) -> Option<&'a Value> {
        self.object.get(key).filter(|value| !value.is_null())
    }

    pub(crate) fn text(&self, key: &str) -> Result<Option<&'a str>, ChatError> {
        self.typed(key, "a string", Value::as_str)
    }

    pub(crate) fn flag(&self, key: &str) -> Result<Option<bool>, ChatError> {
        self.typed(key, "true or false", Value::as_bool)
    }

    pub(crate) fn whole(&self, key: &str) -> Result<Option<u64>, ChatError> {
        self.typed(key, "a whole number, 0 or more", Value::as_u64)
    }

    /// A count of tokens as any server writes it, 12.0 included. What is no count is as good as not told: a reply
    /// is whole without it.
    pub(crate) fn tokens(&self, key: &str) -> Option<u64> {
        let count = self.value(key)?.as_f64()?;
        let is_count = count.fract() == 0.0 && (0.0..=MOST_TOKENS).contains(&count);
        is_count.then_some(count as u64)
    }

    /// An object of counts; whatever else is there is as good as missing.
    pub(crate) fn counts(&self, key: &str) -> Option<Self> {
        Self::of(self.value(key)?, self.at(key)).ok()
    }

    pub(crate) fn number(&self, key: &str) -> Result<Option<Number>, ChatError> {
        self.typed(key, "a number", |value| value.as_number().cloned())
    }

    pub(crate) fn object(&self, key: &str) -> Result<Option<Self>, ChatError> {
        self.value(key).map(|value| Self::of(value, self.at(key))).transpose()
    }

    /// The values of a list, each with its place. A missing list has none.
    pub(crate) fn list(&self, key: &str) -> Result<Vec<(&'a Value, String)>, ChatError> {
        let values = self.typed(key, "a list", Value::as_array)?;
        let place = self.at(key);
        let placed = |(idx, value)| (value, format!("{place}[{idx}]"));
        Ok(values.into_iter().flatten().enumerate().map(placed).collect())
    }

    /// The objects of a list.
    pub(crate) fn objects(&self, key: &str) -> Result<Vec<Self>, ChatError> {
        let values = self.list(key)?;
        values
            .into_iter()
            .map(|(value, place)| Self::of(value, place))
            .collect()
    }

    pub(crate) fn need_text(&self, key: &str) -> Result<&'a str, ChatError> {
        self.text(key)?.ok_or_else(|| self.wrong(key, "a string"))
    }

    pub(crate) fn need_object(&self, key: &str) -> Result<Self, ChatError> {
        self.object(key)?.ok_or_else(|| self.wrong(key, "an object"))
    }

    /// That a field is not what it must be.
    pub(crate) fn wrong(&self, key: &str, expected: &'static str) -> ChatError {
        wrong(self.at(key), expected, self.object.get(key))
    }

    /// That no field is there which would be lost.
    pub(crate) fn only(&self, reading: Reading, known: &Known) -> Result<(), Unreadable> {
        for (key, value) in self.object {
            let key = key.as_str();
            let is_plain = |(name, plain): &(&str, Plain)| *name == key && plain.is(value);
            let is_known = value.is_null() || known.read.contains(&key) || known.dropped.contains(&key);
            if !is_known && !known.default.iter().any(is_plain) {
                reading.refuse(self.at(key), "has no counterpart in the other dialect")?;
            }
        }
        Ok(())
    }

    fn typed<T>(
        &self,
        key: &str,
        expected: &'static str,
        get: impl Fn(&'a Value) -> Option<T>,
    ) -> Result<Option<T>, ChatError> {
        match self.value(key) {
            None => Ok(None),
            Some(value) => get(value).map(Some).ok_or_else(|| self.wrong(key, expected)),
        }
    }
}
