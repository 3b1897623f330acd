//! A primary with replicas and sentinels of a test's own.

use std::{fmt::Write, time::Duration};

use fred::types::Value;
use futures_util::future::join_all;

use crate::{RedisProcess, eventually, redis_process::WITHOUT_PERSISTENCE};

/// What the sentinels call the primary.
const SERVICE: &str = "tee";

const SENTINELS: usize = 3;

const FORMED_WITHIN: Duration = Duration::from_secs(30);

/// A primary (the first server), its replicas, and three sentinels that take a server for dead
/// after a second.
pub struct RedisSentinels {
    servers: Vec<RedisProcess>,
    sentinels: Vec<RedisProcess>,
}

impl RedisSentinels {
    /// Starts a primary and two replicas, without persistence, and waits until the sentinels know
    /// them all and each other.
    pub async fn start() -> Self {
        Self::start_with(2, &WITHOUT_PERSISTENCE).await
    }

    /// The same with so many replicas, each server with these options of its command line.
    pub async fn start_with(replicas: usize, options: &[&str]) -> Self {
        let options = [options, &["--repl-diskless-sync-delay", "0"]].concat();
        let primary = RedisProcess::start_with(&options).await;
        let of = format!("127.0.0.1 {}", primary.port());
        let options = &[options.as_slice(), &["--replicaof", &of]].concat();
        let replicas = (0..replicas).map(|_| RedisProcess::start_with(options));
        let replicas = join_all(replicas).await;
        let mut configuration = format!(
            "sentinel monitor {SERVICE} 127.0.0.1 {} 2\n",
            primary.port()
        );
        for (setting, milliseconds) in [
            ("down-after-milliseconds", 1_000),
            ("failover-timeout", 60_000),
        ] {
            let _ = writeln!(configuration, "sentinel {setting} {SERVICE} {milliseconds}");
        }
        let sentinels = (0..SENTINELS).map(|_| RedisProcess::start_sentinel(&configuration));
        let sentinels = join_all(sentinels).await;
        let mut servers = vec![primary];
        servers.extend(replicas);
        let all = Self { servers, sentinels };
        eventually(FORMED_WITHIN, async || all.is_whole().await).await;
        all
    }

    /// Its URL, with all sentinels.
    #[must_use]
    pub fn url(&self) -> String {
        let [first, others @ ..] = self.sentinels.as_slice() else {
            unreachable!("there are three");
        };
        let mut url = format!(
            "redis-sentinel://127.0.0.1:{}/0?sentinelServiceName={SERVICE}",
            first.port()
        );
        for sentinel in others {
            let _ = write!(url, "&node=127.0.0.1:{}", sentinel.port());
        }
        url
    }

    /// A server; the first one was the primary at the start.
    #[must_use]
    pub fn server(&self, number: usize) -> &RedisProcess {
        &self.servers[number]
    }

    /// The same, to hurt it.
    pub fn server_mut(&mut self, number: usize) -> &mut RedisProcess {
        &mut self.servers[number]
    }

    /// A sentinel.
    #[must_use]
    pub fn sentinel(&self, number: usize) -> &RedisProcess {
        &self.sentinels[number]
    }

    /// The number of the server that the sentinels call the primary now.
    pub async fn primary(&self) -> usize {
        let ask = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
        let address = self.sentinels[0].command(&ask).await.into_array();
        let port: u16 = address[1]
            .as_string()
            .expect("a port")
            .parse()
            .expect("a number");
        let position = self.servers.iter().position(|server| server.port() == port);
        position.expect("one of the servers")
    }

    /// Hands over to a replica (`SENTINEL FAILOVER`), as for maintenance.
    pub async fn fail_over(&self) {
        let fail_over = ["SENTINEL", "FAILOVER", SERVICE];
        self.sentinels[0].command(&fail_over).await;
    }

    async fn is_whole(&self) -> bool {
        for sentinel in &self.sentinels {
            let about = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await;
            let about: Vec<_> = about
                .into_array()
                .iter()
                .filter_map(Value::as_string)
                .collect();
            let value = |name| {
                let position = about.iter().position(|word| word == name)?;
                about.get(position + 1)?.parse::<usize>().ok()
            };
            let replicas = self.servers.len() - 1;
            if value("num-slaves") != Some(replicas)
                || value("num-other-sentinels") != Some(SENTINELS - 1)
            {
                return false;
            }
        }
        for replica in &self.servers[1..] {
            let role = replica.command(&["ROLE"]).await.into_array();
            if role.get(3).and_then(Value::as_string).as_deref() != Some("connected") {
                return false;
            }
        }
        true
    }
}
