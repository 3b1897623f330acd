//! A private Redis primary with replicas and sentinels, for tests.

use std::{fmt::Write, time::Duration};

use fred::types::Value;
use futures_util::future::join_all;

use crate::{RedisProcess, eventually, redis_process::WITHOUT_PERSISTENCE};

/// Name under which the sentinels monitor the primary.
const SERVICE: &str = "tee";

const SENTINELS: usize = 3;

/// Timeout for all sentinels and replicas to connect.
const FORMED_WITHIN: Duration = Duration::from_secs(30);

/// Time without a reply after which a sentinel considers a server down, in milliseconds.
///
/// The time must be longer than one second, because a sentinel sends its first `PING` to a new
/// primary only after one second. With a time of one second, a sentinel would sometimes consider
/// the new primary down and replace it.
const DOWN_AFTER_MILLISECONDS: u32 = 1_500;

/// A Redis primary, its replicas, and three sentinels. A sentinel considers a server down if the
/// server sends no reply for 1.5 seconds.
pub struct RedisSentinels {
    servers: Vec<RedisProcess>,
    sentinels: Vec<RedisProcess>,
}

impl RedisSentinels {
    /// Starts a primary and two replicas without persistence, and three sentinels. Waits until the
    /// sentinels have discovered all servers and each other.
    pub async fn start() -> Self {
        Self::start_with(2, &WITHOUT_PERSISTENCE).await
    }

    /// Starts a primary and `replicas` replicas with the command-line options in `options`, and
    /// three sentinels. Waits until the sentinels have discovered all servers and each other.
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
            ("down-after-milliseconds", DOWN_AFTER_MILLISECONDS),
            ("failover-timeout", 60_000),
        ] {
            let _ = writeln!(configuration, "sentinel {setting} {SERVICE} {milliseconds}");
        }
        let sentinels = (0..SENTINELS).map(|_| RedisProcess::start_sentinel(&configuration));
        let sentinels = join_all(sentinels).await;
        let mut servers = vec![primary];
        servers.extend(replicas);
        let all = Self { servers, sentinels };
        eventually(FORMED_WITHIN, async || all.is_complete().await).await;
        all
    }

    /// Returns the URL for the service, which contains the addresses of all sentinels.
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

    /// Returns the server with this number. Server 0 was the primary at the start.
    #[must_use]
    pub fn server(&self, number: usize) -> &RedisProcess {
        &self.servers[number]
    }

    /// Returns a mutable reference to the server with this number, for example to kill or restart
    /// the server.
    pub fn server_mut(&mut self, number: usize) -> &mut RedisProcess {
        &mut self.servers[number]
    }

    /// Returns the sentinel with this number (0 to 2).
    #[must_use]
    pub fn sentinel(&self, number: usize) -> &RedisProcess {
        &self.sentinels[number]
    }

    /// Returns the number of the server that the first sentinel reports as the primary.
    pub async fn primary(&self) -> usize {
        let query = ["SENTINEL", "GET-MASTER-ADDR-BY-NAME", SERVICE];
        let address = self.sentinels[0].command(&query).await.into_array();
        let port: u16 = address[1]
            .as_string()
            .expect("a port")
            .parse()
            .expect("a number");
        let position = self.servers.iter().position(|server| server.port() == port);
        position.expect("one of the servers")
    }

    /// Starts a manual failover (`SENTINEL FAILOVER`): the first sentinel promotes a replica to
    /// primary.
    pub async fn fail_over(&self) {
        let fail_over = ["SENTINEL", "FAILOVER", SERVICE];
        self.sentinels[0].command(&fail_over).await;
    }

    /// Returns `true` if every sentinel knows all replicas and all other sentinels, and every
    /// replica is connected to its primary.
    async fn is_complete(&self) -> bool {
        for sentinel in &self.sentinels {
            let reply = sentinel.command(&["SENTINEL", "MASTER", SERVICE]).await;
            let fields: Vec<_> = reply
                .into_array()
                .iter()
                .filter_map(Value::as_string)
                .collect();
            let value = |name| {
                let position = fields.iter().position(|word| word == name)?;
                fields.get(position + 1)?.parse::<usize>().ok()
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
