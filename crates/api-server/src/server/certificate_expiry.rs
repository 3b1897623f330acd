//! Validity periods of certificates: the metric for the listener's certificate, and warnings about
//! certificates that have expired, will expire soon or are not valid yet.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    time::Instant,
};

use metrics::gauge;
use time::{Duration, OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::{task::spawn_blocking, time::sleep};
use tokio_rustls::rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::{certificate::X509Certificate, extensions::GeneralName, parse_x509_certificate};

use crate::server::regular_file::read_regular_file;

/// Maximum remaining time for which a warning is logged. Certificates are usually renewed 30 days
/// before they expire, so a shorter remaining time usually indicates a failed renewal.
const MAX_WARNING_TIME: Duration = Duration::days(14);

const WARNING_INTERVAL: std::time::Duration = std::time::Duration::from_secs(24 * 60 * 60);

/// Interval at which [`watch_certificate`] reads its file.
const POLL_INTERVAL: std::time::Duration = std::time::Duration::from_secs(60 * 60);

/// A certificate that has expired, expires soon, or is not valid yet. `Display` says what is wrong
/// and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CertificateWarning {
    subject: String,
    problem: Problem,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Problem {
    NotValidBefore(OffsetDateTime),
    ExpiresAt(OffsetDateTime),
}

impl fmt::Display for CertificateWarning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let subject = &self.subject;
        match self.problem {
            Problem::NotValidBefore(time) => write!(
                f,
                "the certificate {subject} is not valid before {}: check the clock of this machine, or \
                 use a certificate that is valid now",
                formatted(time)
            ),
            Problem::ExpiresAt(time) => write!(
                f,
                "the certificate {subject} has expired or expires soon ({}): renew or replace it",
                formatted(time)
            ),
        }
    }
}

/// Returns a warning for each certificate in the PEM file `file` that has expired, expires soon, or
/// is not valid yet. A certificate expires soon if less than 14 days and less than a sixth of its
/// lifetime are left. The file may also contain the intermediate certificates.
///
/// # Errors
/// Fails if `file` is not a regular file of at most 1 MiB, or cannot be read as PEM with
/// certificates.
pub fn certificate_warnings(file: &Path) -> io::Result<Vec<CertificateWarning>> {
    chain_in(file).map(|chain| warnings(&chain))
}

/// Reads `file` every hour, and logs the [warnings](certificate_warnings) about its certificates:
/// at once, after a change, and then once a day. Ignores a file that cannot be read. Never
/// completes.
pub async fn watch_certificate(file: PathBuf) {
    let mut logged = LoggedWarnings::new(file.clone());
    loop {
        let file = file.clone();
        if let Ok(Ok(chain)) = spawn_blocking(move || chain_in(&file)).await {
            logged.check(&chain, Instant::now());
        }
        sleep(POLL_INTERVAL).await;
    }
}

fn chain_in(file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let chain = parse_chain(&read_regular_file(file)?);
    chain.ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// Parses a certificate chain in PEM format. Returns `None` if `pem` contains no certificate or is
/// malformed. The error of the PEM parser is not passed on, because its text may repeat content of
/// the file.
pub(super) fn parse_chain(pem: &[u8]) -> Option<Vec<CertificateDer<'static>>> {
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    chain.ok().filter(|chain| !chain.is_empty())
}

/// Warnings about the certificates of one file, and the time at which they were last logged.
pub(super) struct LoggedWarnings {
    file: PathBuf,
    last: Option<(Vec<CertificateWarning>, Instant)>,
}

impl LoggedWarnings {
    pub(super) fn new(file: PathBuf) -> Self {
        Self { file, last: None }
    }

