#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`SessionRepository`](tee_session_domain::SessionRepository) is the trait that the store of an
//!   [`Application`] implements.
//! - [`SessionPolicy`](tee_session_domain::SessionPolicy) contains the timeouts and limits of
//!   sessions.
//! - [`BearerAuth`](tee_session_auth_middleware::BearerAuth) authenticates the requests.

mod application;
mod metrics;
mod openapi;
mod problem;
mod request;
mod routes;
mod server;
mod settings;
mod store;
mod telemetry;
mod upstream;
mod wire;

// The module `fuzzing` is not part of the stable API of this crate.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub use self::routes::fuzzing;
pub use tee_session_auth_middleware::{InvalidTokenLimit, TrustedProxies};
pub use tee_session_near_cache::{NearCache, NearCacheSettings};
/// The crate [`tee_session_upstream`]. [`UpstreamSettings`] contains types of this crate.
pub use tee_session_upstream as upstream_client;

pub use self::{
    application::{Application, RESERVED_CONNECTIONS},
    metrics::listener::MAX_METRICS_CONNECTIONS,
    request::{
        client_secret::ClientSecret,
        cors::{AllowedOrigins, InvalidOrigin},
        scope::Scope,
        service_client::{InvalidServiceClient, ServiceClient, ServiceClients},
    },
    server::{
        certificate_expiry::{CertificateWarning, certificate_warnings, watch_certificate},
        regular_file::read_regular_file,
        tls::TlsFiles,
    },
    settings::{ApiSettings, SettingsConflict, StoreKind, UpstreamSettings},
    telemetry::{
        log_layer::BoxedLayer,
        logging::{LogFormat, LogGuard, UnknownLogFormat, start_logging},
        root_span::{REQUEST_SPAN, UNEXPORTED_REQUEST_SPAN},
        sampling::TraceSampling,
    },
};
