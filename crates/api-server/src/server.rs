//! HTTP server: connections and their deadlines, TLS, and graceful shutdown.

mod certificate_expiry;
pub(crate) mod connection_deadlines;
pub(crate) mod drain;
pub(crate) mod http;
pub(crate) mod tls;