    /// Logs the warnings about the certificates in `chain` at the time `now`, at most once a day
    /// for the same warnings.
    pub(super) fn check(&mut self, chain: &[CertificateDer<'_>], now: Instant) {
        let warnings = warnings(chain);
        if !self.is_due(&warnings, now) {
            return;
        }
        for CertificateWarning { subject, problem } in &warnings {
            match problem {
                Problem::NotValidBefore(time) => tracing::warn!(
                    file = %self.file.display(),
                    subject,
                    valid_from = formatted(*time),
                    "The TLS certificate is not valid yet: check the clock of this machine, or use a \
                     certificate that is valid now"
                ),
                Problem::ExpiresAt(time) => tracing::warn!(
                    file = %self.file.display(),
                    subject,
                    expires_at = formatted(*time),
                    "The TLS certificate has expired or expires soon: renew or replace it"
                ),
            }
        }
    }

    /// Returns `true` if `warnings` differ from the warnings that were logged last, or if those were
    /// logged at least a day before `now`. The caller must then log `warnings`.
    fn is_due(&mut self, warnings: &[CertificateWarning], now: Instant) -> bool {
        let was_logged = self.last.as_ref().is_some_and(|(last, logged)| {
            last == warnings && now.duration_since(*logged) < WARNING_INTERVAL
        });
        if !was_logged {
            self.last = Some((warnings.to_vec(), now));
        }
        !was_logged
    }
}

/// Sets the metric for the expiry of the listener's certificate, the first certificate of `chain`.
pub(super) fn set_expiry_metric(chain: &[CertificateDer<'_>]) {
    let Some(leaf) = chain.first().and_then(parsed) else {
        return;
    };
    #[expect(clippy::cast_precision_loss, reason = "Unix times are far below 2^53")]
    gauge!("tee_session_tls_certificate_expiry_timestamp_seconds")
        .set(leaf.validity().not_after.timestamp() as f64);
}

fn warnings(chain: &[CertificateDer<'_>]) -> Vec<CertificateWarning> {
    #[expect(
        clippy::disallowed_methods,
        reason = "certificates expire by the clock of the machine"
    )]
    let now = OffsetDateTime::now_utc();
    let warning = |(number, certificate): (usize, &CertificateDer<'_>)| {
        let certificate = parsed(certificate)?;
        let validity = certificate.validity();
        let (from, until) = (
            validity.not_before.to_datetime(),
            validity.not_after.to_datetime(),
        );
        // Certificates with a short lifetime are usually renewed when a third of it is left. If
        // only half of that is left, the renewal has probably failed.
        let warning_time = MAX_WARNING_TIME.min((until - from) / 6_i32);
        let problem = if from > now {
            Problem::NotValidBefore(from)
        } else if until - now <= warning_time {
            Problem::ExpiresAt(until)
        } else {
            return None;
        };
        Some(CertificateWarning {
            subject: name_of(&certificate, number),
            problem,
        })
    };
    (1..).zip(chain).filter_map(warning).collect()
}

/// Returns the subject of `certificate`. If the subject is empty, returns the first alternative
/// name. If the certificate has no alternative name either, returns `number`, its position in the
/// file.
fn name_of(certificate: &X509Certificate<'_>, number: usize) -> String {
    let subject = certificate.subject().to_string();
    if !subject.is_empty() {
        return subject;
    }
    let names = certificate.subject_alternative_name().ok().flatten();
    let name = names.and_then(|names| names.value.general_names.first());
    match name {
        Some(GeneralName::DNSName(name)) => (*name).to_owned(),
        Some(name) => name.to_string(),
        None => format!("number {number}"),
    }
}

fn parsed<'a>(certificate: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    let (_, certificate) = parse_x509_certificate(certificate).ok()?;
    Some(certificate)
}

fn formatted(time: OffsetDateTime) -> String {
    time.format(&Rfc3339).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unchanged_certificate_warning_is_logged_again_only_after_a_day() {
        let expired = [CertificateWarning {
            subject: "CN=localhost".to_owned(),
            problem: Problem::ExpiresAt(OffsetDateTime::UNIX_EPOCH),
        }];
        let mut warnings = LoggedWarnings::new(PathBuf::from("chain.pem"));
        let started = Instant::now();
        let hours = [(0, true), (23, false), (24, true), (47, false), (48, true)];
        for (hours, is_due) in hours {
            let later = started + std::time::Duration::from_secs(hours * 60 * 60);
            assert_eq!(warnings.is_due(&expired, later), is_due, "after {hours} h");
        }
        let later = started + std::time::Duration::from_secs(49 * 60 * 60);
        assert!(warnings.is_due(&[], later), "other warnings");
    }
}
