//! A connection to Redis that is established, monitored, re-established and closed in the
//! background.
//!
//! Only this module uses the Redis client library fred. The rest of the crate does not depend on
//! how connections start and end.

mod batch;
mod batch_queue;
mod breaker;
mod call;
mod client;
mod command;
mod configuration;
mod configuration_warnings;
mod connections;
mod end_reason;
mod end_request;
mod ended_flag;
mod establish;
mod explanation;
mod failed_step;
mod failure_log;
mod fred_error;
mod handle;
mod handshake;
mod health;
mod invalidation_feed;
mod options;
mod script;
mod sentinels;
mod server_settings;
mod shared_state;
mod statistics;
mod supervisor;
mod version;

pub(crate) use self::{
    call::Call,
    command::{Command, PROBE_NAME, Reply},
    configuration::{Configuration, Eviction, Persistence},
    connections::Connections,
    explanation::{Explanation, Topic},
    failure_log::FailureLog,
    handshake::{ConnectFault, call_once},
    invalidation_feed::{FeedState, Subscription, maintain_feed},
    script::Script,
    sentinels::{Consensus, SentinelPoll, poll_sentinels},
    server_settings::info,
    version::{OLDEST_VERSION, Version},
};
