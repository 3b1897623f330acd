//! Fault scenarios in which additional clients overload the service, or a resource of the machine
//! is exhausted. The regular clients continue to send requests. A regular request may fail only if
//! more requests are in flight than the service allows.

use std::{
    fs::OpenOptions,
    io::ErrorKind,
    process::Stdio,
    sync::Arc,
    time::{Duration, Instant},
};

use futures_util::future::join_all;
use reqwest::{Client, StatusCode};
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, ServiceProcess};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    process::Command,
    task::JoinSet,
    time::timeout,
};

use super::{
    expect::Expect,
    row::{Row, row},
};
use crate::stage::{Lab, Outcome, Stage, service_flags};

/// Timeout for a service instance to become ready after its start.
const READY_WITHIN: Duration = Duration::from_secs(10);

/// Source address of the additional connections. The regular clients have the address 127.0.0.1, so
/// the limit of connections per address counts the two groups separately.
const HOLDER: ([u8; 4], u16) = ([127, 0, 0, 2], 0);

pub(super) fn rows() -> Vec<Row> {
    vec![
        row!(
            "10 000 additional connections, each used once and then idle",
            "other clients see no failures",
            Expect::NoFailures,
            many_connections
        ),
        row!(
            "one address opens 5000 connections, each used once and then idle, and may have 1000",
            "the longest-idle ones are closed; other clients see no failures",
            Expect::NoFailures,
            more_connections_than_allowed
        ),
        row!(
            "400 additional connections with a limit of 256 open files",
            "the longest-idle ones are closed; other clients see no failures",
            Expect::NoFailures,
            few_descriptors
        ),
        row!(
            "500 clients that send headers slowly (slowhttptest -H)",
            "other clients see no failures",
            Expect::NoFailures,
            |lab| { slow_clients(lab, &["-H", "-i", "2"]) }
        ),
        row!(
            "500 clients that send bodies slowly (slowhttptest -B)",
            "other clients see no failures",
            Expect::NoFailures,
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
            "other clients see no failures",
            Expect::NoFailures,
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
            "64 clients send requests with the same token as fast as they can",
            "other clients are served within the limit",
            Expect::NoFailures,
            one_busy_token
        ),
        row!(
            "four processes use all CPU cores",
            "slower, but live and within the limit",
            Expect::NoFailures,
            cpu_starved
        ),
        row!(
            "more requests than allowed (max_in_flight 24, 80 clients, a slow Redis)",
            "503 `overloaded` immediately; live",
            Expect::RefusedOnly("overloaded"),
            overloaded
        ),
        row!(
            "standard output is full (/dev/full)",
            "no failed requests",
            Expect::NoFailures,
            output_full
        ),
        row!(
            "standard output is closed",
            "no failed requests",
            Expect::NoFailures,
            output_closed
        ),
    ]
}

async fn many_connections(lab: &Lab) -> Outcome {
    const CONNECTIONS: usize = 10_000;
    let redis = RedisProcess::start().await;
    let flags = [
        "--max-connections",
        "20000",
        "--max-connections-per-address",
        "0",
    ];
    let mut stage = ready(lab, lab.start(&redis.url(), &flags).await).await;
    let open = open_used_connections(&mut stage, CONNECTIONS).await;
    stage.hold().await;
    let each = (stage.service.resident() - stage.resident_before()) / CONNECTIONS as u64;
    stage.remark(format!("{each} kB of memory per connection"));
    drop(open);
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn more_connections_than_allowed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let flags = [
        "--max-connections",
        "2000",
        "--max-connections-per-address",
        "1000",
    ];
    let mut stage = ready(lab, lab.start(&redis.url(), &flags).await).await;
    let open = open_used_connections(&mut stage, 5_000).await;
    stage.hold().await;
    let closed = open.iter().filter(|stream| is_closed(stream)).count();
    stage.remark(format!("{closed} of 5000 were closed"));
    if closed < 4_000 {
        stage.add_violation("one address held more connections than allowed");
    }
    drop(open);
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn few_descriptors(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let service = in_shell(lab, "ulimit -n 256; exec \"$0\" \"$@\"");
    let service = ServiceProcess::start(service, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    let open = open_used_connections(&mut stage, 400).await;
    stage.hold().await;
    let closed = open.iter().filter(|stream| is_closed(stream)).count();
    stage.remark(format!("{closed} of 400 were closed"));
    let address = address_of(&stage);
    let one_more = timeout(Duration::from_secs(1), used_connection(&address)).await;
    if !matches!(one_more, Ok(Some(_))) {
        stage.add_violation("a further connection was not served");
    }
    drop(open);
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Opens `number` connections to the service, and sends one request on each. Returns the open
/// connections.
async fn open_used_connections(stage: &mut Stage, number: usize) -> Vec<TcpStream> {
    // A batch is smaller than the connection limit of each scenario. At the limit, the service
    // closes the longest-idle connections, never the newest, so each new connection is served.
    const BATCH: usize = 20;
    let address = address_of(stage);
    let mut open = Vec::with_capacity(number);
    for _ in 0..number / BATCH {
        let opened = join_all((0..BATCH).map(|_| used_connection(&address))).await;
        open.extend(opened.into_iter().flatten());
    }
    if open.len() < number {
        stage.add_violation("a connection was not served");
    }
    open
}

fn address_of(stage: &Stage) -> String {
    stage
        .service
        .base()
        .trim_start_matches("http://")
        .to_owned()
}

/// Opens a connection from [`HOLDER`] to `address` and sends one request. Returns the open
/// connection if the response is 200, and `None` otherwise.
async fn used_connection(address: &str) -> Option<TcpStream> {
    let socket = TcpSocket::new_v4().ok()?;
    socket.bind(HOLDER.into()).ok()?;
    let mut stream = socket.connect(address.parse().ok()?).await.ok()?;
    let request = b"GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    stream.write_all(request).await.ok()?;
    let mut response = [0; 1_024];
    let read = stream.read(&mut response).await.ok()?;
    response[..read]
        .starts_with(b"HTTP/1.1 200")
        .then_some(stream)
}

/// Returns `true` if the service has closed the connection.
fn is_closed(stream: &TcpStream) -> bool {
    !matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == ErrorKind::WouldBlock)
}

/// Runs a scenario with 500 slow clients, simulated by the program slowhttptest. `options` are the
/// options of slowhttptest that select slow headers, slow bodies or slow reads.
async fn slow_clients(lab: &Lab, options: &[&str]) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let path = if options.contains(&"POST") {
        "/v1/sessions"
    } else {
        "/health/live"
    };
    let seconds = lab.hold.as_secs().max(3) + 4;
    let began = Instant::now();
    let status = Command::new("slowhttptest")
        .args(options)
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
    let has_run = status.is_ok_and(|status| status.success());
    if !has_run || began.elapsed() < Duration::from_secs(3) {
        stage.add_violation("slowhttptest did not run (scripts/setup --faults installs it)");
    }
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn one_busy_token(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let Some(token) = stage.shared().log_in().await else {
        stage.add_violation("no session could be created");
        return stage.end().await;
    };
    let until = Instant::now() + lab.hold;
    let url = format!("{}/v1/session", stage.service.base());
    let served = count_responses(64, until, &url, &token, StatusCode::OK).await;
    let rate = served as f64 / lab.hold.as_secs_f64();
    stage.remark(format!("{rate:.0} responses per second for this token"));
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Sends requests with `token` to `url` from `clients` concurrent clients as fast as possible,
/// until the time `until`. Returns the number of responses with the status `status`.
async fn count_responses(
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
            let mut count = 0;
            while Instant::now() < until {
                let response = http.get(&*url).bearer_auth(&token).send().await;
                count += u64::from(response.is_ok_and(|response| response.status() == status));
            }
            count
        });
    }
    tasks.join_all().await.into_iter().sum()
}

