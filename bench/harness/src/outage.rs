//! Recording of an outage of Redis: clients send requests at a constant rate while Redis is paused,
//! and the metrics of the service are read every second.

mod clients;
mod scrape;

use std::{fs, path::Path, time::Duration};

use anyhow::Context;
use serde::{Deserialize, Serialize};
use tokio::{
    process::Command,
    time::{Instant, sleep, sleep_until},
};

pub(crate) use self::scrape::Sample;
use crate::{
    progress::say,
    redis_server::{RedisServer, free_port},
    running::Running,
    starting::ALL_CONNECTED_WITHIN,
    store::Store,
};

/// Name of the file that contains the metrics recorded during an outage of Redis.
const FILE: &str = "outage.json";
const SESSIONS: usize = 1_000;
/// Interval between two reads of the metrics.
const SCRAPE_INTERVAL: Duration = Duration::from_secs(1);
/// Timeout for the service to create a session after its start.
const STARTED_WITHIN: Duration = Duration::from_secs(10);

/// Times of a recording, in seconds after the first sample: start of the outage (`from`), end of
/// the outage (`to`) and end of the recording (`end`).
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Plan {
    pub(crate) from: u32,
    pub(crate) to: u32,
    pub(crate) end: u32,
}

impl Plan {
    pub(crate) const FULL: Self = Self {
        from: 20,
        to: 70,
        end: 100,
    };
    pub(crate) const QUICK: Self = Self {
        from: 5,
        to: 11,
        end: 18,
    };
}

/// Metrics of the service that were recorded before, during and after an outage of Redis.
#[derive(Serialize, Deserialize)]
pub(crate) struct Recording {
    pub(crate) plan: Plan,
    /// Values of the metrics, with one sample per second.
    pub(crate) samples: Vec<Sample>,
}

impl Recording {
    pub(crate) fn load(folder: &Path) -> anyhow::Result<Self> {
        let file = folder.join(FILE);
        let text = fs::read_to_string(&file);
        let text = text.with_context(|| format!("{} cannot be read", file.display()))?;
        Ok(serde_json::from_str(&text)?)
    }

    pub(crate) fn save(&self, folder: &Path) -> anyhow::Result<()> {
        fs::create_dir_all(folder)?;
        Ok(fs::write(
            folder.join(FILE),
            serde_json::to_string(self)? + "\n",
        )?)
    }
}

/// Starts Redis, the service and the clients. Pauses Redis for the time that `plan` specifies, and
/// returns the recorded metrics. `service` is the path of the service binary.
pub(crate) async fn run(plan: Plan, service: &Path, folder: &Path) -> anyhow::Result<Recording> {
    let redis = RedisServer::start(folder).await?;
    let (port, metrics_port) = (free_port()?, free_port()?);
    let mut command = Command::new(service);
    command
        .args(["--api-port", &port.to_string(), "--workers", "2"])
        .args(["--metrics-port", &metrics_port.to_string()])
        .args(["--redis-url", &redis.url(Store::Sealed.database())])
        .env("TSA_ALLOW_ANONYMOUS_CLIENTS", "true")
        .env_remove("TSA_CONFIG");
    let _service = Running::start(command, &folder.join("server.log"))?;
    let deadline = Instant::now() + STARTED_WITHIN;
    while let Err(error) = Store::Sealed.log_in(port, 1).await {
        if Instant::now() > deadline {
            return Err(error.context("the service did not become ready"));
        }
        sleep(Duration::from_millis(20)).await;
    }
    sleep(ALL_CONNECTED_WITHIN).await;
    let credentials = Store::Sealed.log_in(port, SESSIONS).await?;
    let _clients = clients::start(port, credentials)?;
    // The first two seconds are not recorded, because the load is not representative at its start.
    sleep(SCRAPE_INTERVAL * 2).await;

    let began = Instant::now();
    let mut samples = Vec::new();
    for second in 0..=plan.end {
        sleep_until(began + SCRAPE_INTERVAL * second).await;
        samples.push(Sample::take(metrics_port).await?);
        if second == plan.from {
            say("Redis is paused");
            redis.pause()?;
        }
        if second == plan.to {
            say("Redis is resumed");
            redis.resume()?;
        }
    }
    Ok(Recording { plan, samples })
}
