//! Where the API is served: all that a probe needs to know of the settings.

use std::{net::SocketAddr, path::PathBuf};

use super::{Problems, Reader, Sources};

const UNKNOWN_PORT: &str = "is 0, which picks a free port: give the probe the address with --url";

/// The address of the API, and what it shows there.
#[derive(Debug)]
pub(crate) struct Listener {
    pub(crate) address: SocketAddr,
    /// With HTTPS: the PEM file with the certificate.
    pub(crate) certificate_file: Option<PathBuf>,
}

impl Listener {
    /// Looks at nothing but these settings: a probe fails for no other.
    pub(crate) fn parse(sources: &Sources) -> Result<Self, Problems> {
        let mut reader = Reader {
            sources,
            problems: Vec::new(),
        };
        let address = reader.address("api_host", "api_port");
        if address.is_some_and(|address| address.port() == 0) {
            reader.problem("api_port", UNKNOWN_PORT);
        }
        let certificate_file = reader.file("tls_certificate_file");
        match address {
            Some(address) if reader.problems.is_empty() => Ok(Self {
                address,
                certificate_file,
            }),
            _ => Err(Problems(reader.problems)),
        }
    }
}
