//! Settings of the connection to Redis and of the stored records.

use std::{fmt, path::PathBuf, time::Duration};

use crate::{
    RedisSettingsError, RedisTls, RedisTlsError, StorageFormat,
    address::Address,
    credentials::Credentials,
    deployment::{Deployment, Server},
    redis_url::RedisUrl,
    url_file::read_again_from,
};

/// Maximum command timeout. A much longer timeout could overflow when it is added to a point in
/// time.
const LONGEST_COMMAND_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Settings of a Redis repository: servers, credentials, command timeout and storage format.
///
/// `Debug` does not show the URL, because the URL may contain a password.
///
/// ```
/// use std::time::Duration;
/// use tee_session_redis_adapter::RedisSettings;
///
/// let settings = RedisSettings::new("redis://127.0.0.1:6379/0")?
///     .with_command_timeout(Duration::from_millis(250));
/// # Ok::<(), tee_session_redis_adapter::RedisSettingsError>(())
/// ```
#[derive(Clone)]
pub struct RedisSettings {
    pub(crate) deployment: Deployment,
    pub(crate) credentials: Credentials,
    /// Number of the Redis database; `None` for database 0.
    pub(crate) database: Option<u16>,
    /// TLS settings; `None` for a connection without TLS.
    pub(crate) tls: Option<RedisTls>,
    pub(crate) command_timeout: Duration,
    pub(crate) storage_format: StorageFormat,
    /// `true` if an instance that writes sealed (encrypted) records also reads plain records.
    pub(crate) accept_plain: bool,
    /// `true` if these settings are for one server of a cluster. Such a server stores only some of
    /// the keys, and redirects commands for all other keys.
    pub(crate) is_cluster_node: bool,
}

impl RedisSettings {
    /// Command timeout that is used if no other command timeout is set.
    pub const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

    /// Creates settings for the Redis at `url`: `redis://[user:password@]host[:port][/database]`,
    /// or another of the URL forms that the README of this crate lists.
    ///
    /// # Errors
    /// Returns an error in each of these cases:
    /// - `url` has an unknown scheme.
    /// - `url` lacks a required part.
    /// - `url` has a part that would have no effect.
    /// - `url` names a user without a password.
    pub fn new(url: &str) -> Result<Self, RedisSettingsError> {
        let RedisUrl {
            deployment,
            credentials,
            database,
            is_tls,
        } = RedisUrl::parse(url)?;
        Ok(Self {
            deployment,
            credentials,
            database,
            tls: is_tls.then(RedisTls::default),
            command_timeout: Self::DEFAULT_COMMAND_TIMEOUT,
            storage_format: StorageFormat::default(),
            accept_plain: false,
            is_cluster_node: false,
        })
    }

    /// Makes each new connection read users and passwords from `url_file` again, so that a rotated
    /// password needs no restart. `url_file` must be the file from which the URL was read. Line
    /// breaks at the end of the file are ignored.
    ///
    /// If the file is unreadable or invalid, or if its URL names another server, scheme or
    /// database, a warning is logged once and the former users and passwords are kept.
    #[must_use]
    pub fn with_url_file(mut self, url_file: impl Into<PathBuf>) -> Self {
        let mut url = RedisUrl {
            deployment: self.deployment,
            credentials: self.credentials,
            database: self.database,
            is_tls: self.tls.is_some(),
        };
        read_again_from(&mut url, url_file.into());
        self.deployment = url.deployment;
        self.credentials = url.credentials;
        self
    }

    /// Sets the certificate authorities to trust and the client certificate to present.
    ///
    /// # Errors
    /// - [`RedisTlsError::NotATlsUrl`] if the URL has no TLS scheme.
    /// - [`RedisTlsError::Authorities`] if the file of certificate authorities cannot be used.
    /// - [`RedisTlsError::ClientCertificate`] if the files of the client certificate cannot be
    ///   used.
    pub fn with_tls(mut self, tls: RedisTls) -> Result<Self, RedisTlsError> {
        if self.tls.is_none() {
            return Err(RedisTlsError::NotATlsUrl);
        }
        tls.client_config()?;
        self.tls = Some(tls);
        Ok(self)
    }

