//! Attacks by clients that hold as many connections as possible. Regular clients must be served
//! almost as fast as without the attack.

mod attack;
mod hanging_calls;
mod measure;

use std::{fmt::Write, net::SocketAddr, time::Duration};

use anyhow::Context;
use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::time::sleep;

use self::{
    attack::{Held, Limit, attacks},
    hanging_calls::{CALLS, HangingCalls},
    measure::{CLIENT_ID, Measured, SECRET_SHA256, measure},
};
use crate::{
    progress::say,
    stage::{GATEWAY_FLAGS, Lab, READY_WITHIN, service_flags},
};

/// Minimum percentage of the requests of regular clients that must succeed.
const MIN_SUCCESS: f64 = 99.0;

/// Limit on the p99 of regular clients while calls to sites hang.
const MAX_DURING_HANGING_CALLS: Limit = Limit::SlowdownBeyondNoise(1.2, Duration::from_millis(2));

/// Time between the start of an attack and the measurement. The attacker uses this time to open its
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
        let begin = async |service: &ServiceProcess| {
            let address = service.base().trim_start_matches("http://");
            let address: SocketAddr = address.parse().context("the address of the service")?;
            let token = measure::log_in(service).await?;
            let held = Held::start(&attack, address, &token, connections);
            sleep(SET_UP).await;
            Ok(held)
        };
        let end = |held: Held| {
            drop(held);
            true
        };
        let (row, is_met) =
            trial(lab, &[], attack.name, attack.limit, duration, begin, end).await?;
        table.push_str(&row);
        passed &= is_met;
    }
    let name = format!("{CALLS} calls to sites that hang, through the upstream gateway");
    let limit = MAX_DURING_HANGING_CALLS;
    let (begin, end) = (HangingCalls::start, HangingCalls::end);
    let flags = &hanging_calls::FLAGS;
    let (row, is_met) = trial(lab, flags, &name, limit, duration, begin, end).await?;
    table.push_str(&row);
    Ok((table, passed && is_met))
}

/// Measures the response times of regular clients, first without and then during an attack. The
/// service has the additional command-line flags `flags`. `begin` starts the attack. `end` gets the
/// result of `begin`, ends the attack, and returns `false` if the attack had already ended by
/// itself. Returns the row of the result table, and `true` if the expectations were met.
async fn trial<A>(
    lab: &Lab,
    flags: &[&str],
    name: &str,
    limit: Limit,
    duration: Duration,
    begin: impl AsyncFnOnce(&ServiceProcess) -> anyhow::Result<A>,
    end: impl FnOnce(A) -> bool,
) -> anyhow::Result<(String, bool)> {
    let redis = RedisProcess::start().await;
    let service = start(lab, &redis, flags).await;
    let before = measure(&service, duration).await?;
    let attack = begin(&service).await?;
    let during = measure(&service, duration).await?;
    let is_met = end(attack)
        && during.success() >= MIN_SUCCESS
        && limit.is_met(before.get_p99(), during.get_p99())
        && limit.is_met(before.login_p99(), during.login_p99());
    let row = row(name, &before, &during, is_met);
    say(row.trim_end());
    Ok((row, is_met))
}

async fn start(lab: &Lab, redis: &RedisProcess, flags: &[&str]) -> ServiceProcess {
    let clients = serde_json::json!([{
        "id": CLIENT_ID,
        "secret_sha256": SECRET_SHA256,
        "scopes": ["create", "introspect"],
    }]);
    let mut command = lab.service();
    command.env("TSA_SERVICE_CLIENTS", clients.to_string());
    let url = redis.url();
    let flags = [&service_flags(&url), GATEWAY_FLAGS.as_slice(), flags].concat();
    let service = ServiceProcess::start(command, &flags).await;
    service.until_ready(READY_WITHIN).await;
    service
}

fn row(name: &str, before: &Measured, during: &Measured, is_met: bool) -> String {
    let mut row = String::new();
    let milliseconds = |duration: Duration| duration.as_secs_f64() * 1_000.0;
    let _ = writeln!(
        row,
        "| {} | {} | {:.2} % | {:.1} ms, {:.1} ms | {:.1} ms, {:.1} ms | {} |",
        name,
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
