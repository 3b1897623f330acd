//! HTTP server: connections, their deadlines and limits, TLS, and graceful shutdown.

pub(crate) mod bind;
pub(crate) mod certificate_expiry;
mod client_stream;
pub(crate) mod connection;
pub(crate) mod connection_limits;
pub(crate) mod drain;
mod empty_lines;
mod head_timeout;
pub(crate) mod http;
mod interim_response;
mod linger;
pub(crate) mod regular_file;
pub(crate) mod tls;
mod upgrade_offer;