    /// Sets the command timeout. A timeout above one day is reduced to one day.
    ///
    /// A call of the repository ends within twice the command timeout. There are two exceptions: a
    /// call that lists or revokes sessions may take up to 2 s, and a rotation in a cluster up to
    /// four times the command timeout.
    #[must_use]
    pub fn with_command_timeout(mut self, command_timeout: Duration) -> Self {
        self.command_timeout = command_timeout.min(LONGEST_COMMAND_TIMEOUT);
        self
    }

    /// Sets the storage format in which session records are written: sealed (encrypted) or plain.
    #[must_use]
    pub fn with_storage_format(mut self, storage_format: StorageFormat) -> Self {
        self.storage_format = storage_format;
        self
    }

    /// Returns the storage format in which session records are written.
    #[must_use]
    pub fn storage_format(&self) -> StorageFormat {
        self.storage_format
    }

    /// With [`StorageFormat::Sealed`], makes the repository also read plain (unencrypted) records.
    /// A plain record is converted to a sealed (encrypted) record when the TTL of its session is
    /// renewed or the session is changed.
    ///
    /// Use this setting while a fleet of instances migrates from plain to sealed records. Each
    /// look-up then sends the token to Redis, because the key of a plain record contains the token.
    ///
    /// # Errors
    /// Returns [`RedisSettingsError::PlainInCluster`] if the URL names a cluster. The plain and the
    /// sealed record of a session have different keys. In a cluster, these keys may be on different
    /// servers, so no atomic command can move the record from one key to the other.
    pub fn accepting_plain(mut self) -> Result<Self, RedisSettingsError> {
        if self.is_clustered() {
            return Err(RedisSettingsError::PlainInCluster);
        }
        self.accept_plain = true;
        Ok(self)
    }

    /// Checks that these settings allow an invalidation feed
    /// ([`RedisInvalidationFeed`](crate::RedisInvalidationFeed)), and returns the settings
    /// unchanged. A near cache (copies of sessions in this process) needs such a feed.
    ///
    /// # Errors
    /// Returns [`RedisSettingsError::ChangesInCluster`] if the URL names a cluster. Each server of
    /// a cluster reports only changes of its own keys, and keys move between servers.
    pub fn with_invalidation_feed(self) -> Result<Self, RedisSettingsError> {
        if self.is_clustered() {
            return Err(RedisSettingsError::ChangesInCluster);
        }
        Ok(self)
    }

    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster(_))
    }

    /// Returns the name of the Redis user at the start of the process, or `default` if the URL
    /// names no user.
    pub(crate) fn user(&self) -> &str {
        self.credentials.user()
    }

    /// Returns `true` if connections use TLS and trust only the root certificates of this machine.
    pub(crate) fn trusts_machine_only(&self) -> bool {
        self.tls.as_ref().is_some_and(RedisTls::trusts_machine_only)
    }

    /// Returns a name of the server or deployment for log messages: the address, the path of the
    /// socket, the service name of the sentinels, or `cluster`. The name contains no password.
    pub(crate) fn server_name(&self) -> String {
        match &self.deployment {
            Deployment::One(Server::Tcp(address)) => address.to_string(),
            Deployment::One(Server::Unix(path)) => path.display().to_string(),
            Deployment::Sentinel { service, .. } => service.clone(),
            Deployment::Cluster(_) => "cluster".to_owned(),
        }
    }

    /// Returns a copy of these settings for the server at `address`, which belongs to a cluster.
    pub(crate) fn for_cluster_node(&self, address: &Address) -> Self {
        Self {
            is_cluster_node: true,
            ..self.for_server(address)
        }
    }

    /// Returns a copy of these settings for the single server at `address`.
    pub(crate) fn for_server(&self, address: &Address) -> Self {
        Self {
            deployment: Deployment::One(Server::Tcp(address.clone())),
            ..self.clone()
        }
    }
}

