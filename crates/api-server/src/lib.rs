#![doc = include_str!("../README.md")]

mod application;
mod body;
mod bounded_stream;
mod client_secret;
mod cors;
mod deadline;
// No part of the API that is kept stable.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod health_monitor;
mod http_server;
mod lifecycle;
mod log_context;
mod log_layer;
mod log_line;
mod meters;
mod metrics_listener;
mod metrics_recorder;
mod oauth_error;
mod observed_repository;
mod openapi;
mod precondition;
mod problem;
mod process_metrics;
mod request_body;
mod request_id;
mod request_limits;
mod request_observer;
mod root_span;
mod routes;
mod service_client;
mod session_events;
mod sessions_query;
mod settings;
mod state_gauges;
mod static_file;
mod telemetry;
mod tls;
mod trace_context;
mod trace_sampling;

pub use tee_session_auth_middleware::{InvalidTokenLimit, TrustedProxies};
pub use tee_session_near_cache::{NearCache, NearCacheSettings};

pub use self::{
    application::Application,
    client_secret::ClientSecret,
    cors::{AllowedOrigins, InvalidOrigin},
    root_span::{REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN},
    service_client::{InvalidServiceClient, Scope, ServiceClient, ServiceClients},
    settings::{ApiSettings, StoreKind},
    telemetry::{BoxedLayer, LogFormat, LogGuard, UnknownLogFormat, start_logging},
    tls::TlsFiles,
    trace_sampling::TraceSampling,
};
