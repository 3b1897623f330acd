//! Fault scenarios in which the clock of the service is wrong, or the host name of Redis changes.

use std::{path::Path, time::Duration};

use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::process::Command;

use super::{
    expect::Expect,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome, Stage, service_flags};

/// Timeout for a service instance to become ready after its start.
const READY_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "the service's clock is a day ahead",
            "no failed requests: only the clock of Redis matters",
            Expect::NoFailures,
            |lab| { skewed(lab, "+1d") }
        ),
        row!(
            "the service's clock is a day behind",
            "the same",
            Expect::NoFailures,
            |lab| { skewed(lab, "-1d") }
        ),
        row!(
            "the host name of Redis does not resolve, then resolves to another address",
            "503 until the name resolves again; then the new address is used",
            Expect::RefusedAtOnce("store_unavailable"),
            host_name_changed
        ),
    ]
}

async fn skewed(lab: &Lab, offset: &str) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut command = lab.service();
    // Loads libfaketime directly, because the program `faketime` would add a process.
    command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1");
    command.env("FAKETIME", offset);
    // Keeps the monotonic clock correct, which timers use. Only the time of day is wrong.
    command.env("DONT_FAKE_MONOTONIC", "1");
    let service = ServiceProcess::start(command, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    check_clock_is_skewed(&mut stage).await;
    check_time_to_live(&mut stage).await;
    stage.hold().await;
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Checks that the clock of the service is wrong: the `Date` header of a response must differ from
/// the time of this machine by at least 23 hours.
#[expect(
    clippy::disallowed_methods,
    reason = "the time of the machine is compared with that of the service"
)]
async fn check_clock_is_skewed(stage: &mut Stage) {
    let response = stage
        .service
        .request(reqwest::Method::GET, "/health/live")
        .send()
        .await;
    let date = response.ok().and_then(|response| {
        let date = response.headers().get("date")?.to_str().ok()?;
        httpdate::parse_http_date(date).ok()
    });
    let now = std::time::SystemTime::now();
    let distance = date.map(|date| {
        let ahead = date.duration_since(now);
        ahead.unwrap_or_else(|behind| behind.duration())
    });
    if distance.is_none_or(|distance| distance < Duration::from_hours(23)) {
        stage.add_violation(
            "the clock of the service was right (scripts/setup --faults installs libfaketime)",
        );
    }
}

/// Checks that the TTL of a new session is half an hour, although the clock of the service is
/// wrong.
async fn check_time_to_live(stage: &mut Stage) {
    let Some(token) = stage.shared().log_in().await else {
        return stage.add_violation("no session could be created");
    };
    let ttl = stage
        .service
        .request(reqwest::Method::GET, "/v1/session/ttl")
        .bearer_auth(token);
    let ttl = match ttl.send().await {
        Ok(response) => response
            .json::<serde_json::Value>()
            .await
            .unwrap_or_default(),
        Err(_) => serde_json::Value::Null,
    };
    if !ttl["ttl"]
        .as_u64()
        .is_some_and(|ttl| (1_780..=1_800).contains(&ttl))
    {
        stage.add_violation("the TTL of a new session was not half an hour");
    }
}

/// Waits until `service` is ready, and starts clients that send requests to `service`.
async fn ready(lab: &Lab, service: ServiceProcess) -> Stage {
    service.until_ready(READY_WITHIN).await;
    lab.stage_with(service).await
}

/// Replaces the contents of the hosts file `hosts` by `line`, and advances the modification time of
/// the file by two seconds. The resolver library nss_wrapper reads the file again only if the
/// modification time differs in whole seconds.
fn write_hosts(hosts: &Path, line: &str) -> std::io::Result<()> {
    let before = std::fs::metadata(hosts).and_then(|file| file.modified());
    std::fs::write(hosts, format!("{line}\n"))?;
    let Ok(before) = before else {
        return Ok(());
    };
    let file = std::fs::File::options().write(true).open(hosts)?;
    file.set_modified(before + Duration::from_secs(2))
}

async fn host_name_changed(lab: &Lab) -> Outcome {
    const NAME: &str = "redis.golf.example";
    let redis = RedisProcess::start_with(&["--save", "", "--bind", "127.0.0.1", "127.0.0.2"]).await;
    let hosts = redis.folder().join("hosts");
    let set_host = |line: &str| write_hosts(&hosts, line);
    let mut problems = Vec::new();
    problems.extend(set_host(&format!("127.0.0.1 {NAME}")).err());
    let url = format!("redis://{NAME}:{}/0", redis.port());
    let service = ServiceProcess::start(with_hosts(lab, &hosts), &service_flags(&url)).await;
    let mut stage = ready(lab, service).await;
    problems.extend(set_host("127.0.0.1 another.golf.example").err());
    let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis.command(&kill).await;
    stage.hold().await;
    if stage.shared().tally().last_failure.is_none() {
        stage.add_violation("no request failed although the name did not resolve");
    }
    problems.extend(set_host(&format!("127.0.0.2 {NAME}")).err());
    stage.wait_until_recovered().await;
    let clients = redis
        .command(&["CLIENT", "LIST"])
        .await
        .as_string()
        .unwrap_or_default();
    if !clients.contains("laddr=127.0.0.2:") {
        stage.add_violation("the service did not connect to the new address");
    }
    for problem in problems {
        stage.add_violation(problem.to_string());
    }
    stage.end().await
}

/// Returns a command that runs the service with the library nss_wrapper, which resolves host names
/// only from the file `hosts`.
fn with_hosts(lab: &Lab, hosts: &Path) -> Command {
    let mut command = lab.service();
    command.env("LD_PRELOAD", "libnss_wrapper.so");
    command.env("NSS_WRAPPER_HOSTS", hosts);
    command
}
