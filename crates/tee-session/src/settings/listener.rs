//! Where the API is served: all that a probe needs to know of the settings.

use std::net::SocketAddr;

use super::{Problems, Reader, Sources};

const UNKNOWN_PORT: &str = "is 0, which picks a free port: give the probe the address with --url";

/// The settings that tell where the API is.
pub(crate) const LISTENER_KEYS: [&str; 3] = ["api_host", "api_port", "tls_certificate_file"];

/// The address of the API, and what it speaks there.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) speaks_tls: bool,
}

impl Listener {
    /// Needs [`LISTENER_KEYS`] and no others.
    pub(crate) fn parse(sources: &Sources) -> Result<Self, Problems> {
        let mut reader = Reader {
            sources,
            problems: Vec::new(),
        };
        let address = reader.address("api_host", "api_port");
        if address.is_some_and(|address| address.port() == 0) {
            reader.problem("api_port", UNKNOWN_PORT);
        }
        let speaks_tls = sources.is_set("tls_certificate_file");
        match address {
            Some(address) if reader.problems.is_empty() => Ok(Self {
                address,
                speaks_tls,
            }),
            _ => Err(Problems(reader.problems)),
        }
    }
}
