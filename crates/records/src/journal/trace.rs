//! Where a request stands in a trace: read from the client's `traceparent`, or begun here.
//!
//! Source: W3C Trace Context, <https://www.w3.org/TR/trace-context/>. The server makes one per request and
//! sends each call's header on; `telemetry` makes spans of it. The journal does not keep it.

use std::fmt::Write;

/// The span of a request, and the ids of all spans below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trace {
    /// Id of the trace; never all zero.
    pub trace_id: [u8; 16],
    /// The client's span, where it sent one.
    pub parent: Option<[u8; 8]>,
    /// The request's own span; never all zero.
    pub span: [u8; 8],
    /// Whether its spans are exported.
    pub sampled: bool,
}

impl Trace {
    /// Goes on with the client's trace, or begins one where it sent none or one that does not hold.
    /// `fresh` gives random numbers. A trace that begins here is sampled: see [`Self::sampled_at`].
    pub fn read(traceparent: Option<&str>, mut fresh: impl FnMut() -> u64) -> Self {
        // Ids that are all zero mean that there is none.
        let mut fresh = || fresh().max(1);
        let span = fresh().to_be_bytes();
        if let Some((trace_id, parent, flags)) = traceparent.and_then(fields) {
            let (parent, sampled) = (Some(parent), flags & 1 == 1);
            return Self {
                trace_id,
                parent,
                span,
                sampled,
            };
        }
        let trace_id = (u128::from(fresh()) << 64) | u128::from(fresh());
        Self {
            trace_id: trace_id.to_be_bytes(),
            parent: None,
            span,
            sampled: true,
        }
    }

