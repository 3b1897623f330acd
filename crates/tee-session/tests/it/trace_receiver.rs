//! A trace collector for tests, which accepts OTLP over HTTP and stores the received spans.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, mpsc},
    thread,
};

use actix_web::{
    App, HttpRequest, HttpResponse, HttpServer,
    dev::ServerHandle,
    rt::System,
    web::{self, Bytes, Data, PayloadConfig},
};
use opentelemetry_proto::tonic::{
    collector::trace::v1::{ExportTraceServiceRequest, ExportTraceServiceResponse},
    common::v1::{AnyValue, KeyValue, any_value::Value},
    trace::v1::Span,
};
use prost::Message;
use tee_session_test_support::free_port;

/// Reaction of the test collector to a batch of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    Accepts,
    Refuses,
    /// Receives the batch of spans, but never responds.
    Hangs,
}

#[derive(Default)]
struct Received {
    spans: Vec<Span>,
    resource: Vec<KeyValue>,
    bytes: Vec<u8>,
    api_key: Option<String>,
}

/// A running trace collector for tests, which receives the spans that the service exports. Dropping
/// the value stops the collector.
pub(crate) struct TraceReceiver {
    address: SocketAddr,
    received: Arc<Mutex<Received>>,
    server: ServerHandle,
}

impl TraceReceiver {
    pub(crate) fn start(behaviour: Behaviour) -> Self {
        Self::start_on(free_port(), behaviour)
    }

    pub(crate) fn start_on(port: u16, behaviour: Behaviour) -> Self {
        let received = Arc::new(Mutex::new(Received::default()));
        let (started, running) = mpsc::channel();
        let stored = Data::from(Arc::clone(&received));
        thread::spawn(move || {
            System::new().block_on(async move {
                let app = move || {
                    App::new()
                        .app_data(stored.clone())
                        .app_data(Data::new(behaviour))
                        .app_data(PayloadConfig::new(16 * 1_024 * 1_024))
                        .route("/v1/traces", web::post().to(receive))
                };
                let server = HttpServer::new(app).workers(1).disable_signals();
                let server = server
                    .shutdown_timeout(0)
                    .bind(("127.0.0.1", port))
                    .unwrap();
                let address = server.addrs()[0];
                let server = server.run();
                started.send((address, server.handle())).unwrap();
                server.await.unwrap();
            });
        });
        let (address, server) = running.recv().unwrap();
        Self {
            address,
            received,
            server,
        }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns all spans received so far that have the name `name`.
    pub(crate) fn spans(&self, name: &str) -> Vec<Span> {
        let received = self.received.lock().unwrap();
        let spans = received.spans.iter().filter(|span| span.name == name);
        spans.cloned().collect()
    }

    /// Returns the number of spans received so far.
    pub(crate) fn count(&self) -> usize {
        self.received.lock().unwrap().spans.len()
    }

    /// Returns the attribute `key` of the OpenTelemetry resource in the last batch of spans.
    /// Returns `None` if the resource has no such attribute.
    pub(crate) fn resource(&self, key: &str) -> Option<String> {
        attribute_value(&self.received.lock().unwrap().resource, key)
    }

    /// Returns the bodies of all received requests with batches of spans, as text. Tests search
    /// this text for leaked secrets.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.received.lock().unwrap().bytes).into_owned()
    }

    /// Returns the value of the header `x-api-key` in the last request. Returns `None` if the
    /// request had no such header.
    pub(crate) fn api_key(&self) -> Option<String> {
        self.received.lock().unwrap().api_key.clone()
    }
}

impl Drop for TraceReceiver {
    fn drop(&mut self) {
        drop(self.server.stop(false));
    }
}

/// Returns the value of the attribute `key` as text. Returns `None` if the attribute is missing, or
/// is neither a string nor an integer.
pub(crate) fn attribute_value(attributes: &[KeyValue], key: &str) -> Option<String> {
    let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
    match attribute.value.as_ref() {
        Some(AnyValue {
            value: Some(Value::StringValue(text)),
        }) => Some(text.clone()),
        Some(AnyValue {
            value: Some(Value::IntValue(number)),
        }) => Some(number.to_string()),
        _ => None,
    }
}

async fn receive(
    received: Data<Mutex<Received>>,
    behaviour: Data<Behaviour>,
    request: HttpRequest,
    body: Bytes,
) -> HttpResponse {
    match **behaviour {
        Behaviour::Accepts => {}
        Behaviour::Refuses => return HttpResponse::ServiceUnavailable().finish(),
        Behaviour::Hangs => std::future::pending().await,
    }
    let batch = ExportTraceServiceRequest::decode(body.clone()).unwrap();
    let mut received = received.lock().unwrap();
    received.bytes.extend_from_slice(&body);
    let field = request.headers().get("x-api-key");
    received.api_key = field.map(|field| field.to_str().unwrap().to_owned());
    for resource in batch.resource_spans {
        if let Some(resource) = resource.resource {
            received.resource = resource.attributes;
        }
        let spans = resource
            .scope_spans
            .into_iter()
            .flat_map(|scope| scope.spans);
        received.spans.extend(spans);
    }
    let response = ExportTraceServiceResponse::default().encode_to_vec();
    HttpResponse::Ok()
        .content_type("application/x-protobuf")
        .body(response)
}
