//! Where Redis is, and how long to wait for it.

use std::{fmt, path::PathBuf, time::Duration};

use thiserror::Error;

use crate::{
    RedisTls, RedisTlsError, StorageFormat,
    address::Address,
    credentials::{Credentials, read_again_from},
    deployment::{Deployment, Server},
    redis_url::{RedisUrl, SCHEMES},
};

/// Nobody waits for longer, and no clock has to be able to say when more is over.
const LONGEST_COMMAND_TIMEOUT: Duration = Duration::from_secs(24 * 60 * 60);

/// Where Redis is, how long to wait for it, and what is written to it.
///
/// `Debug` does not show the URL: it may hold a password.
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
    /// `None`: the first one.
    pub(crate) database: Option<u16>,
    /// `None`: no TLS.
    pub(crate) tls: Option<RedisTls>,
    pub(crate) command_timeout: Duration,
    pub(crate) storage_format: StorageFormat,
    pub(crate) accept_plain: bool,
    /// It keeps a part of the keys, and says so when it is asked for another.
    pub(crate) is_cluster_node: bool,
}

impl RedisSettings {
    /// How long one command may take when nothing else is chosen.
    pub const DEFAULT_COMMAND_TIMEOUT: Duration = Duration::from_millis(500);

    /// The Redis at `url`: `redis://[user:password@]host[:port][/database]`, or another of the
    /// forms that the crate's README lists.
    ///
    /// # Errors
    /// If `url` has another scheme, misses a part that its form needs, has a part that would have
    /// no effect, or names a user without a password.
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

    /// Reads users and passwords again from `url_file` for each new connection, so that a rotated
    /// password needs no restart. `url_file` is the file that the URL was read from; line breaks
    /// at its end are ignored.
    ///
    /// If the file is unreadable or invalid, or its URL names another server, scheme or database, a
    /// warning is logged once and the former credentials are kept.
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

    /// Chooses whom to trust over TLS, and what to show.
    ///
    /// # Errors
    /// When the URL is not one for TLS, or the files cannot be used as they are now.
    pub fn with_tls(mut self, tls: RedisTls) -> Result<Self, RedisTlsError> {
        if self.tls.is_none() {
            return Err(RedisTlsError::NotATlsUrl);
        }
        tls.client_config()?;
        self.tls = Some(tls);
        Ok(self)
    }

    /// Bounds each command, by a day at most. Every call of the repository ends within twice this.
    #[must_use]
    pub fn with_command_timeout(mut self, command_timeout: Duration) -> Self {
        self.command_timeout = command_timeout.min(LONGEST_COMMAND_TIMEOUT);
        self
    }

    /// Chooses what is written.
    #[must_use]
    pub fn with_storage_format(mut self, storage_format: StorageFormat) -> Self {
        self.storage_format = storage_format;
        self
    }

    /// With [`StorageFormat::Sealed`]: also reads plain records, and seals them when they are
    /// accessed, while a fleet moves over. Look-ups then pass tokens to Redis.
    ///
    /// # Errors
    /// With a cluster: a session's two keys may lie on two servers there, and no step moves it
    /// from one to the other.
    pub fn accepting_plain(mut self) -> Result<Self, RedisSettingsError> {
        if self.is_clustered() {
            return Err(RedisSettingsError::PlainInCluster);
        }
        self.accept_plain = true;
        Ok(self)
    }

    /// For a near cache, with [`RedisChanges`](crate::RedisChanges): sees that changes can be told.
    ///
    /// # Errors
    /// With a cluster: each of its servers tells of its own keys only, and keys move between them.
    pub fn telling_changes(self) -> Result<Self, RedisSettingsError> {
        if self.is_clustered() {
            return Err(RedisSettingsError::ChangesInCluster);
        }
        Ok(self)
    }

    pub(crate) fn is_clustered(&self) -> bool {
        matches!(self.deployment, Deployment::Cluster(_))
    }

    /// Name of the user to log in as.
    pub(crate) fn user(&self) -> &str {
        self.credentials.user()
    }

