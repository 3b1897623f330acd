//! Too much of everything, and a machine that has no more of it. The others, whose load runs all
//! the while, must not notice.

use std::{
    fs::OpenOptions,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, ServiceProcess};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    process::Command,
    task::JoinSet,
    time::{sleep, timeout},
};

use super::{Expect, Row, row};
use crate::stage::{Lab, Outcome, Stage, service_flags};

const READY_WITHIN: Duration = Duration::from_secs(10);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "10 000 more connections, each used and then idle",
            "not noticed by the others",
            Expect::Unnoticed,
            crowded
        ),
        row!(
            "no file descriptor is left for another connection",
            "those that are there are served; new ones when there are some again",
            Expect::Unnoticed,
            no_descriptors
        ),
        row!(
            "500 clients that send heads slowly (slowhttptest -H)",
            "not noticed by the others",
            Expect::Unnoticed,
            |lab| { slow_clients(lab, &["-H", "-i", "2"]) }
        ),
        row!(
            "500 clients that send bodies slowly (slowhttptest -B)",
            "not noticed by the others",
            Expect::Unnoticed,
            |lab| {
                slow_clients(
                    lab,
                    &[
                        "-B",
                        "-i",
                        "2",
                        "-s",
                        "8192",
                        "-t",
                        "POST",
                        "-f",
                        "application/json",
                    ],
                )
            }
        ),
        row!(
            "500 clients that read slowly (slowhttptest -X)",
            "not noticed by the others",
            Expect::Unnoticed,
            |lab| {
                slow_clients(
                    lab,
                    &[
                        "-X", "-w", "10", "-y", "20", "-n", "2", "-z", "4", "-k", "3",
                    ],
                )
            }
        ),
        row!(
            "one token is hammered by 64 clients",
            "the others have their answers in time",
            Expect::Unnoticed,
            hammered
        ),
        row!(
            "four programs want every core",
            "slower; live, and answers in time",
            Expect::Unnoticed,
            starved
        ),
        row!(
            "more requests than it may take (max_in_flight 24, 80 clients, a slow Redis)",
            "503 `overloaded` at once; live",
            Expect::RefusedOnly("overloaded"),
            overloaded
        ),
        row!(
            "standard output is full (/dev/full)",
            "not noticed",
            Expect::Unnoticed,
            output_full
        ),
        row!(
            "standard output is closed",
            "not noticed",
            Expect::Unnoticed,
            output_closed
        ),
    ]
}

async fn crowded(lab: &Lab) -> Outcome {
    const CONNECTIONS: usize = 10_000;
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let address = stage
        .service
        .base()
        .trim_start_matches("http://")
        .to_owned();
    let mut open = Vec::with_capacity(CONNECTIONS);
    for _ in 0..CONNECTIONS / 100 {
        let some = join_all((0..100).map(|_| used_connection(&address))).await;
        open.extend(some.into_iter().flatten());
    }
    if open.len() < CONNECTIONS {
        stage.violated("a connection was refused");
    }
    stage.hold().await;
    let each = (stage.service.resident() - stage.resident_before()) / CONNECTIONS as u64;
    stage.remark(format!("{each} kB of memory for each connection"));
    drop(open);
    stage.healed().await;
    stage.end().await
}

/// A connection on which one request was answered.
async fn used_connection(address: &str) -> Option<TcpStream> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut answer = [0; 1_024];
    let read = stream.read(&mut answer).await.ok()?;
    answer[..read]
        .starts_with(b"HTTP/1.1 200")
        .then_some(stream)
}

