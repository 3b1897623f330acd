//! Metric and warning for the expiry of the listener's certificate.

use std::time::Instant;

use metrics::gauge;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::parse_x509_certificate;

/// If a certificate is valid for less than this time, a warning is logged. Certificates are usually
/// renewed 30 days before they expire, so a shorter remaining time usually indicates a failed
/// renewal.
const WARNING_TIME: Duration = Duration::days(14);

const WARNING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// The last logged warning: the expiry time of the certificate, and the time of the warning. `None`
/// before the first warning.
#[derive(Default)]
pub(super) struct ExpiryWarning(Option<(OffsetDateTime, Instant)>);

impl ExpiryWarning {
    /// Sets the metric for the expiry of the first certificate of `chain`. If this certificate has
    /// expired or will expire soon, logs a warning, at most once a day for the same certificate.
    pub(super) fn check(&mut self, chain: &[CertificateDer<'_>]) {
        let Some(expires_at) = expires_at(chain) else {
            return;
        };
        #[expect(clippy::cast_precision_loss, reason = "Unix times are far below 2^53")]
        gauge!("tee_session_tls_certificate_expiry_timestamp_seconds")
            .set(expires_at.unix_timestamp() as f64);
        let was_logged = self.0.is_some_and(|(expiry, logged)| {
            expiry == expires_at && logged.elapsed() < WARNING_INTERVAL
        });
        if !is_soon(expires_at) || was_logged {
            return;
        }
        self.0 = Some((expires_at, Instant::now()));
        tracing::warn!(
            expires_at = expires_at.format(&Rfc3339).unwrap_or_default(),
            "The TLS certificate has expired or expires within 14 days: renew it"
        );
    }
}

/// Returns `true` if a certificate that expires at `expires_at` has expired or expires within
/// [`WARNING_TIME`].
pub(super) fn is_soon(expires_at: OffsetDateTime) -> bool {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the clock of the machine"
    )]
    let now = OffsetDateTime::now_utc();
    expires_at - now <= WARNING_TIME
}

/// Returns the time at which the first certificate of `chain`, the certificate of the server,
/// expires. Returns `None` if that certificate cannot be parsed.
pub(super) fn expires_at(chain: &[CertificateDer<'_>]) -> Option<OffsetDateTime> {
    let (_, certificate) = parse_x509_certificate(chain.first()?).ok()?;
    OffsetDateTime::from_unix_timestamp(certificate.validity().not_after.timestamp()).ok()
}
