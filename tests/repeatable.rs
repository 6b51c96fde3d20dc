//! The same inputs and seed give the same checkpoint.

use crate::fixture::{Fixture, contents};

#[test]
fn the_same_inputs_and_seed_give_the_same_bytes() {
    let data = Fixture::new();
    for (out, seed) in [("a", "7"), ("b", "7"), ("c", "8")] {
        data.train(out, &["--seed", seed]).ok();
    }
    let [a, b, c] = ["a", "b", "c"].map(|out| contents(&data.path(out)));
    assert!(a.contains_key("network.bpk") && a.contains_key("manifest.json"));
    for (name, bytes) in &a {
        assert!(b[name] == *bytes, "{name} differs");
    }
    assert!(a.keys().eq(b.keys()) && a.keys().eq(c.keys()));
    assert!(a["network.bpk"] != c["network.bpk"] && a["manifest.json"] != c["manifest.json"]);
}