    /// Whether over TLS nobody is trusted but whom this machine trusts.
    pub(crate) fn trusts_machine_only(&self) -> bool {
        self.tls.as_ref().is_some_and(RedisTls::trusts_machine_only)
    }

    /// Whom it leads to, for the log: never with a password.
    pub(crate) fn server_name(&self) -> String {
        match &self.deployment {
            Deployment::One(Server::Tcp(address)) => address.to_string(),
            Deployment::One(Server::Unix(path)) => path.display().to_string(),
            Deployment::Sentinel { service, .. } => service.clone(),
            Deployment::Cluster(_) => "cluster".to_owned(),
        }
    }

    /// The same for one server of a cluster.
    pub(crate) fn for_cluster_node(&self, address: &Address) -> Self {
        Self {
            is_cluster_node: true,
            ..self.for_server(address)
        }
    }

    /// The same for one server of those that the URL leads to.
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

/// The Redis URL cannot be used. It is not repeated here: it may hold a password.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum RedisSettingsError {
    /// Its scheme is none of those that are known.
    #[error("the Redis URL must begin with one of {}", SCHEMES.map(|(scheme, ..)| format!("{scheme}://")).join(", "))]
    Scheme,
    /// Plain records cannot be accepted in a cluster.
    #[error(
        "plain records cannot be accepted with a cluster: a session's two keys lie apart there"
    )]
    PlainInCluster,
    /// Changes cannot be told by a cluster.
    #[error("a cluster cannot tell of changes: keys move between its servers")]
    ChangesInCluster,
    /// A part is missing, wrong or without effect.
    #[error("the Redis URL cannot be used: {reason}")]
    Form {
        /// Names the part.
        reason: String,
    },
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case::plain("redis://localhost", "one server")]
    #[case::everything("redis://user:s3cret@localhost:6380/3", "one server")]
    #[case::cluster("redis-cluster://localhost:7000?node=localhost:7001", "cluster")]
    #[case::sentinel(
        "redis-sentinel://localhost:26379?sentinelServiceName=main",
        "sentinel"
    )]
    #[case::unix("redis+unix:///run/redis.sock", "unix socket")]
    fn takes_each_form(#[case] url: &str, #[case] kind: &str) {
        assert_eq!(RedisSettings::new(url).unwrap().kind(), kind);
    }

    #[test]
    fn only_a_url_for_tls_takes_what_tls_needs() {
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
    #[case::upper_case("REDIS://localhost")]
    #[case::only_a_scheme("redis")]
    fn refuses_another_scheme(#[case] url: &str) {
        assert_eq!(
            RedisSettings::new(url).unwrap_err(),
            RedisSettingsError::Scheme
        );
    }

    #[test]
    fn however_long_a_command_may_take_there_is_a_time_when_it_is_over() {
        let settings = RedisSettings::new("redis://localhost").unwrap();
        let timeout = settings.with_command_timeout(Duration::MAX).command_timeout;
        assert_eq!(timeout, Duration::from_secs(86_400));
    }

    #[test]
    fn a_cluster_refuses_to_accept_plain_records() {
        let accepting = |url| RedisSettings::new(url).unwrap().accepting_plain();
        assert!(accepting("redis://localhost").is_ok());
        let refused = accepting("redis-cluster://localhost:7000").unwrap_err();
        assert_eq!(refused, RedisSettingsError::PlainInCluster);
    }

    #[test]
    fn a_cluster_refuses_to_tell_of_changes() {
        let telling = |url| RedisSettings::new(url).unwrap().telling_changes();
        assert!(telling("redis://localhost").is_ok());
        let refused = telling("redis-cluster://localhost:7000").unwrap_err();
        assert_eq!(refused, RedisSettingsError::ChangesInCluster);
    }

    #[test]
    fn debug_does_not_show_the_password() {
        let settings = RedisSettings::new("redis://user:s3cret@localhost/0").unwrap();
        let debug = format!("{settings:?}");
        assert!(
            !debug.contains("s3cret") && !debug.contains("user"),
            "{debug}"
        );
    }
}
