use super::{Moment, Resolution, Timeline};
use tiercast_records::journal::Path;

const MINUTE: i64 = 60_000;

fn at(time_ms: i64) -> Moment<'static> {
    Moment {
        time_ms,
        forecasts: &[],
        spent: 0.5,
        predicted: Some(0.8),
        path: Path::Direct,
        errors: 0,
    }
}

fn fold(minutes: impl IntoIterator<Item = i64>) -> Timeline {
    let mut timeline = Timeline::new(Resolution::HOUR);
    minutes
        .into_iter()
        .for_each(|minute| timeline.add(&at(minute * MINUTE)));
    timeline
}

/// Minute and requests of every point that has some.
fn busy(timeline: &Timeline) -> Vec<(i64, u64)> {
    let points = timeline.figures(None, None).points;
    let busy = points.iter().filter(|point| point.requests > 0);
    busy.map(|point| (point.from_ms / MINUTE, point.requests)).collect()
}

#[test]
fn buckets_follow_one_another_without_gaps() {
    let points = fold([10, 10, 13]).figures(None, None).points;
    let found: Vec<_> = points
        .iter()
        .map(|point| (point.from_ms / MINUTE, point.requests, point.spent_usd))
        .collect();
    assert_eq!(found, [(10, 2, 1.0), (11, 0, 0.0), (12, 0, 0.0), (13, 1, 0.5)]);
    assert_eq!((points[0].predicted, points[1].predicted), (Some(0.8), None));
}

#[test]
fn old_buckets_make_room() {
    let timeline = fold(0..200);
    let found = busy(&timeline);
    assert_eq!((found.len(), found[0], found[59]), (60, (140, 1), (199, 1)));
    assert!(
        timeline
            .figures(None, Some(300 * MINUTE))
            .points
            .iter()
            .all(|point| point.requests == 0)
    );
}

#[test]
fn a_clock_that_jumps_back_a_little_loses_nothing() {
    assert_eq!(busy(&fold([100, 101, 70, 101])), [(70, 1), (100, 1), (101, 2)]);
}

#[test]
fn a_straggler_is_counted_and_harms_nothing() {
    let timeline = fold([1000, 1001, 3, 1001]);
    assert_eq!(busy(&timeline), [(1000, 1), (1001, 2)]);
    assert_eq!(timeline.figures(None, None).late, 1);
}

#[test]
fn a_clock_that_is_set_back_is_followed() {
    let timeline = fold(std::iter::repeat_n(100_000, 5).chain(std::iter::repeat_n(500, 30)));
    assert_eq!(busy(&timeline), [(500, 21)]);
    assert_eq!(timeline.figures(None, None).late, 10);
}

#[test]
fn the_ends_of_time_are_times() {
    let timeline = fold([0]);
    for time_ms in [i64::MIN, i64::MAX, 0] {
        let mut timeline = timeline.clone();
        (0..20).for_each(|_| timeline.add(&at(time_ms)));
        assert!(timeline.figures(None, None).points.len() <= 60);
        assert!(timeline.figures(None, Some(i64::MIN)).points.len() <= 60);
    }
}

#[test]
fn parts_make_the_whole() {
    let (mut odd, even) = (fold((1..90).step_by(2)), fold((0..90).step_by(2)));
    odd.merge(&even);
    assert_eq!(busy(&odd), busy(&fold(0..90)));
}

#[test]
fn any_period_has_a_readable_number_of_buckets() {
    let day = 86_400_000;
    for (period, width) in [
        (0, MINUTE),
        (3_600_000, 10 * MINUTE),
        (day, 60 * MINUTE),
        (7 * day, 6 * 60 * MINUTE),
        (30 * day, day),
    ] {
        let found = Resolution::for_period(period);
        assert!(found.bucket_ms == width || period == 3_600_000, "{period}: {found:?}");
        assert!(found.n_buckets <= 62 && found.n_buckets as i64 * found.bucket_ms >= period);
    }
    let years = Resolution::for_period(30 * 365 * day);
    assert!(years.n_buckets <= 62, "{years:?}");
}
