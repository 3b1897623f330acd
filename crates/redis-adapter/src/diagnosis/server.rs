//! Diagnosis of one Redis server: connection, user, version, role, configuration, clock and
//! permissions.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    RequiredPermissions, clock, connecting,
    examination::Examination,
    finding::{Check, Finding, Verdict},
    permissions, policy,
};
use crate::{
    RedisSettings,
    connection::{Command, OLDEST_VERSION, Reply, Version, call_once, info},
    record::Key,
};

/// Timeout for the replies to all commands of the diagnosis of one server, after the connection is
/// established.
const REPLIES_TIMEOUT: Duration = Duration::from_secs(5);

/// Checks the one server that `settings` name, and returns the findings. `probe` is a Redis key
/// under which no session is stored. In a cluster, the server must own the hash slot of this key.
pub(super) async fn examine(
    settings: &RedisSettings,
    required: RequiredPermissions,
    probe: Key,
) -> Vec<Finding> {
    let server = settings.server_name();
    let examined = call_once(settings, async |call| {
        let examination = Examination {
            settings,
            call: call.until(Instant::now() + REPLIES_TIMEOUT),
            server: &server,
        };
        Ok(examination.run(required, probe).await)
    });
    match examined.await {
        Ok(found) => found,
        Err(fault) => vec![connecting::failed(settings, &server, fault).await],
    }
}

impl Examination<'_> {
    async fn run(&self, required: RequiredPermissions, probe: Key) -> Vec<Finding> {
        let (server, user) = (self.server, self.settings.user());
        let over = if self.settings.tls.is_some() {
            " over TLS"
        } else {
            ""
        };
        let hello = Hello::of(self).await;
        let mut found = vec![
            Finding::fine(Check::Connection, server, format!("connected{over}")),
            Finding::fine(Check::Login, server, format!("logged in as {user}")),
        ];
        found.push(self.version(hello.version().await));
        let role = self.role(&hello);
        let is_usable = role.verdict != Verdict::Error;
        found.push(role);
        found.extend(policy::check(self).await);
        found.push(clock::check(self).await);
        // The permission checks come last, because the connection is closed after some error
        // replies.
        if is_usable {
            found.extend(permissions::check(self, required, &probe).await);
        }
        found
    }

    fn version(&self, version: Option<Version>) -> Finding {
        let server = self.server;
        match version {
            Some(version) if version < OLDEST_VERSION => Finding::error(
                Check::Version,
                server,
                format!("Redis {version} is too old"),
                format!("use Redis {OLDEST_VERSION} or newer, or Valkey"),
            ),
            Some(version) => Finding::fine(Check::Version, server, format!("Redis {version}")),
            None => Finding::unseen(
                Check::Version,
                server,
                "it does not report its version",
                format!(
                    "check by hand that it is {OLDEST_VERSION} or newer: redis-cli INFO server"
                ),
            ),
        }
    }

    fn role(&self, hello: &Hello<'_>) -> Finding {
        let server = self.server;
        let error = |what: &str, advice: &str| Finding::error(Check::Role, server, what, advice);
        match (hello.value("mode"), hello.value("role")) {
            (Some("sentinel"), _) => error(
                "it is a sentinel, which stores no sessions",
                "use a Redis URL that begins with redis-sentinel: and names the service: \
                 redis-sentinel://HOST:26379?sentinelServiceName=NAME",
            ),
            (Some("cluster"), _) if !self.settings.is_cluster_node => error(
                "it is a server of a cluster, which stores only part of the keys",
                "use a Redis URL that begins with redis-cluster:",
            ),
            (_, Some("replica" | "slave")) => error(
                "it is a replica, which accepts no writes",
                "name the primary in the Redis URL, or the sentinels that monitor it \
                 (redis-sentinel:)",
            ),
            (_, Some(_)) => Finding::fine(Check::Role, server, "a primary"),
            (_, None) => Finding::unseen(
                Check::Role,
                server,
                "it does not report its role",
                "check by hand that it is a primary: redis-cli ROLE",
            ),
        }
    }
}

/// Reply of a server to HELLO. Every authenticated user may send HELLO, without any permission.
struct Hello<'a> {
    examination: &'a Examination<'a>,
    pairs: Vec<Reply>,
}

impl<'a> Hello<'a> {
    async fn of(examination: &'a Examination<'a>) -> Self {
        let replied = examination.call.send([Command::new("HELLO", &[])]).await;
        let reply = replied.and_then(|[reply]| reply.list("HELLO"));
        Self {
            examination,
            pairs: reply.unwrap_or_default(),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.chunks_exact(2);
        pairs.find(|pair| pair[0].as_text() == Some(name))?[1].as_text()
    }

    /// Returns the version of the server from the reply to HELLO. If the reply contains no version,
    /// reads the version with INFO, because a server older than Redis 6.0 does not know HELLO.
    /// Returns `None` if the version is unknown.
    async fn version(&self) -> Option<Version> {
        if let Some(version) = self.value("version") {
            return Version::parse(version);
        }
        let version = info(&self.examination.call, "server", "redis_version:").await;
        Version::parse(&version?)
    }
}
