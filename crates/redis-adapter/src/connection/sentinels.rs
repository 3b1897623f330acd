//! The sentinels of a URL: where the primary is, and when it is another one.
//!
//! fred asks them one by one and only while it connects. Here all are asked at once, so that one
//! that hangs costs nothing, and again each second: a primary that lost its office while it was
//! frozen or cut off takes writes until somebody tells it, and what it takes is lost.

use std::time::Duration;

use fred::{
    clients::Client,
    interfaces::ClientLike,
    types::{
        ClusterHash, CustomCommand,
        config::{Options, ServerConfig},
    },
};
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::time::{interval, timeout};

use super::client::{ClientTask, ConnectFault, connect};
use crate::{RedisFault, RedisSettings, address::Address};

/// How often the sentinels are asked whether the primary is still the same.
const INTERVAL: Duration = Duration::from_secs(1);

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
    pub(super) async fn primary(&mut self) -> Result<Address, ConnectFault> {
        let majority = self.sentinels.len() / 2 + 1;
        let mut answers: FuturesUnordered<_> = self
            .sentinels
            .iter_mut()
            .map(|sentinel| sentinel.primary(&self.service))
            .collect();
        let mut votes: Vec<(Address, usize)> = Vec::new();
        let mut fault = ConnectFault::Ended;
        while let Some(answer) = answers.next().await {
            let named = match answer {
                Ok(named) => named,
                Err(error) => {
                    fault = error;
                    continue;
                }
            };
            let known = votes.iter().position(|(address, _)| *address == named);
            let vote = known.unwrap_or(votes.len());
            if known.is_none() {
                votes.push((named, 0));
            }
            votes[vote].1 += 1;
            if votes[vote].1 == majority {
                break;
            }
        }
        let most = votes.into_iter().max_by_key(|(_, votes)| *votes);
        most.map(|(address, _)| address).ok_or(fault)
    }

    /// Ends when most of them name another primary than `current`.
    pub(super) async fn until_another(&mut self, current: &Address) -> Address {
        let mut rounds = interval(INTERVAL);
        loop {
            rounds.tick().await;
            match self.primary().await {
                Ok(named) if named != *current => return named,
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
        if answer.is_err() {
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
        let arguments = vec!["GET-MASTER-ADDR-BY-NAME", service];
        let answer = client
            .with_options(&options)
            .custom(command, arguments)
            .await;
        let answer: Option<(String, u16)> =
            answer.map_err(|error| ConnectFault::Redis(RedisFault::new(COMMAND, &error)))?;
        let (host, port) = answer.ok_or(ConnectFault::UnknownService)?;
        Ok(Address { host, port })
    }
}
