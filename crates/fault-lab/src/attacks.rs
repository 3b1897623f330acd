//! Attacks by clients that hold as many connections as they can. Other clients must be served all
//! the time, almost as fast as without the attack.

mod attack;
mod measure;

use std::{fmt::Write, net::SocketAddr, time::Duration};

use anyhow::Context;
use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::time::sleep;

use self::{
    attack::{Attack, Held, attacks},
    measure::{Measured, measure},
};
use crate::{
    progress::say,
    stage::{Lab, READY_WITHIN, service_flags},
};

/// Service client that creates sessions. The attackers guess its secret, or know it.
const CLIENT_ID: &str = "lab";
const SECRET: &str = "s3cret";
/// SHA-256 hash of [`SECRET`].
const SECRET_SHA256: &str = "1ec1c26b50d5d3c58d9583181af8076655fe00756bf7285940ba3670f99fcba0";

/// Minimum share of the requests of other clients that must succeed, in per cent.
const MIN_SUCCESS: f64 = 99.0;

/// Maximum ratio of the p99 during an attack to the p99 without an attack.
const MAX_SLOWDOWN: f64 = 2.0;

/// Maximum p99 during a flood. The ratio to the p99 without an attack would depend mainly on the
/// number of processors.
const MAX_P99_DURING_FLOOD: Duration = Duration::from_millis(500);

/// Time between the beginning of an attack and the measurement. By then, the attacker holds its
/// connections.
const SET_UP: Duration = Duration::from_secs(5);

/// Runs all attacks, one after the other, for `duration` each, with `connections` connections.
/// Returns a Markdown table, and `true` if all expectations were met.
pub(crate) async fn run(
    lab: &Lab,
    duration: Duration,
    connections: usize,
) -> anyhow::Result<(String, bool)> {
    let mut table = String::from(
        "| attack | requests of others | succeeded | p99 of `GET` before and during | p99 of logins before and during | as expected |\n\
         |---|---|---|---|---|---|\n",
    );
    let mut passed = true;
    for attack in attacks() {
        let redis = RedisProcess::start().await;
        let service = start(lab, &redis).await;
        let address = service.base().trim_start_matches("http://");
        let address: SocketAddr = address.parse().context("the address of the service")?;
        let before = measure(&service, duration).await?;
        let token = measure::log_in(&service).await?;
        let held = Held::start(&attack, address, &token, connections);
        sleep(SET_UP).await;
        let during = measure(&service, duration).await?;
        drop(held);
        let is_met = is_met(&attack, &before, &during);
        passed &= is_met;
        let row = row(&attack, &before, &during, is_met);
        say(row.trim_end());
        table.push_str(&row);
    }
    Ok((table, passed))
}

async fn start(lab: &Lab, redis: &RedisProcess) -> ServiceProcess {
    let clients = serde_json::json!([{
        "id": CLIENT_ID,
        "secret_sha256": SECRET_SHA256,
        "scopes": ["create", "introspect"],
    }]);
    let mut command = lab.service();
    command.env("TSA_SERVICE_CLIENTS", clients.to_string());
    let service = ServiceProcess::start(command, &service_flags(&redis.url())).await;
    service.until_ready(READY_WITHIN).await;
    service
}

fn is_met(attack: &Attack, before: &Measured, during: &Measured) -> bool {
    let is_fast = |before: Duration, during: Duration| {
        if attack.is_flood {
            return during <= MAX_P99_DURING_FLOOD;
        }
        during.as_secs_f64() / before.as_secs_f64().max(0.001) <= MAX_SLOWDOWN
    };
    during.success() >= MIN_SUCCESS
        && is_fast(before.get_p99(), during.get_p99())
        && is_fast(before.login_p99(), during.login_p99())
}

fn row(attack: &Attack, before: &Measured, during: &Measured, is_met: bool) -> String {
    let mut row = String::new();
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let _ = writeln!(
        row,
        "| {} | {} | {:.2} % | {:.1} ms, {:.1} ms | {:.1} ms, {:.1} ms | {} |",
        attack.name,
        during.requests(),
        during.success(),
        milliseconds(before.get_p99()),
        milliseconds(during.get_p99()),
        milliseconds(before.login_p99()),
        milliseconds(during.login_p99()),
        if is_met { "yes" } else { "**no**" },
    );
    row
}
