//! One order for equal rows: sorts the three tables and drops what nothing refers to.

use super::{Outcome, Outcomes};

impl Outcomes {
    /// The same rows in the order that [`Outcomes`] promises, for tables put together by hand.
    pub fn in_order(self) -> Self {
        let Self {
            prompts,
            models,
            score_kinds,
            mut outcomes,
        } = self;
        let (prompts, prompt_map) = sorted(prompts, used(&outcomes, |outcome| outcome.prompt), |a, b| {
            (&a.dataset, &a.subset, &a.prompt_id).cmp(&(&b.dataset, &b.subset, &b.prompt_id))
        });
        let (models, model_map) = sorted(models, used(&outcomes, |outcome| outcome.model), |a, b| {
            a.name.cmp(&b.name)
        });
        let (score_kinds, kind_map) = sorted(score_kinds, used(&outcomes, |outcome| outcome.score_kind), Ord::cmp);
        for outcome in &mut outcomes {
            outcome.prompt = prompt_map[outcome.prompt];
            outcome.model = model_map[outcome.model];
            outcome.score_kind = kind_map[outcome.score_kind];
        }
        outcomes.sort_by_key(|outcome| (outcome.prompt, outcome.model));
        Self {
            prompts,
            models,
            score_kinds,
            outcomes,
        }
    }
}

/// Indices that some outcome refers to, each once, in order.
fn used(outcomes: &[Outcome], index: impl Fn(&Outcome) -> usize) -> Vec<usize> {
    let mut used: Vec<usize> = outcomes.iter().map(index).collect();
    used.sort_unstable();
    used.dedup();
    used
}

/// The items at `used`, sorted, and where each old index went.
fn sorted<T>(
    items: Vec<T>,
    mut used: Vec<usize>,
    compare: impl Fn(&T, &T) -> std::cmp::Ordering,
) -> (Vec<T>, Vec<usize>) {
    used.sort_by(|&a, &b| compare(&items[a], &items[b]));
    let mut map = vec![usize::MAX; items.len()];
    for (new, &old) in used.iter().enumerate() {
        map[old] = new;
    }
    let mut items: Vec<Option<T>> = items.into_iter().map(Some).collect();
    let kept = used
        .iter()
        .map(|&old| items[old].take().expect("each used index is listed once"))
        .collect();
    (kept, map)
}
