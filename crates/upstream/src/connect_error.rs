//! Error of the establishment of a connection to a site.

use std::{io, sync::Arc};

use thiserror::Error;

/// Reason why no connection to a site could be established.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The host name of the site cannot be resolved.
    #[error("the name of the site cannot be resolved")]
    Lookup(#[source] Arc<io::Error>),
    /// The host name of the site has no address.
    #[error("the name of the site has no address")]
    NoAddress,
    /// The site refuses the connection or is not reachable.
    #[error("the site cannot be connected to")]
    Connect(#[source] io::Error),
    /// The TLS handshake failed, for example because the certificate is not valid.
    #[error("the TLS handshake with the site failed")]
    Tls(#[source] io::Error),
    /// The host of the site is not a valid server name for TLS.
    #[error("the host of the site cannot occur in a certificate")]
    ServerName,
    /// The site closed a new connection before the request was sent.
    #[error("the site closed the connection before the request was sent")]
    Closed,
}
