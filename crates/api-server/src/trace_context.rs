//! W3C Trace Context: what a request says of the trace that it belongs to, and what its answer says.

use std::str::FromStr;

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    SpanId, TraceFlags, TraceId,
    trace::{SpanContext, TraceState},
};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Length of `00-<32 digits>-<16 digits>-<2 digits>`, of which newer versions may be extensions.
const VERSION_0_LEN: usize = 55;

/// The standard asks to pass on so many bytes; a longer state is left out.
const MAX_STATE_LEN: usize = 512;

/// The caller's span, if the request names exactly one, as the standard spells it.
pub(crate) fn caller(headers: &HeaderMap) -> Option<SpanContext> {
    let mut fields = headers.get_all(TRACEPARENT);
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let (trace_id, span_id, flags) = parse(field.as_bytes())?;
    let caller = SpanContext::new(trace_id, span_id, flags, true, state(headers));
    caller.is_valid().then_some(caller)
}

fn parse(field: &[u8]) -> Option<(TraceId, SpanId, TraceFlags)> {
    let (known, extension) = field.split_at_checked(VERSION_0_LEN)?;
    let may_be_longer = !known.starts_with(b"00") && extension.starts_with(b"-");
    if known.starts_with(b"ff") || !(extension.is_empty() || may_be_longer) {
        return None;
    }
    let parts: Vec<&[u8]> = known.split(|byte| *byte == b'-').collect();
    let [version, trace_id, span_id, flags] = parts.as_slice() else {
        return None;
    };
    hexadecimal::<1>(version)?;
    let [flags] = hexadecimal(flags)?;
    Some((
        TraceId::from_bytes(hexadecimal(trace_id)?),
        SpanId::from_bytes(hexadecimal(span_id)?),
        TraceFlags::new(flags) & TraceFlags::SAMPLED,
    ))
}

/// Exactly `N` bytes in lower-case digits.
fn hexadecimal<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let (pairs, []) = digits.as_chunks::<2>() else {
        return None;
    };
    let mut bytes = [0; N];
    if pairs.len() != N {
        return None;
    }
    for (byte, [high, low]) in bytes.iter_mut().zip(pairs) {
        *byte = digit(*high)? << 4 | digit(*low)?;
    }
    Some(bytes)
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

fn state(headers: &HeaderMap) -> TraceState {
    let mut members = String::new();
    for field in headers.get_all(TRACESTATE) {
        let Ok(field) = field.to_str() else {
            return TraceState::default();
        };
        let separator = if members.is_empty() { "" } else { "," };
        if members.len() + separator.len() + field.len() > MAX_STATE_LEN {
            return TraceState::default();
        }
        members.push_str(separator);
        members.push_str(field);
    }
    TraceState::from_str(&members).unwrap_or_default()
}

/// What tells a caller which span answered it.
pub(crate) fn response_field(span: &SpanContext) -> Option<HeaderValue> {
    let (trace_id, span_id, flags) = (span.trace_id(), span.span_id(), span.trace_flags());
    HeaderValue::try_from(format!("00-{trace_id}-{span_id}-{flags:02x}")).ok()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN_ID: &str = "00f067aa0ba902b7";

    fn headers(fields: &[(HeaderName, &[u8])]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
        }
        headers
    }

    fn caller_of(traceparent: &[u8]) -> Option<SpanContext> {
        caller(&headers(&[(TRACEPARENT, traceparent)]))
    }

    #[rstest]
    #[case::sampled(format!("00-{TRACE_ID}-{SPAN_ID}-01"), true)]
    #[case::not_sampled(format!("00-{TRACE_ID}-{SPAN_ID}-00"), false)]
    #[case::unknown_flags(format!("00-{TRACE_ID}-{SPAN_ID}-fe"), false)]
    #[case::newer_version(format!("01-{TRACE_ID}-{SPAN_ID}-01"), true)]
    #[case::newer_version_says_more(format!("cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-brings"), true)]
    fn a_caller_is_known_by_trace_span_and_flag(#[case] field: String, #[case] sampled: bool) {
        let caller = caller_of(field.as_bytes()).unwrap();
        assert_eq!(caller.trace_id().to_string(), TRACE_ID);
        assert_eq!(caller.span_id().to_string(), SPAN_ID);
        assert_eq!(caller.is_sampled(), sampled);
        assert!(caller.is_remote());
    }

    #[rstest]
    #[case::empty(b"".to_vec())]
    #[case::no_trace(format!("00-{:032}-{SPAN_ID}-01", 0).into_bytes())]
    #[case::no_span(format!("00-{TRACE_ID}-{:016}-01", 0).into_bytes())]
    #[case::forbidden_version(format!("ff-{TRACE_ID}-{SPAN_ID}-01").into_bytes())]
    #[case::upper_case(format!("00-{}-{SPAN_ID}-01", TRACE_ID.to_uppercase()).into_bytes())]
    #[case::sign(format!("00-+{}-{SPAN_ID}-01", &TRACE_ID[1..]).into_bytes())]
    #[case::short_trace(format!("00-{}-{SPAN_ID}0-01", &TRACE_ID[1..]).into_bytes())]
    #[case::longer_than_its_version(format!("00-{TRACE_ID}-{SPAN_ID}-01-x").into_bytes())]
    #[case::no_separator(format!("01-{TRACE_ID}-{SPAN_ID}-01x").into_bytes())]
    #[case::cut(format!("00-{TRACE_ID}-{SPAN_ID}-0").into_bytes())]
    #[case::not_ascii(vec![0xff; 55])]
    #[case::only_separators(vec![b'-'; 55])]
    fn anything_else_names_no_caller(#[case] field: Vec<u8>) {
        assert_eq!(caller_of(&field), None);
    }

    #[test]
    fn two_callers_are_none() {
        let field = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let field = (TRACEPARENT, field.as_bytes());
        assert_eq!(caller(&headers(&[field.clone(), field])), None);
    }

    #[test]
    fn the_state_goes_with_the_caller_but_not_when_it_is_long() {
        let traceparent = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let longest = format!("a={},b={}", "x".repeat(254), "y".repeat(253));
        assert_eq!(longest.len(), MAX_STATE_LEN);
        let long = format!("{longest}y");
        let state_of = |states: &[&str]| {
            let mut fields = vec![(TRACEPARENT, traceparent.as_bytes())];
            fields.extend(states.iter().map(|state| (TRACESTATE, state.as_bytes())));
            caller(&headers(&fields)).unwrap().trace_state().header()
        };
        assert_eq!(state_of(&["a=1,b=2", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(state_of(&[&longest]), longest);
        assert_eq!(state_of(&[&long]), "");
        assert_eq!(state_of(&["no member"]), "");
    }

    #[test]
    fn the_answer_names_its_span() {
        let field = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let span = caller_of(field.as_bytes()).unwrap();
        assert_eq!(response_field(&span).unwrap(), field.as_str());
    }
}
