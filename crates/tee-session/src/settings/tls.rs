//! TLS settings of the API and of the connections to Redis. The certificate files are checked when
//! the settings are parsed, and read again when they are used.

use std::path::PathBuf;

use tee_session_api_server::TlsFiles;
use tee_session_redis_adapter::{RedisSettings, RedisTls, RedisTlsError};

use super::Reader;

impl Reader<'_> {
    /// Returns the certificate file and the private key file of the API. Returns `None` if one or
    /// both files are not set. If only one file is set, or if the files cannot be used, records a
    /// problem.
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

    /// Returns the files of the settings `one` and `other`, which must be set together. Returns
    /// `None` if neither is set. If only one is set, records a problem and returns `None`.
    fn file_pair(&mut self, one: &'static str, other: &'static str) -> Option<(PathBuf, PathBuf)> {
        match (self.file(one), self.file(other)) {
            (Some(one), Some(other)) => Some((one, other)),
            (None, None) => None,
            (Some(_), None) => {
                self.problem(other, format!("{other} must be set if {one} is set"));
                None
            }
            (None, Some(_)) => {
                self.problem(one, format!("{one} must be set if {other} is set"));
                None
            }
        }
    }

    pub(super) fn file(&self, key: &'static str) -> Option<PathBuf> {
        let is_set = self.sources.is_set(key);
        is_set.then(|| PathBuf::from(self.sources.text(key)))
    }

    /// Adds `tls` to the Redis settings. If `tls` is `None`, returns the Redis settings unchanged.
    /// If `tls` cannot be used, records a problem and returns `None`.
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

    /// Returns the TLS settings of connections to Redis. Returns `None` if no setting that begins
    /// with `redis_tls_` is set.
    pub(super) fn redis_tls(&mut self) -> Option<RedisTls> {
        let ca_file = self.file("redis_tls_ca_file");
        let client_files =
            self.file_pair("redis_tls_certificate_file", "redis_tls_private_key_file");
        if ca_file.is_none() && client_files.is_none() {
            return None;
        }
        let mut tls = RedisTls::default();
        if let Some(ca_file) = ca_file {
            tls = tls.with_ca_file(ca_file);
        }
        if let Some((certificate_file, private_key_file)) = client_files {
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