async fn no_descriptors(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let service = in_shell(lab, "ulimit -n 150; exec \"$0\" \"$@\"");
    let service = ServiceProcess::start(service, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    let address = stage
        .service
        .base()
        .trim_start_matches("http://")
        .to_owned();
    let open = join_all((0..400).map(|_| TcpStream::connect(&address))).await;
    stage.hold().await;
    let one_more = timeout(Duration::from_millis(300), used_connection(&address)).await;
    if matches!(one_more, Ok(Some(_))) {
        stage.violated("there were descriptors left");
    }
    drop(open);
    let began = Instant::now();
    while timeout(Duration::from_secs(1), used_connection(&address))
        .await
        .ok()
        .flatten()
        .is_none()
        && began.elapsed() < READY_WITHIN
    {
        sleep(Duration::from_millis(20)).await;
    }
    stage.remark(format!(
        "new connections after {:.1} s",
        began.elapsed().as_secs_f64()
    ));
    stage.healed().await;
    stage.end().await
}

async fn slow_clients(lab: &Lab, how: &[&str]) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let path = if how.contains(&"POST") {
        "/v1/sessions"
    } else {
        "/health/live"
    };
    let seconds = lab.hold.as_secs().max(3) + 4;
    let began = Instant::now();
    let ran = Command::new("slowhttptest")
        .args(how)
        .args([
            "-c",
            "500",
            "-r",
            "250",
            "-l",
            &seconds.to_string(),
            "-x",
            "24",
            "-p",
            "2",
        ])
        .args(["-u", &format!("{}{path}", stage.service.base())])
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .await;
    let ran = ran.is_ok_and(|status| status.success());
    if !ran || began.elapsed() < Duration::from_secs(3) {
        stage.violated("slowhttptest did not run (scripts/setup --faults installs it)");
    }
    stage.healed().await;
    stage.end().await
}

async fn hammered(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let Some(token) = stage.shared().log_in().await else {
        stage.violated("no session could be made");
        return stage.end().await;
    };
    let until = Instant::now() + lab.hold;
    let url = format!("{}/v1/session", stage.service.base());
    let served = each_of(64, until, &url, &token, StatusCode::OK).await;
    let rate = served as f64 / lab.hold.as_secs_f64();
    stage.remark(format!("{rate:.0} answers a second with the one token"));
    stage.healed().await;
    stage.end().await
}

/// So many clients ask with this token as fast as they can; how many answers had `status`.
async fn each_of(
    clients: usize,
    until: Instant,
    url: &str,
    token: &str,
    status: StatusCode,
) -> u64 {
    let (http, url, token): (_, Arc<str>, Arc<str>) = (Client::new(), url.into(), token.into());
    let mut tasks = JoinSet::new();
    for _ in 0..clients {
        let (http, url, token) = (http.clone(), Arc::clone(&url), Arc::clone(&token));
        tasks.spawn(async move {
            let mut answers = 0;
            while Instant::now() < until {
                let answer = http.get(&*url).bearer_auth(&token).send().await;
                answers += u64::from(answer.is_ok_and(|answer| answer.status() == status));
            }
            answers
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn starved(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let mut burners = Vec::new();
    for _ in 0..4 {
        let mut burner = Command::new("/bin/sh");
        burner
            .args(["-c", "while :; do :; done"])
            .kill_on_drop(true);
        burners.push(burner.spawn());
    }
    stage.hold().await;
    drop(burners);
    stage.healed().await;
    stage.end().await
}

async fn overloaded(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    let service = lab.start(&url, &["--max-in-flight", "24"]).await;
    let mut stage = ready(lab, service).await;
    let Some(token) = stage.shared().log_in().await else {
        stage.violated("no session could be made");
        return stage.end().await;
    };
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let until = Instant::now() + lab.hold;
    let url = format!("{}/v1/session", stage.service.base());
    let shed = each_of(64, until, &url, &token, StatusCode::SERVICE_UNAVAILABLE).await;
    stage.remark(format!("{shed} of the 64 others' requests were shed"));
    if shed == 0 {
        stage.violated("nothing was shed");
    }
    proxy.set(Fault::None);
    stage.healed().await;
    stage.end().await
}

async fn output_full(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut command = lab.service();
    for set in [Command::stdout, Command::stderr] {
        match OpenOptions::new().write(true).open("/dev/full") {
            Ok(full) => set(&mut command, Stdio::from(full)),
            Err(_) => set(&mut command, Stdio::null()),
        };
    }
    unheard(lab, command, &redis).await
}

async fn output_closed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let command = in_shell(lab, "exec \"$0\" \"$@\" >&- 2>&-");
    unheard(lab, command, &redis).await
}

async fn unheard(lab: &Lab, command: Command, redis: &RedisProcess) -> Outcome {
    let service = ServiceProcess::start_unheard(command, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    stage.hold().await;
    stage.healed().await;
    stage.end().await
}

async fn ready(lab: &Lab, service: ServiceProcess) -> Stage {
    service.until_ready(READY_WITHIN).await;
    lab.stage_with(service).await
}

/// The service, started by a shell with this script.
fn in_shell(lab: &Lab, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", script]).arg(&lab.binary);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
