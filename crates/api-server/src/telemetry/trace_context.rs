//! W3C Trace Context: reads the parent span from the request headers `traceparent` and
//! `tracestate`, and builds the response header `traceresponse`.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::{
    Context, global,
    propagation::Extractor,
    trace::{SpanContext, TraceContextExt},
};

use crate::request::credentials::contains_credentials;

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");
pub(crate) const TRACERESPONSE: HeaderName = HeaderName::from_static("traceresponse");

/// Maximum length of `tracestate`, in bytes. W3C Trace Context recommends that a `tracestate` of up
/// to this length is passed on. A longer `tracestate` is ignored.
const MAX_STATE_LEN: usize = 512;

/// Returns the trace context in the headers of a request, as read by OpenTelemetry's global
/// propagator. Returns `None` if `traceparent` is missing, repeated or malformed.
///
/// Also returns `None` if `traceparent` or `tracestate` contains credentials of the request: the
/// trace id is logged, and both headers are exported.
pub(crate) fn caller(headers: &HeaderMap) -> Option<Context> {
    let mut fields = headers.get_all(TRACEPARENT);
    let (Some(parent), None) = (fields.next(), fields.next()) else {
        return None;
    };
    let fields = Fields {
        parent: parent.to_str().ok()?,
        state: state(headers),
    };
    let context = global::get_text_map_propagator(|propagator| {
        propagator.extract_with_context(&Context::new(), &fields)
    });
    let state = fields.state.as_deref().unwrap_or_default();
    let is_usable = context.has_active_span()
        && ![fields.parent, state]
            .iter()
            .any(|field| contains_credentials(field, headers));
    is_usable.then_some(context)
}

/// Values of `traceparent` and `tracestate`. An OpenTelemetry propagator reads the trace context
/// from these values.
struct Fields<'a> {
    parent: &'a str,
    state: Option<String>,
}

