//! Test of trace propagation: a program that uses the Rust client library sends its trace context
//! to the service.

use opentelemetry::{
    Context, SpanId, TraceFlags, TraceId,
    propagation::{Injector, TextMapPropagator},
    trace::{SpanContext, TraceContextExt},
};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tee_session_client::{Client, SessionToken};

use crate::{
    trace_receiver::{Behaviour, TraceReceiver},
    traces::{GET, start_with_collector, wait_for_span},
};

struct Headers<'a>(&'a mut HeaderMap);

impl Injector for Headers<'_> {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes()).unwrap();
        self.0.insert(name, HeaderValue::try_from(value).unwrap());
    }
}

#[tokio::test]
async fn trace_span_of_a_request_is_a_child_of_the_span_that_the_rust_client_sends() {
    let receiver = TraceReceiver::start(Behaviour::Accepts);
    let service = start_with_collector(&receiver, &["--traces-sample-ratio", "0"]).await;
    let (trace_id, span_id) = (TraceId::from_bytes([7; 16]), SpanId::from_bytes([9; 8]));
    let caller = SpanContext::new(
        trace_id,
        span_id,
        TraceFlags::SAMPLED,
        false,
        <_>::default(),
    );
    let client = Client::builder(service.base()).header_fields(move |headers| {
        let context = Context::new().with_remote_span_context(caller.clone());
        TraceContextPropagator::new().inject_context(&context, &mut Headers(headers));
    });
    let client = client.build().unwrap();
    let token: SessionToken = service.log_in("a1b2c3").await.parse().unwrap();
    client.session(&token).get().await.unwrap();

    let span = wait_for_span(&receiver, GET).await;
    assert_eq!(span.trace_id, trace_id.to_bytes());
    assert_eq!(span.parent_span_id, span_id.to_bytes());
}
