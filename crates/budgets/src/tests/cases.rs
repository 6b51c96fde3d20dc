//! What a store must do, as data: steps on an account with a limit of one dollar or a thousand tokens.

use super::contract::Expected::{Held, Invalid, Refused};
use super::contract::Step::{self, Release, Reserve, Settle, Stands, Sweep};
use crate::account::Period;

/// From noon to midnight, in seconds: cases begin at noon.
pub(super) const MIDNIGHT: i64 = 12 * 60 * 60;

const DAY: i64 = 24 * 60 * 60;

/// A name, a period and what happens. Dollars stand for a thousand tokens each; times are seconds.
pub(super) const CASES: &[(&str, Period, &[Step])] = &[
    (
        "what is held counts",
        Period::Total,
        &[
            Reserve("a", 0.6, 0, 60, Held),
            Reserve("b", 0.6, 1, 60, Refused { left: 0.4 }),
            Reserve("b", 0.4, 2, 60, Held),
            Stands(0.0, 1.0, 2),
            Reserve("c", 0.001, 2, 60, Refused { left: 0.0 }),
        ],
    ),
    (
        "dimes fill a dollar",
        Period::Total,
        &[
            Reserve("a", 0.1, 0, 60, Held),
            Reserve("b", 0.2, 0, 60, Held),
            Reserve("c", 0.7, 0, 60, Held),
            Stands(0.0, 1.0, 0),
        ],
    ),
    (
        "a release frees, once",
        Period::Total,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Release("a"),
            Stands(0.0, 0.0, 1),
            Reserve("b", 1.0, 1, 60, Held),
            Release("a"),
            Release("never held"),
            Stands(0.0, 1.0, 1),
            Reserve("a", 0.1, 1, 60, Invalid),
        ],
    ),
    (
        "settling twice counts once",
        Period::Total,
        &[
            Reserve("a", 0.6, 0, 60, Held),
            Settle("a", 0.1, 1),
            Settle("a", 0.5, 2),
            Release("a"),
            Stands(0.1, 0.0, 2),
            Reserve("a", 0.1, 2, 60, Invalid),
            Stands(0.1, 0.0, 100),
        ],
    ),
    (
        "real usage is booked beyond the limit",
        Period::Total,
        &[
            Reserve("a", 0.6, 0, 60, Held),
            Settle("a", 1.5, 1),
            Stands(1.5, 0.0, 1),
            Reserve("b", 0.001, 1, 60, Refused { left: 0.0 }),
        ],
    ),
    (
        "a vanished client holds until expiry",
        Period::Total,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Reserve("b", 0.5, 59, 90, Refused { left: 0.0 }),
            Reserve("b", 0.5, 60, 90, Held),
            Stands(0.0, 0.5, 60),
        ],
    ),
    (
        "a settle after expiry books",
        Period::Total,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Stands(0.0, 0.0, 60),
            Settle("a", 0.7, 61),
            Settle("a", 0.7, 62),
            Stands(0.7, 0.0, 62),
        ],
    ),
    (
        "a settle past its expiry that nobody noticed",
        Period::Total,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Settle("a", 0.7, 100),
            Stands(0.7, 0.0, 100),
        ],
    ),
    (
        "a settle after release books",
        Period::Total,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Release("a"),
            Settle("a", 0.7, 1),
            Stands(0.7, 0.0, 1),
        ],
    ),
    (
        "a settle without reservation books once",
        Period::Total,
        &[
            Settle("a", 0.3, 0),
            Settle("a", 0.3, 1),
            Stands(0.3, 0.0, 1),
            Reserve("a", 0.1, 1, 60, Invalid),
        ],
    ),
    (
        "a reservation again holds once",
        Period::Total,
        &[
            Reserve("a", 0.6, 0, 60, Held),
            Reserve("a", 0.6, 1, 60, Held),
            Reserve("a", 0.5, 1, 60, Invalid),
            Stands(0.0, 0.6, 1),
        ],
    ),
    (
        "nothing used",
        Period::Total,
        &[
            Reserve("a", 0.0, 0, 60, Held),
            Settle("a", 0.0, 1),
            Reserve("b", 0.2, 0, 60, Held),
            Settle("b", 0.0, 1),
            Stands(0.0, 0.0, 1),
        ],
    ),
    (
        "a sweep frees what has expired",
        Period::Total,
        &[
            Reserve("a", 0.2, 0, 60, Held),
            Reserve("b", 0.3, 0, 61, Held),
            Sweep(60),
            Stands(0.0, 0.3, 0),
        ],
    ),
    (
        "a clock that jumps back keeps holds",
        Period::Total,
        &[
            Reserve("a", 0.7, 100, 160, Held),
            Stands(0.0, 0.7, -1000),
            Reserve("b", 0.7, -1000, 0, Refused { left: 0.3 }),
            Stands(0.0, 0.0, 160),
        ],
    ),
    (
        "a new day starts at zero",
        Period::Day,
        &[
            Reserve("a", 1.0, 0, 60, Held),
            Settle("a", 1.0, 1),
            Reserve("b", 1.0, MIDNIGHT - 1, MIDNIGHT + 60, Refused { left: 0.0 }),
            Reserve("b", 1.0, MIDNIGHT, MIDNIGHT + 60, Held),
            Stands(0.0, 1.0, MIDNIGHT),
            // Back again: what was spent that day is there.
            Stands(1.0, 0.0, MIDNIGHT - 1),
            Reserve("c", 0.1, MIDNIGHT - 1, MIDNIGHT, Refused { left: 0.0 }),
        ],
    ),
    (
        "a call across midnight is of the day it began",
        Period::Day,
        &[
            Reserve("a", 0.5, MIDNIGHT - 1, MIDNIGHT + 60, Held),
            Settle("a", 0.4, MIDNIGHT + 1),
            Stands(0.4, 0.0, MIDNIGHT - 1),
            Stands(0.0, 0.0, MIDNIGHT + 1),
        ],
    ),
    (
        "a clock that jumps ahead and back keeps the day",
        Period::Day,
        &[
            Reserve("a", 0.5, 0, 60, Held),
            Settle("a", 0.5, 1),
            Reserve("b", 0.1, 1, 60, Held),
            Sweep(80 * 365 * DAY),
            Stands(0.0, 0.0, 80 * 365 * DAY),
            Stands(0.5, 0.0, 2),
            Settle("b", 0.1, 2),
            Stands(0.6, 0.0, 2),
        ],
    ),
];
