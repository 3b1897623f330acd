//! The sentinels of a URL: where the primary is, and when it is another one.
//!
//! fred asks them one by one and only while it connects. Here all are asked at once, so that one
//! that hangs costs little, and again and again: a primary takes writes until somebody tells it that
//! it is none any more, and what it takes after another was chosen is lost. So it is left as soon
//! as a failover begins, be it healthy, frozen or cut off.

use std::{collections::HashMap, time::Duration};

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand,
        config::{Options, ServerConfig},
    },
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::client::{ClientTask, ConnectFault, connect};
use crate::{RedisFault, RedisSettings, address::Address};

/// How often the sentinels are asked whether the primary is still the same. What is written in
/// between when it is not may be lost.
const INTERVAL: Duration = Duration::from_millis(200);

/// When most have answered, the others have so long: one of them alone may know of a failover.
const GRACE: Duration = Duration::from_millis(50);

/// So long a sentinel may take to connect and to answer.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

const COMMAND: &str = "SENTINEL";

/// The sentinels, each with its connection, if there is one.
pub(super) struct Sentinels {
    service: String,
    sentinels: Vec<Sentinel>,
}

struct Sentinel {
    settings: RedisSettings,
    connection: Option<(Client, ClientTask)>,
}

impl Sentinels {
    /// Those that `settings` name, if they do.
    pub(super) fn of(settings: &RedisSettings) -> Option<Self> {
        let ServerConfig::Sentinel {
            hosts,
            service_name,
            username,
            password,
        } = &settings.server.server
        else {
            return None;
        };
        let sentinel = |host: &fred::types::config::Server| {
            let mut settings = settings.for_server(&Address::new(&host.host, host.port));
            settings.server.username.clone_from(username);
            settings.server.password.clone_from(password);
            settings.server.database = None;
            Sentinel {
                settings,
                connection: None,
            }
        };
        Some(Self {
            service: service_name.clone(),
            sentinels: hosts.iter().map(sentinel).collect(),
        })
    }

    /// The primary that most of them name; of those that answered in time, if most did not.
    ///
    /// # Errors
    /// When one of them is replacing it, or none could tell.
    pub(super) async fn primary(&mut self) -> Result<Address, ConnectFault> {
        let majority = self.sentinels.len() / 2 + 1;
        let mut answers: FuturesUnordered<_> = self
            .sentinels
            .iter_mut()
            .map(|sentinel| sentinel.primary(&self.service))
            .collect();
        let mut named = Vec::new();
        let mut fault = ConnectFault::Ended;
        let mut patience = ANSWER_TIMEOUT;
        while let Ok(Some(answer)) = timeout(patience, answers.next()).await {
            match answer {
                Ok(address) => named.push(address),
                Err(ConnectFault::FailingOver) => return Err(ConnectFault::FailingOver),
                Err(error) => fault = error,
            }
            if named.len() >= majority {
                patience = GRACE;
            }
        }
        let votes = |address: &Address| named.iter().filter(|other| *other == address).count();
        let most = named.iter().max_by_key(|address| votes(address)).cloned();
        most.ok_or(fault)
    }

    /// Ends when most of them name another primary than `current`, or one is replacing it.
    pub(super) async fn until_another(&mut self, current: &Address) {
        let mut rounds = interval(INTERVAL);
        rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            rounds.tick().await;
            match self.primary().await {
                Ok(named) if named != *current => return,
                Err(ConnectFault::FailingOver) => return,
                // While nobody can say, the primary that answers is the best there is.
                _ => {}
            }
        }
    }
}

impl Sentinel {
    async fn primary(&mut self, service: &str) -> Result<Address, ConnectFault> {
        let answer = timeout(ANSWER_TIMEOUT, self.ask(service)).await;
        let answer = answer.unwrap_or_else(|_| {
            Err(ConnectFault::Redis(RedisFault::TimedOut {
                command: COMMAND,
            }))
        });
        if !matches!(answer, Ok(_) | Err(ConnectFault::FailingOver)) {
            self.connection = None;
        }
        answer
    }

    async fn ask(&mut self, service: &str) -> Result<Address, ConnectFault> {
        let (client, _task) = match &mut self.connection {
            Some(connection) => connection,
            none => none.insert(connect(&self.settings).await?),
        };
        let options = Options {
            fail_fast: true,
            ..Options::default()
        };
        let command = CustomCommand::new_static(COMMAND, ClusterHash::Random, false);
        let client = client.with_options(&options);
        let about = client.custom(command, vec!["MASTER", service]);
        let about: HashMap<String, String> = about.await.map_err(|error| {
            match RedisFault::new(COMMAND, &error) {
                // What a sentinel says to a name that it does not know.
                RedisFault::Refused { code, .. } if code == "ERR" => ConnectFault::UnknownService,
                fault => ConnectFault::Redis(fault),
            }
        })?;
        // Until it has chosen a replica, a failover may come to nothing.
        let state = about.get("failover-state").map(String::as_str);
        if state.is_some_and(|state| state != "none" && state != "wait_start") {
            return Err(ConnectFault::FailingOver);
        }
        let port = about.get("port").and_then(|port| port.parse().ok());
        match (about.get("ip"), port) {
            (Some(host), Some(port)) => Ok(Address::new(host, port)),
            _ => Err(ConnectFault::UnknownService),
        }
    }
}
