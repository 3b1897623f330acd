//! What time it is, and where a name leads.

use std::{path::Path, time::Duration};

use tee_session_test_support::{RedisProcess, ServiceProcess};
use tokio::process::Command;

use super::{Expect, Row, row};
use crate::stage::{Lab, Outcome, Stage, service_flags};

const READY_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "the service's clock is a day ahead",
            "not noticed: the store's clock counts",
            Expect::Unnoticed,
            |lab| { skewed(lab, "+1d") }
        ),
        row!(
            "the service's clock is a day behind",
            "the same",
            Expect::Unnoticed,
            |lab| { skewed(lab, "-1d") }
        ),
        row!(
            "the name of Redis leads nowhere, and then to another address",
            "503 for those cut off; the new address is found",
            Expect::RefusedAtOnce("store_unavailable"),
            renamed
        ),
    ]
}

async fn skewed(lab: &Lab, offset: &str) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut command = lab.service();
    // As the program faketime would, which is another process in between.
    command.env("LD_PRELOAD", "/usr/$LIB/faketime/libfaketimeMT.so.1");
    command.env("FAKETIME", offset);
    // Its timers are to run as ever: only the time of day is wrong.
    command.env("DONT_FAKE_MONOTONIC", "1");
    let service = ServiceProcess::start(command, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    check_that_it_is_another_day(&mut stage).await;
    check_time_to_live(&mut stage).await;
    stage.hold().await;
    stage.healed().await;
    stage.end().await
}

/// `Date` is the service's own time.
#[expect(
    clippy::disallowed_methods,
    reason = "the machine's own time is what is asked for"
)]
async fn check_that_it_is_another_day(stage: &mut Stage) {
    let answer = stage
        .service
        .request(reqwest::Method::GET, "/health/live")
        .send()
        .await;
    let date = answer.ok().and_then(|answer| {
        let date = answer.headers().get("date")?.to_str().ok()?;
        httpdate::parse_http_date(date).ok()
    });
    let now = std::time::SystemTime::now();
    let distance = date.map(|date| {
        let ahead = date.duration_since(now);
        ahead.unwrap_or_else(|behind| behind.duration())
    });
    if distance.is_none_or(|distance| distance < Duration::from_hours(23)) {
        stage.violated("its clock was right (scripts/setup --faults installs what sets it)");
    }
}

/// A new session lives for half an hour, whatever the service takes the time to be.
async fn check_time_to_live(stage: &mut Stage) {
    let Some(token) = stage.shared().log_in().await else {
        return stage.violated("no session could be made");
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
        stage.violated("another time to live");
    }
}

async fn ready(lab: &Lab, service: ServiceProcess) -> Stage {
    service.until_ready(READY_WITHIN).await;
    lab.stage_with(service).await
}

/// Writes the file of names. Whoever reads it looks whether its time, in whole seconds, is another one.
fn point(hosts: &Path, to: &str) -> std::io::Result<()> {
    let before = std::fs::metadata(hosts).and_then(|file| file.modified());
    std::fs::write(hosts, format!("{to}\n"))?;
    let Ok(before) = before else {
        return Ok(());
    };
    let file = std::fs::File::options().write(true).open(hosts)?;
    file.set_modified(before + Duration::from_secs(2))
}

async fn renamed(lab: &Lab) -> Outcome {
    const NAME: &str = "redis.golf.example";
    let redis = RedisProcess::start_with(&["--save", "", "--bind", "127.0.0.1", "127.0.0.2"]).await;
    let hosts = redis.folder().join("hosts");
    let point = |to: &str| point(&hosts, to);
    let mut problems = Vec::new();
    problems.extend(point(&format!("127.0.0.1 {NAME}")).err());
    let url = format!("redis://{NAME}:{}/0", redis.port());
    let service = ServiceProcess::start(with_hosts(lab, &hosts), &service_flags(&url)).await;
    let mut stage = ready(lab, service).await;
    problems.extend(point("127.0.0.1 another.golf.example").err());
    let kill = ["CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis.command(&kill).await;
    stage.hold().await;
    if stage.shared().tally().last_failure.is_none() {
        stage.violated("the name still led somewhere");
    }
    problems.extend(point(&format!("127.0.0.2 {NAME}")).err());
    stage.healed().await;
    let clients = redis
        .command(&["CLIENT", "LIST"])
        .await
        .as_string()
        .unwrap_or_default();
    if !clients.contains("laddr=127.0.0.2:") {
        stage.violated("another address than that of the name");
    }
    for problem in problems {
        stage.violated(problem.to_string());
    }
    stage.end().await
}

/// The service, with names from this file and no other.
fn with_hosts(lab: &Lab, hosts: &Path) -> Command {
    let mut command = lab.service();
    command.env("LD_PRELOAD", "libnss_wrapper.so");
    command.env("NSS_WRAPPER_HOSTS", hosts);
    command
}
