//! Settings and advice for operators, for failed requests to sites.

use std::io;

use tee_session_upstream::{
    BodyError, Busy, ConnectError, FailedReason, ForbiddenAddress, UpstreamError,
    rustls::{self, CertificateError},
};

const LONGER_ANSWERS: &str =
    "if the site sends such answers on purpose, raise upstream_max_response_bytes";

/// Returns the name of the setting that caused the error, such as the setting of a timeout. Returns
/// `None` if the error does not depend on a setting. Clients receive the name. This reveals
/// nothing, because the settings are documented, and their values are not shown.
pub(crate) fn setting_of(error: &UpstreamError) -> Option<&'static str> {
    Some(match error {
        UpstreamError::NotAllowed(ForbiddenAddress::Http) => "upstream_allow_http",
        UpstreamError::NotAllowed(_) => "upstream_allowed_networks",
        UpstreamError::Busy(Busy::Session) => "upstream_session_concurrency",
        UpstreamError::Busy(_) => "upstream_max_in_flight",
        UpstreamError::ResponseTimeout => "upstream_response_timeout_ms",
        UpstreamError::Failed(FailedReason::TooLong { .. }) => "upstream_max_response_bytes",
        _ => return None,
    })
}

/// Returns the advice for the operator if a request to a site failed.
pub(super) fn of(error: &UpstreamError) -> &'static str {
    match error {
        UpstreamError::NotAllowed(ForbiddenAddress::Network(_)) => {
            "if the site is in a network of yours, add this address to upstream_allowed_networks; \
             otherwise ask the operator of the site or of your DNS why its name has this address"
        }
        UpstreamError::NotAllowed(_) => {
            "if scheme and port in origin are correct, add the addresses of the site to \
             upstream_allowed_networks; otherwise correct the base URL of the session"
        }
        UpstreamError::Unreachable(error) => of_connection(error),
        UpstreamError::ConnectTimeout => {
            "check whether the site answers from another network; if it does, a firewall drops the \
             connections, or the site has blocked your addresses"
        }
        UpstreamError::ResponseTimeout => {
            "if the site always needs this long, raise upstream_response_timeout_ms; otherwise \
             inform its operator"
        }
        UpstreamError::Failed(FailedReason::TooLong { .. }) => LONGER_ANSWERS,
        UpstreamError::Failed(FailedReason::Head(error)) if error.is_parse() => {
            "check the scheme and the port in origin: the server there does not answer with HTTP, \
             or the head of its answer has more than 64 KiB or 100 fields"
        }
        UpstreamError::Failed(FailedReason::Head(_)) => {
            "inform the operator of the site: it sends no complete head of an answer"
        }
        _ => "inform the operator of the site: HTTP does not allow its answer",
    }
}

/// Returns the advice for the operator if the body of an answer broke off.
pub(super) fn of_body(error: &BodyError) -> &'static str {
    match error {
        BodyError::TooLong { .. } => LONGER_ANSWERS,
        BodyError::Stalled => "inform the operator of the site: it stops within an answer",
        // `BodyError` is non-exhaustive.
        _ => "inform the operator of the site: it closes connections within an answer",
    }
}

fn of_connection(error: &ConnectError) -> &'static str {
    match error {
        ConnectError::Lookup(_) | ConnectError::NoAddress => {
            "correct the host in the base URL of the session, or repair the name resolution of \
             this machine"
        }
        ConnectError::Connect(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
            "if the port in origin is correct, inform the operator of the site that it is down; \
             otherwise correct the base URL of the session"
        }
        ConnectError::Tls(error) => of_handshake(error),
        ConnectError::ServerName => {
            "use a host in the base URL of the session that a certificate can contain"
        }
        ConnectError::Closed => {
            "inform the operator of the site: it closes connections before a request arrives"
        }
        _ => {
            "check whether this machine can reach the site: a route or a rule of a firewall may be \
             missing"
        }
    }
}

fn of_handshake(error: &io::Error) -> &'static str {
    match error.get_ref().and_then(|inner| inner.downcast_ref()) {
        Some(rustls::Error::InvalidCertificate(reason)) => of_certificate(reason),
        Some(rustls::Error::InvalidMessage(_)) => {
            "this port does not use TLS: correct the port in the base URL of the session, or let \
             the base URL begin with http and set upstream_allow_http"
        }
        _ => {
            "check whether this port of the site uses TLS 1.2 or TLS 1.3, and whether the site \
             requires a client certificate, which the gateway does not have"
        }
    }
}

fn of_certificate(reason: &CertificateError) -> &'static str {
    match reason {
        CertificateError::UnknownIssuer | CertificateError::BadSignature => {
            "the authority that issued the certificate of the site is not trusted: set \
             upstream_tls_ca_file to a file with this authority, or let the site send its \
             intermediate certificates"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the certificate of the site is for another host: use a host in the base URL that the \
             certificate contains, or give the site a certificate for this host"
        }
        CertificateError::Expired
        | CertificateError::ExpiredContext { .. }
        | CertificateError::NotValidYet
        | CertificateError::NotValidYetContext { .. } => {
            "the certificate of the site is not valid now: renew it, or correct the clock of this \
             machine"
        }
        // rustls has no variant for this reason, and passes on the error of its verifier.
        CertificateError::Other(_) if reason.to_string().contains("CaUsedAsEndEntity") => {
            "the certificate of the site is marked as an authority (CA:TRUE), as many self-signed \
             certificates are: issue one for the site with basicConstraints CA:FALSE, and set \
             upstream_tls_ca_file to a file with its authority, or with itself if it is self-signed"
        }
        _ => "give the site a valid certificate",
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rstest::rstest;
    use tee_session_upstream::rustls::{InvalidMessage, OtherError};

    use super::*;

    /// Error with the same text as the rustls error for a server certificate that is marked as a
    /// certificate authority.
    #[derive(Debug, thiserror::Error)]
    #[error("CaUsedAsEndEntity")]
    struct CaUsedAsEndEntity;

    #[rstest]
    #[case::unknown_authority(CertificateError::UnknownIssuer, "set upstream_tls_ca_file")]
    #[case::authority(
        CertificateError::Other(OtherError(Arc::new(CaUsedAsEndEntity))),
        "basicConstraints CA:FALSE"
    )]
    #[case::other_host(CertificateError::NotValidForName, "is for another host")]
    #[case::expired(CertificateError::Expired, "renew it")]
    fn advice_says_what_is_wrong_with_the_certificate(
        #[case] reason: CertificateError,
        #[case] expected: &str,
    ) {
        let error = io::Error::other(rustls::Error::InvalidCertificate(reason));
        let advice = of(&ConnectError::Tls(error).into());
        assert!(advice.contains(expected), "{advice}");
    }

    #[test]
    fn advice_for_a_port_without_tls_names_the_base_url() {
        let error = rustls::Error::InvalidMessage(InvalidMessage::InvalidContentType);
        let advice = of(&ConnectError::Tls(io::Error::other(error)).into());
        assert!(advice.contains("does not use TLS"), "{advice}");
    }
}
