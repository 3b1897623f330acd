//! Certificates: files that are named, looked at, and read again later by those who use them.

use std::path::PathBuf;

use tee_session_api_server::TlsFiles;
use tee_session_redis_adapter::{RedisSettings, RedisTls, RedisTlsError};

use super::Reader;

impl Reader<'_> {
    /// The listener's certificate.
    pub(super) fn tls_files(&mut self) -> Option<TlsFiles> {
        let (certificate_file, private_key_file) =
            self.file_pair("tls_certificate_file", "tls_private_key_file")?;
        let files = TlsFiles {
            certificate_file,
            private_key_file,
        };
        if let Err(error) = files.check() {
            self.problem("tls_certificate_file", error);
        }
        Some(files)
    }

    /// Two files that are of use only together.
    fn file_pair(&mut self, one: &'static str, other: &'static str) -> Option<(PathBuf, PathBuf)> {
        match (self.file(one), self.file(other)) {
            (Some(one), Some(other)) => Some((one, other)),
            (None, None) => None,
            (Some(_), None) => {
                self.problem(other, format!("must be set where {one} is"));
                None
            }
            (None, Some(_)) => {
                self.problem(one, format!("must be set where {other} is"));
                None
            }
        }
    }

    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let is_set = self.sources.is_set(key);
        is_set.then(|| PathBuf::from(self.sources.text(key)))
    }

    /// Adds what TLS to Redis needs, if anything was said about it.
    pub(super) fn with_redis_tls(
        &mut self,
        settings: RedisSettings,
        tls: Option<RedisTls>,
    ) -> Option<RedisSettings> {
        let Some(tls) = tls else {
            return Some(settings);
        };
        let settings = settings.with_tls(tls);
        settings
            .map_err(|error| self.problem(key_at_fault(&error), error))
            .ok()
    }

    /// What was said about TLS to Redis, if anything was.
    pub(super) fn redis_tls(&mut self) -> Option<RedisTls> {
        let ca_file = self.file("redis_tls_ca_file");
        let shown = self.file_pair("redis_tls_certificate_file", "redis_tls_private_key_file");
        if ca_file.is_none() && shown.is_none() {
            return None;
        }
        let mut tls = RedisTls::default();
        if let Some(ca_file) = ca_file {
            tls = tls.with_ca_file(ca_file);
        }
        if let Some((certificate_file, private_key_file)) = shown {
            tls = tls.with_client_certificate_files(certificate_file, private_key_file);
        }
        Some(tls)
    }
}

fn key_at_fault(error: &RedisTlsError) -> &'static str {
    match error {
        RedisTlsError::Authorities { .. } => "redis_tls_ca_file",
        RedisTlsError::ClientCertificate { .. } => "redis_tls_certificate_file",
        _ => "redis_url",
    }
}
