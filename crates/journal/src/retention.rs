//! What goes: whole segments, by age and by the bytes that all of them take.

use crate::error::JournalError;
use crate::folder::{Folder, Lock};
use crate::manifest::{Manifest, Segment};

const DAY_MS: i64 = 86_400_000;

/// Removes the segments that go. The manifest forgets them first, so a kill in between leaves files that
/// nothing names, which the next round removes.
pub(crate) fn apply(
    folder: &Folder,
    _lock: &Lock,
    now_ms: i64,
    keep_days: Option<u32>,
    keep_bytes: Option<u64>,
) -> Result<(), JournalError> {
    let mut manifest = Manifest::read(folder)?;
    let (kept, going) = split(std::mem::take(&mut manifest.segments), now_ms, keep_days, keep_bytes);
    if going.is_empty() {
        return Ok(());
    }
    manifest.segments = kept;
    manifest.write(folder)?;
    going
        .iter()
        .try_for_each(|segment| folder.remove_segment(&segment.file))
}

/// Segments that stay and segments that go. Those whose newest row is older than `keep_days` go; then the oldest
/// by row number until the rest takes no more than `keep_bytes`. A clock that jumps back makes none go too early.
fn split(
    segments: Vec<Segment>,
    now_ms: i64,
    keep_days: Option<u32>,
    keep_bytes: Option<u64>,
) -> (Vec<Segment>, Vec<Segment>) {
    let oldest_ms = keep_days.map(|days| now_ms.saturating_sub(i64::from(days) * DAY_MS));
    let is_young = |segment: &Segment| oldest_ms.is_none_or(|oldest| segment.max_time_ms >= oldest);
    let (mut kept, mut going): (Vec<Segment>, Vec<Segment>) = segments.into_iter().partition(is_young);
    kept.sort_by_key(|segment| (segment.first_seq, segment.kind));
    let mut room = keep_bytes.unwrap_or(u64::MAX);
    // From the newest on, as long as there is room.
    let n_kept = kept
        .iter()
        .rev()
        .take_while(|segment| match room.checked_sub(segment.bytes) {
            Some(rest) => {
                room = rest;
                true
            }
            None => false,
        })
        .count();
    going.extend(kept.drain(..kept.len() - n_kept));
    (kept, going)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tiercast_records::journal::SegmentKind;

    use super::*;

    fn segment(first_seq: i64, max_time_ms: i64, bytes: u64) -> Segment {
        Segment {
            file: format!("{first_seq}"),
            kind: SegmentKind::Served,
            rows: 1,
            first_seq,
            last_seq: first_seq,
            min_time_ms: 0,
            max_time_ms,
            bytes,
            sha256: String::new(),
        }
    }

    fn check(segments: &[Segment], now_days: i64, days: Option<u32>, bytes: Option<u64>, expected: &[&str]) {
        let (_, going) = split(segments.to_vec(), now_days * DAY_MS, days, bytes);
        let going: Vec<&str> = going.iter().map(|segment| segment.file.as_str()).collect();
        assert_eq!(going, expected);
    }

    #[test]
    fn the_oldest_go() {
        let segments = [
            segment(1, DAY_MS, 10),
            segment(2, 2 * DAY_MS, 10),
            segment(3, 3 * DAY_MS, 10),
        ];
        check(&segments, 10, None, None, &[]);
        check(&segments, 10, Some(8), None, &["1"]);
        check(&segments, 100, Some(8), None, &["1", "2", "3"]);
        check(&segments, 10, None, Some(20), &["1"]);
        check(&segments, 10, None, Some(19), &["1", "2"]);
        check(&segments, 10, Some(8), Some(10), &["1", "2"]);
        check(&segments, 10, None, Some(0), &["1", "2", "3"]);
    }

    #[test]
    fn after_a_clock_that_jumped_back_nothing_goes_too_early() {
        // The second was written after the clock had gone back by five days.
        let segments = [segment(1, 9 * DAY_MS, 10), segment(2, 4 * DAY_MS, 10)];
        check(&segments, 4, Some(3), None, &[]);
        check(&segments, 8, Some(3), None, &["2"]);
        check(&segments, 4, None, Some(10), &["1"]);
    }

    proptest! {
        #[test]
        fn every_segment_stays_or_goes_and_what_stays_fits(
            sizes in prop::collection::vec((0_i64..100, 0_u64..100), 0..20), days in 1_u32..100, bytes in 0_u64..1000,
        ) {
            let of = |(at, (day, bytes)): (usize, &(i64, u64))| segment(at as i64, day * DAY_MS, *bytes);
            let segments: Vec<Segment> = sizes.iter().enumerate().map(of).collect();
            let (kept, going) = split(segments.clone(), 100 * DAY_MS, Some(days), Some(bytes));
            prop_assert_eq!(kept.len() + going.len(), segments.len());
            prop_assert!(kept.iter().map(|segment| segment.bytes).sum::<u64>() <= bytes);
            prop_assert!(kept.iter().all(|segment| segment.max_time_ms >= (100 - i64::from(days)) * DAY_MS));
        }
    }
}