    /// Samples a share `ratio`, in [0, 1], of the traces that begin here, by their ids, so that whoever samples
    /// at the same ratio takes the same ones. Of a client's trace the client has decided already.
    pub fn sampled_at(self, ratio: f64) -> Self {
        if self.parent.is_some() {
            return self;
        }
        // As the SDKs' `TraceIdRatioBased` does it: 63 bits of the id's lower half.
        let low = u128::from_be_bytes(self.trace_id) as u64 >> 1;
        let bound = (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self {
            sampled: low < bound,
            ..self
        }
    }

    /// Id of the decision's span.
    pub fn of_decision(&self) -> [u8; 8] {
        self.below(0)
    }

    /// Id of the span of the n-th call, counted from zero.
    pub fn of_call(&self, n: usize) -> [u8; 8] {
        self.below(n as u64 + 1)
    }

    /// The `traceparent` to send with the n-th call, so that the endpoint's own spans hang below that call's.
    pub fn header_for_call(&self, n: usize) -> String {
        let mut header = "00-".to_owned();
        push_hex(&mut header, &self.trace_id);
        header.push('-');
        push_hex(&mut header, &self.of_call(n));
        header.push_str(if self.sampled { "-01" } else { "-00" });
        header
    }

    /// Id of a span below the request's: the n-th output of SplitMix64 from its id on (Steele, Lea and Flood 2014,
    /// "Fast splittable pseudorandom number generators"), which repeats only after 2^64 of them.
    fn below(&self, n: u64) -> [u8; 8] {
        let step = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let state = u64::from_be_bytes(self.span).wrapping_add(step);
        let state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (state ^ (state >> 31)).max(1).to_be_bytes()
    }
}

/// Trace, parent span and flags, where the header holds.
fn fields(header: &str) -> Option<([u8; 16], [u8; 8], u8)> {
    let mut parts = header.split('-');
    let [version] = bytes(parts.next()?)?;
    let trace_id = bytes(parts.next()?)?;
    let parent = bytes(parts.next()?)?;
    let [flags] = bytes(parts.next()?)?;
    // Later versions may add fields; what version 0 says of these four holds for them.
    let is_version = version != 0xff && (version != 0 || parts.next().is_none());
    (is_version && trace_id != [0; 16] && parent != [0; 8]).then_some((trace_id, parent, flags))
}

/// Exactly `N` bytes in lowercase hexadecimal: uppercase is not allowed in this header.
fn bytes<const N: usize>(text: &str) -> Option<[u8; N]> {
    let is_digit = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    if text.len() != 2 * N || !text.bytes().all(is_digit) {
        return None;
    }
    let mut read = [0; N];
    for (at, byte) in read.iter_mut().enumerate() {
        *byte = u8::from_str_radix(&text[2 * at..2 * at + 2], 16).ok()?;
    }
    Some(read)
}

fn push_hex(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(text, "{byte:02x}").expect("a string can be written to");
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    const CLIENT: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    /// 7, 8, 9, ...
    fn counted() -> impl FnMut() -> u64 {
        let mut next = 6;
        move || {
            next += 1;
            next
        }
    }

    fn read(header: &str) -> Trace {
        Trace::read(Some(header), counted())
    }

    fn begun() -> Trace {
        Trace::read(None, counted())
    }

    #[test]
    fn the_clients_trace_goes_on() {
        let trace = read(CLIENT);
        assert_eq!(
            u128::from_be_bytes(trace.trace_id),
            0x4bf9_2f35_77b3_4da6_a3ce_929d_0e0e_4736
        );
        assert_eq!(trace.parent.map(u64::from_be_bytes), Some(0x00f0_67aa_0ba9_02b7));
        assert_eq!(u64::from_be_bytes(trace.span), 7);
        assert!(trace.sampled);
    }

    #[test]
    fn the_client_decides_whether_its_trace_is_sampled() {
        let unsampled = read(&CLIENT.replace("-01", "-00"));
        assert!(!unsampled.sampled && !unsampled.sampled_at(1.0).sampled);
        assert!(read(CLIENT).sampled_at(0.0).sampled);
        // Other flags are other people's.
        assert!(read(&CLIENT.replace("-01", "-ff")).sampled);
        assert!(!read(&CLIENT.replace("-01", "-fe")).sampled);
    }

    #[test]
    fn a_later_version_may_say_more() {
        assert_eq!(read(&CLIENT.replacen("00", "01", 1)).parent, read(CLIENT).parent);
        let longer = format!("{}-what-ever", CLIENT.replacen("00", "cc", 1));
        assert_eq!(read(&longer).parent, read(CLIENT).parent);
    }

    #[test]
    fn a_header_that_does_not_hold_begins_a_trace() {
        let shorter = &CLIENT[..54];
        let broken = [
            "",
            "-",
            shorter,
            &CLIENT.to_uppercase(),
            &format!(" {CLIENT}"),
            &format!("{CLIENT}-"),
            &format!("{CLIENT}-00"),
            &CLIENT.replacen("00", "ff", 1),
            &CLIENT.replace("4bf92f3577b34da6a3ce929d0e0e4736", &"0".repeat(32)),
            &CLIENT.replace("00f067aa0ba902b7", &"0".repeat(16)),
            &CLIENT.replace("4bf9", "+bf9"),
            &CLIENT.replace("4bf9", "ébf"),
        ];
        for header in broken {
            assert_eq!(read(header), begun(), "{header}");
        }
        assert_eq!(begun().parent, None);
        assert_eq!(u128::from_be_bytes(begun().trace_id), (8 << 64) | 9);
    }

    #[test]
    fn ids_are_never_zero() {
        let trace = Trace::read(None, || 0);
        assert_ne!(trace.trace_id, [0; 16]);
        assert_ne!(trace.span, [0; 8]);
    }

    #[test]
    fn a_calls_header_is_one_that_is_read() {
        let trace = read(CLIENT);
        let below = read(&trace.header_for_call(2));
        assert_eq!(below.trace_id, trace.trace_id);
        assert_eq!(below.parent, Some(trace.of_call(2)));
        assert!(below.sampled);
        let trace = begun().sampled_at(0.0);
        assert!(trace.header_for_call(0).ends_with("-00"));
    }

    #[test]
    fn a_share_of_the_traces_is_sampled() {
        let mut state = 1_u64;
        let mut fresh = || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            state
        };
        let sampled = |ratio| {
            let traces = (0..4000).map(|_| Trace::read(None, &mut fresh).sampled_at(ratio));
            traces.filter(|trace| trace.sampled).count()
        };
        let [none, quarter, all] = [0.0, 0.25, 1.0].map(sampled);
        assert_eq!((none, all), (0, 4000));
        assert!((900..1100).contains(&quarter), "{quarter}");
    }

    proptest! {
        #[test]
        fn ids_of_one_request_differ(span in 1_u64.., n_calls in 0_usize..50) {
            let trace = Trace { span: span.to_be_bytes(), ..begun() };
            let mut ids: BTreeSet<[u8; 8]> = (0..n_calls).map(|n| trace.of_call(n)).collect();
            ids.extend([trace.span, trace.of_decision()]);
            prop_assert_eq!(ids.len(), n_calls + 2);
            prop_assert!(!ids.contains(&[0; 8]));
        }

        #[test]
        fn any_text_is_read(header in ".{0,80}") {
            read(&header);
        }
    }
}
