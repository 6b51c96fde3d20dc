//! Puts names beside points so that they cover neither each other nor the points.

/// A name beside a point.
pub(super) struct Label {
    pub(super) text: String,
    pub(super) class: &'static str,
    pub(super) at: (f64, f64),
}

/// Where the text of a label starts (its baseline), and whether it needs a line to its point.
pub(super) struct Placed {
    pub(super) x: f64,
    pub(super) y: f64,
    pub(super) is_far: bool,
}

/// A rectangle: left, top, right, bottom.
pub(super) type Area = [f64; 4];

/// Width of a character over the height of the font. Measured on system fonts, on the wide side.
const CHARACTER: f64 = 0.56;
/// Half the side of the square that a point covers.
const POINT: f64 = 6.0;

/// Places labels one by one, each where it disturbs least. `lines` are points of drawn curves.
pub(super) fn place(labels: &[Label], lines: &[(f64, f64)], frame: Area, font: f64) -> Vec<Placed> {
    let points = labels.iter().map(|label| around(label.at));
    let mut taken: Vec<Area> = points.collect();
    let place_one = |label: &Label| {
        let candidates = candidates(label, font);
        let cost = |area: &Area, distance: f64| {
            let covered = taken.iter().map(|other| overlap(area, other)).sum::<f64>();
            let crossed = lines.iter().filter(|point| holds(area, **point)).count() as f64;
            let is_nearer = |other: &&Label| apart(area, other.at) < apart(area, label.at);
            let misread = labels.iter().filter(is_nearer).count() as f64;
            100.0 * outside(area, &frame) + 5.0 * covered + 150.0 * misread + 1.5 * crossed + 0.8 * distance
        };
        let best = candidates
            .into_iter()
            .min_by(|(a, x), (b, y)| cost(a, *x).total_cmp(&cost(b, *y)));
        let (area, distance) = best.expect("there is a candidate for each direction");
        taken.push(area);
        Placed {
            x: area[0],
            y: area[3] - 0.25 * font,
            is_far: distance > 14.0,
        }
    };
    labels.iter().map(place_one).collect()
}

/// Areas beside the point in eight directions, near and far.
fn candidates(label: &Label, font: f64) -> Vec<(Area, f64)> {
    let width = CHARACTER * font * label.text.chars().count() as f64;
    let ((x, y), height) = (label.at, 1.1 * font);
    let (left, middle, right) = (x - width, x - width / 2.0, x);
    let one = |distance: f64| {
        let slant = 0.6 * distance;
        let corners = [
            (right + distance, y - height / 2.0),
            (left - distance, y - height / 2.0),
            (middle, y - height - distance),
            (middle, y + distance),
            (right + slant, y - height - slant),
            (left - slant, y - height - slant),
            (right + slant, y + slant),
            (left - slant, y + slant),
        ];
        corners.map(|(x, y)| ([x, y, x + width, y + height], distance))
    };
    [9.0, 18.0, 30.0, 45.0].into_iter().flat_map(one).collect()
}

fn around((x, y): (f64, f64)) -> Area {
    [x - POINT, y - POINT, x + POINT, y + POINT]
}

fn overlap(a: &Area, b: &Area) -> f64 {
    let width = a[2].min(b[2]) - a[0].max(b[0]);
    let height = a[3].min(b[3]) - a[1].max(b[1]);
    width.max(0.0) * height.max(0.0)
}

fn outside(area: &Area, frame: &Area) -> f64 {
    let over = [
        frame[0] - area[0],
        frame[1] - area[1],
        area[2] - frame[2],
        area[3] - frame[3],
    ];
    over.into_iter().map(|over| over.max(0.0)).sum()
}

/// Distance from a point to the nearest edge of an area; zero inside.
fn apart(area: &Area, (x, y): (f64, f64)) -> f64 {
    let across = (area[0] - x).max(x - area[2]).max(0.0);
    let upright = (area[1] - y).max(y - area[3]).max(0.0);
    across.hypot(upright)
}

fn holds(area: &Area, (x, y): (f64, f64)) -> bool {
    area[0] <= x && x <= area[2] && area[1] <= y && y <= area[3]
}

/// Points along a path, close enough that a label cannot slip between two.
pub(super) fn along(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let between = |pair: &[(f64, f64)]| {
        let ((x, y), (to_x, to_y)) = (pair[0], pair[1]);
        let n = ((to_x - x).hypot(to_y - y) / 6.0).ceil().max(1.0);
        let at = move |step: usize| (x + (to_x - x) * step as f64 / n, y + (to_y - y) * step as f64 / n);
        (0..n as usize).map(at).collect::<Vec<_>>()
    };
    points.windows(2).flat_map(between).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_of_near_points_do_not_overlap() {
        let label = |x: f64, y: f64| Label {
            text: "a tier of some name".to_owned(),
            class: "",
            at: (x, y),
        };
        let labels = [
            label(50.0, 50.0),
            label(55.0, 52.0),
            label(60.0, 50.0),
            label(290.0, 50.0),
        ];
        let placed = place(&labels, &[], [0.0, 0.0, 300.0, 200.0], 13.0);
        let width = CHARACTER * 13.0 * 19.0;
        let areas: Vec<Area> = placed
            .iter()
            .map(|p| [p.x, p.y - 11.05, p.x + width, p.y + 3.25])
            .collect();
        for (i, area) in areas.iter().enumerate() {
            assert!(outside(area, &[0.0, 0.0, 300.0, 200.0]) < 1e-9);
            assert!(areas[..i].iter().all(|other| overlap(area, other) < 1e-9));
        }
    }
}