impl fmt::Debug for RedisSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisSettings")
            .field("server", &self.kind())
            .field("tls", &self.tls)
            .field("command_timeout", &self.command_timeout)
            .field("storage_format", &self.storage_format)
            .field("accept_plain", &self.accept_plain)
            .finish_non_exhaustive()
    }
}

impl RedisSettings {
    fn kind(&self) -> &'static str {
        match self.deployment {
            Deployment::One(Server::Tcp(_)) => "one server",
            Deployment::One(Server::Unix(_)) => "unix socket",
            Deployment::Sentinel { .. } => "sentinel",
            Deployment::Cluster(_) => "cluster",
        }
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::host_only("redis://localhost", "one server")]
    #[case::all_parts("redis://user:s3cret@localhost:6380/3", "one server")]
    #[case::cluster("redis-cluster://localhost:7000?node=localhost:7001", "cluster")]
    #[case::sentinel(
        "redis-sentinel://localhost:26379?sentinelServiceName=main",
        "sentinel"
    )]
    #[case::unix("redis+unix:///run/redis.sock", "unix socket")]
    fn redis_url_of_each_form_selects_single_server_cluster_sentinel_or_unix_socket(
        #[case] url: &str,
        #[case] kind: &str,
    ) {
        assert_eq!(RedisSettings::new(url).unwrap().kind(), kind);
    }

    #[test]
    fn tls_settings_are_rejected_unless_the_redis_url_has_a_tls_scheme() {
        let with_tls = |url| {
            RedisSettings::new(url)
                .unwrap()
                .with_tls(RedisTls::default())
        };
        assert_eq!(
            with_tls("redis://localhost").unwrap_err(),
            RedisTlsError::NotATlsUrl
        );
        for url in ["rediss://localhost", "rediss-cluster://localhost:7000"] {
            assert!(with_tls(url).is_ok(), "{url}");
        }
    }

    #[rstest]
    #[case::empty("")]
    #[case::no_scheme("localhost:6379")]
    #[case::http("http://localhost:6379")]
    #[case::upper_case_scheme("REDIS://localhost")]
    #[case::scheme_only("redis")]
    fn redis_url_with_an_unknown_scheme_is_rejected(#[case] url: &str) {
        assert_eq!(
            RedisSettings::new(url).unwrap_err(),
            RedisSettingsError::Scheme
        );
    }

    #[test]
    fn command_timeout_above_one_day_is_reduced_to_one_day() {
        let settings = RedisSettings::new("redis://localhost").unwrap();
        let timeout = settings.with_command_timeout(Duration::MAX).command_timeout;
        assert_eq!(timeout, Duration::from_secs(86_400));
    }

    #[test]
    fn accepting_unencrypted_records_is_rejected_for_a_cluster_url() {
        let accepting = |url| RedisSettings::new(url).unwrap().accepting_plain();
        assert!(accepting("redis://localhost").is_ok());
        let refused = accepting("redis-cluster://localhost:7000").unwrap_err();
        assert_eq!(refused, RedisSettingsError::PlainInCluster);
    }

    #[test]
    fn invalidation_feed_is_rejected_for_a_cluster_url() {
        let with_feed = |url| RedisSettings::new(url).unwrap().with_invalidation_feed();
        assert!(with_feed("redis://localhost").is_ok());
        let refused = with_feed("redis-cluster://localhost:7000").unwrap_err();
        assert_eq!(refused, RedisSettingsError::ChangesInCluster);
    }

    #[test]
    fn debug_output_of_settings_hides_user_and_password() {
        let settings = RedisSettings::new("redis://user:s3cret@localhost/0").unwrap();
        let debug = format!("{settings:?}");
        assert!(
            !debug.contains("s3cret") && !debug.contains("user"),
            "{debug}"
        );
    }
}
