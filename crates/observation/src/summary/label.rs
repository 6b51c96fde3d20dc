//! Labels as keys.

use std::borrow::Cow;

use tiercast_records::journal::Label;

/// Bytes of a label that are kept: a client may send a megabyte.
const LONGEST: usize = 80;

/// The label, or its beginning.
#[inline]
pub(crate) fn short(label: &Label) -> Cow<'_, Label> {
    if label.len() <= LONGEST {
        return Cow::Borrowed(label);
    }
    Cow::Owned(Label::from(&label[..label.floor_char_boundary(LONGEST)]))
}

/// Whether two labels are equal; most often they are the same one.
#[inline]
pub(crate) fn is_same(a: &Label, b: &Label) -> bool {
    Label::ptr_eq(a, b) || a == b
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_labels_are_cut_between_characters() {
        assert_eq!(short(&Label::from("gold")).as_ref(), &Label::from("gold"));
        let long = Label::from("é".repeat(1_000_000));
        assert_eq!(short(&long).chars().count(), 40);
        let odd = Label::from(format!("a{}", "é".repeat(100)));
        assert_eq!(short(&odd).len(), 79);
    }
}
