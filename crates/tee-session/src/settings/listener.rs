//! Settings of the listener of the API. `tee-session probe` reads only these settings.

use std::net::SocketAddr;

use super::{Problems, Reader, Sources};

const UNKNOWN_PORT: &str =
    "api_port is 0, which picks a free port: pass the address to the probe with --url";

/// Names of the settings that determine the listen address of the API, and whether the API serves
/// HTTPS.
pub(crate) const LISTENER_KEYS: [&str; 3] = ["api_host", "api_port", "tls_certificate_file"];

/// Address on which the API listens, and whether the API serves HTTPS.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    pub(crate) uses_tls: bool,
}

impl Listener {
    /// Parses only the settings in [`LISTENER_KEYS`]. If any of these settings is invalid, returns
    /// the problems. Port 0 is also a problem: it makes the service listen on any free port, and
    /// the probe cannot know this port.
    pub(crate) fn parse(sources: &Sources) -> Result<Self, Problems> {
        let mut reader = Reader {
            sources,
            problems: Vec::new(),
        };
        let address = reader.address("api_host", "api_port");
        if address.is_some_and(|address| address.port() == 0) {
            reader.problem("api_port", UNKNOWN_PORT);
        }
        let uses_tls = sources.is_set("tls_certificate_file");
        match address {
            Some(address) if reader.problems.is_empty() => Ok(Self { address, uses_tls }),
            _ => Err(Problems(reader.problems)),
        }
    }
}
