//! One server, from the way to it to its clock.

use std::time::Duration;

use tokio::time::Instant;

use super::{
    Needs, clock, connecting,
    finding::{Check, Finding, Verdict},
    permissions, policy,
};
use crate::{
    RedisSettings,
    connection::{Call, Command, OLDEST_VERSION, Reply, Version, call_once, info},
    record::Key,
};

/// So long a connected server may take for all answers.
const ANSWERS: Duration = Duration::from_secs(5);

/// Looks at the one server that `settings` name. `probe` is a key that it keeps, and no session.
pub(super) async fn examine(settings: &RedisSettings, needs: Needs, probe: Key) -> Vec<Finding> {
    let server = settings.server_name();
    let examined = call_once(settings, async |call| {
        let examination = Examination {
            settings,
            call: call.until(Instant::now() + ANSWERS),
            server: &server,
        };
        Ok(examination.run(needs, probe).await)
    });
    match examined.await {
        Ok(found) => found,
        Err(fault) => vec![connecting::failed(settings, &server, fault).await],
    }
}

/// A server that took us in.
pub(super) struct Examination<'a> {
    pub(super) settings: &'a RedisSettings,
    pub(super) call: Call,
    pub(super) server: &'a str,
}

impl Examination<'_> {
    async fn run(&self, needs: Needs, probe: Key) -> Vec<Finding> {
        let (server, user) = (self.server, self.settings.user());
        let over = if self.settings.tls.is_some() {
            " over TLS"
        } else {
            ""
        };
        let hello = Hello::of(self).await;
        let mut found = vec![
            Finding::fine(Check::Connection, server, format!("it answers{over}")),
            Finding::fine(Check::Login, server, format!("as the user {user}")),
        ];
        found.push(self.version(hello.version().await));
        let role = self.role(&hello);
        let is_usable = role.verdict != Verdict::Error;
        found.push(role);
        found.extend(policy::check(self).await);
        found.push(clock::check(self).await);
        // Last: some refusals end the connection.
        if is_usable {
            found.extend(permissions::check(self, needs, &probe).await);
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
                format!("take Redis {OLDEST_VERSION} or newer, or Valkey"),
            ),
            Some(version) => Finding::fine(Check::Version, server, format!("Redis {version}")),
            None => Finding::unseen(
                Check::Version,
                server,
                "it does not tell its version",
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
                "it is a sentinel, and keeps no sessions",
                "let the Redis URL begin with redis-sentinel: and name the service: \
                 redis-sentinel://HOST:26379?sentinelServiceName=NAME",
            ),
            (Some("cluster"), _) if !self.settings.is_cluster_node => error(
                "it is a server of a cluster, and keeps a part of the keys only",
                "let the Redis URL begin with redis-cluster:",
            ),
            (_, Some("replica" | "slave")) => error(
                "it is a replica, and takes no writes",
                "name the primary in the Redis URL, or the sentinels that know it (redis-sentinel:)",
            ),
            (_, Some(_)) => Finding::fine(Check::Role, server, "a primary"),
            (_, None) => Finding::unseen(
                Check::Role,
                server,
                "it does not tell its role",
                "check by hand that it is a primary: redis-cli ROLE",
            ),
        }
    }
}

/// What a server tells of itself to whoever is logged in (`HELLO`).
struct Hello<'a> {
    examination: &'a Examination<'a>,
    pairs: Vec<Reply>,
}

impl<'a> Hello<'a> {
    async fn of(examination: &'a Examination<'a>) -> Self {
        let replied = examination.call.send([Command::new("HELLO", &[])]).await;
        let answer = replied.and_then(|[reply]| reply.list("HELLO"));
        Self {
            examination,
            pairs: answer.unwrap_or_default(),
        }
    }

    fn value(&self, name: &str) -> Option<&str> {
        let mut pairs = self.pairs.chunks_exact(2);
        pairs.find(|pair| pair[0].as_text() == Some(name))?[1].as_text()
    }

    /// Before 6.0 there was no HELLO.
    async fn version(&self) -> Option<Version> {
        if let Some(version) = self.value("version") {
            return Version::parse(version);
        }
        let version = info(&self.examination.call, "server", "redis_version:").await;
        Version::parse(&version?)
    }
}