async fn cpu_starved(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let mut stage = lab.stage(&redis.url()).await;
    let mut busy_processes = Vec::new();
    for _ in 0..4 {
        let mut process = Command::new("/bin/sh");
        process
            .args(["-c", "while :; do :; done"])
            .kill_on_drop(true);
        busy_processes.push(process.spawn());
    }
    stage.hold().await;
    drop(busy_processes);
    stage.wait_until_recovered().await;
    stage.end().await
}

async fn overloaded(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    // On a busy machine, a command could take longer than the default timeout. The response would
    // then be 503 for a reason that this scenario does not test.
    let flags = [
        "--max-in-flight",
        "24",
        "--redis-command-timeout-ms",
        "2000",
    ];
    let service = lab.start(&url, &flags).await;
    let mut stage = ready(lab, service).await;
    let Some(token) = stage.shared().log_in().await else {
        stage.add_violation("no session could be created");
        return stage.end().await;
    };
    proxy.set(Fault::Delay(Duration::from_millis(50)));
    let until = Instant::now() + lab.hold;
    let url = format!("{}/v1/session", stage.service.base());
    let rejected = count_responses(64, until, &url, &token, StatusCode::SERVICE_UNAVAILABLE).await;
    stage.remark(format!(
        "{rejected} requests of the 64 additional clients were rejected"
    ));
    if rejected == 0 {
        stage.add_violation("no request was rejected");
    }
    proxy.set(Fault::None);
    stage.wait_until_recovered().await;
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
    without_output(lab, command, &redis).await
}

async fn output_closed(lab: &Lab) -> Outcome {
    let redis = RedisProcess::start().await;
    let command = in_shell(lab, "exec \"$0\" \"$@\" >&- 2>&-");
    without_output(lab, command, &redis).await
}

/// Runs a scenario in which the service cannot write to standard output and standard error.
/// `command` starts the service.
async fn without_output(lab: &Lab, command: Command, redis: &RedisProcess) -> Outcome {
    let service =
        ServiceProcess::start_without_capture(command, &service_flags(&redis.url())).await;
    let mut stage = ready(lab, service).await;
    stage.hold().await;
    stage.wait_until_recovered().await;
    stage.end().await
}

/// Waits until `service` is ready, and starts clients that send requests to `service`.
async fn ready(lab: &Lab, service: ServiceProcess) -> Stage {
    service.until_ready(READY_WITHIN).await;
    lab.stage_with(service).await
}

/// Returns a command that runs the shell script `script`. The script gets the path of the binary as
/// `$0`, and must start the binary.
fn in_shell(lab: &Lab, script: &str) -> Command {
    let mut command = Command::new("/bin/sh");
    command.env_clear().args(["-c", script]).arg(&lab.binary);
    command.stdin(Stdio::null()).kill_on_drop(true);
    command
}