impl Extractor for Fields<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        match key {
            "traceparent" => Some(self.parent),
            "tracestate" => self.state.as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

/// Joins the values of all `tracestate` headers with commas. Returns `None` if the result is longer
/// than [`MAX_STATE_LEN`], or if a value is not ASCII.
fn state(headers: &HeaderMap) -> Option<String> {
    let mut state = String::new();
    for field in headers.get_all(TRACESTATE) {
        let field = field.to_str().ok()?;
        let separator = if state.is_empty() { "" } else { "," };
        if state.len() + separator.len() + field.len() > MAX_STATE_LEN {
            return None;
        }
        state.push_str(separator);
        state.push_str(field);
    }
    Some(state)
}

/// Builds the value of the header `traceresponse`: the trace id, the span id and the flags of
/// `span`, the root span of the request.
pub(crate) fn response_field(span: &SpanContext) -> Option<HeaderValue> {
    let (trace_id, span_id, flags) = (span.trace_id(), span.span_id(), span.trace_flags());
    HeaderValue::try_from(format!("00-{trace_id}-{span_id}-{flags:02x}")).ok()
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::AUTHORIZATION;
    use opentelemetry::trace::SpanContext;
    use opentelemetry_sdk::propagation::TraceContextPropagator;
    use rstest::rstest;

    use super::*;

    const TRACE_ID: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
    const SPAN_ID: &str = "00f067aa0ba902b7";

    fn parse_headers(fields: &[(HeaderName, &[u8])]) -> Option<SpanContext> {
        global::set_text_map_propagator(TraceContextPropagator::new());
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name.clone(), HeaderValue::from_bytes(value).unwrap());
        }
        caller(&headers).map(|context| context.span().span_context().clone())
    }

    fn parse_traceparent(traceparent: &str) -> Option<SpanContext> {
        parse_headers(&[(TRACEPARENT, traceparent.as_bytes())])
    }

    #[rstest]
    #[case::sampled(format!("00-{TRACE_ID}-{SPAN_ID}-01"), true)]
    #[case::not_sampled(format!("00-{TRACE_ID}-{SPAN_ID}-00"), false)]
    #[case::unknown_flags(format!("00-{TRACE_ID}-{SPAN_ID}-fe"), false)]
    #[case::newer_version(format!("01-{TRACE_ID}-{SPAN_ID}-01"), true)]
    #[case::newer_version_with_more_fields(format!("cc-{TRACE_ID}-{SPAN_ID}-01-what-the-future-brings"), true)]
    fn trace_id_span_id_and_sampled_flag_are_read_from_traceparent(
        #[case] field: String,
        #[case] is_sampled: bool,
    ) {
        let caller = parse_traceparent(&field).unwrap();
        assert_eq!(caller.trace_id().to_string(), TRACE_ID);
        assert_eq!(caller.span_id().to_string(), SPAN_ID);
        assert_eq!(caller.is_sampled(), is_sampled);
        assert!(caller.is_remote());
    }

    #[rstest]
    #[case::empty("")]
    #[case::zero_trace(&format!("00-{:032}-{SPAN_ID}-01", 0))]
    #[case::zero_span(&format!("00-{TRACE_ID}-{:016}-01", 0))]
    #[case::forbidden_version(&format!("ff-{TRACE_ID}-{SPAN_ID}-01"))]
    #[case::upper_case_trace(&format!("00-{}-{SPAN_ID}-01", TRACE_ID.to_uppercase()))]
    #[case::long_trace(&format!("00-{TRACE_ID}0-{SPAN_ID}-01"))]
    #[case::version_0_with_more_fields(&format!("00-{TRACE_ID}-{SPAN_ID}-01-x"))]
    #[case::no_separator(&format!("01-{TRACE_ID}-{SPAN_ID}-01x"))]
    #[case::no_flags(&format!("00-{TRACE_ID}-{SPAN_ID}"))]
    #[case::only_separators(&"-".repeat(55))]
    fn malformed_traceparent_is_ignored(#[case] field: &str) {
        assert_eq!(parse_traceparent(field), None);
    }

    /// Documents that OpenTelemetry's propagator accepts some values that W3C Trace Context
    /// forbids.
    #[rstest]
    #[case::upper_case_version(&format!("0A-{TRACE_ID}-{SPAN_ID}-01"))]
    #[case::short_trace(&format!("00-{}-{SPAN_ID}-01", &TRACE_ID[1..]))]
    #[case::plus_sign_in_trace_id(&format!("00-+{}-{SPAN_ID}-01", &TRACE_ID[1..]))]
    #[case::short_flags(&format!("00-{TRACE_ID}-{SPAN_ID}-1"))]
    #[case::separator_at_the_end(&format!("00-{TRACE_ID}-{SPAN_ID}-01-"))]
    fn opentelemetry_propagator_accepts_some_malformed_traceparents(#[case] field: &str) {
        assert!(parse_traceparent(field).unwrap().is_sampled());
    }

    #[test]
    fn traceparent_that_is_not_ascii_is_ignored() {
        assert_eq!(parse_headers(&[(TRACEPARENT, &[0xff; 55])]), None);
    }

    #[test]
    fn repeated_traceparent_is_ignored() {
        let field = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let field = (TRACEPARENT, field.as_bytes());
        assert_eq!(parse_headers(&[field.clone(), field]), None);
    }

    #[rstest]
    #[case::token_without_hyphens("Bearer 4bf92f35-77b3-4da6-a3ce-929d0e0e4736", "a=1")]
    #[case::token_in_the_state(
        "Bearer 5f0c8d2e-7b1a-4c3d-9e8f-0a1b2c3d4e5f",
        "a=5F0C8D2E7B1A4C3D9E8F0A1B2C3D4E5F"
    )]
    #[case::secret_of_a_service_client("Basic Y2k6czNjcmV0", "a=s3cret")]
    fn trace_context_that_contains_credentials_is_ignored(
        #[case] authorization: &str,
        #[case] state: &str,
    ) {
        let traceparent = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let mut fields = vec![
            (TRACEPARENT, traceparent.as_bytes()),
            (TRACESTATE, state.as_bytes()),
        ];
        assert!(parse_headers(&fields).is_some());
        fields.push((AUTHORIZATION, authorization.as_bytes()));
        assert_eq!(parse_headers(&fields), None);
    }

    #[test]
    fn tracestate_is_kept_up_to_512_bytes_and_ignored_if_longer() {
        let traceparent = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let longest = format!("a={},b={}", "x".repeat(254), "y".repeat(253));
        assert_eq!(longest.len(), MAX_STATE_LEN);
        let long = format!("{longest}y");
        let state_of = |states: &[&str]| {
            let mut fields = vec![(TRACEPARENT, traceparent.as_bytes())];
            fields.extend(states.iter().map(|state| (TRACESTATE, state.as_bytes())));
            parse_headers(&fields).unwrap().trace_state().header()
        };
        assert_eq!(state_of(&["a=1,b=2", "c=3"]), "a=1,b=2,c=3");
        assert_eq!(state_of(&[&longest]), longest);
        assert_eq!(state_of(&[&long]), "");
        assert_eq!(state_of(&["no member"]), "");
    }

    #[test]
    fn traceresponse_contains_trace_id_span_id_and_flags_of_the_span() {
        let field = format!("00-{TRACE_ID}-{SPAN_ID}-01");
        let span = parse_traceparent(&field).unwrap();
        assert_eq!(response_field(&span).unwrap(), field.as_str());
    }
}
