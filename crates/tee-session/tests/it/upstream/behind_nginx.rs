//! Tests of instances behind nginx. For requests to sites, nginx has the same `location` blocks as
//! in the compose deployment, or as on the page about the gateway.

use std::{fs, sync::Arc, time::Duration};

use nix::sys::signal::Signal;
use reqwest::{Method, Response, StatusCode};
use rstest::rstest;
use serde_json::Value;
use tee_session_client::Client;
use tee_session_test_support::{RedisProcess, TestSite, eventually, free_port};
use tempfile::TempDir;
use tokio::{io::AsyncWriteExt, process::Child, sync::Notify};

use super::{
    CountingSite, GATEWAY_FLAGS, browse, log_in, nginx_process, start_gateway_with, token_for,
};
use crate::service::{self, Service};

const COMPOSE: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/../../deploy/compose/nginx.conf"
);

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/upstream.md");

const DEFAULTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config/default.toml");

/// Line of the nginx configuration that names the only gateway instance of the compose deployment.
const SERVER: &str = "server gateway:8000 max_fails=0;";

/// First line of the nginx block for requests to sites.
const LOCATION: &str = "location /v1/upstream/ {";

const ACCESS_LOG: &str = "access_log /dev/stdout gateway;";

const BOOKED_WITHIN: Duration = Duration::from_secs(20);

/// Size of the first part of an answer, in bytes. This part does not fit into the buffers of nginx.
const FIRST_PART: usize = 256 * 1_024;

const CONFIGURATION: &str = "
daemon off;
master_process off;
pid @DIRECTORY@/nginx.pid;
error_log stderr;
events {}
http {
    access_log off;
    client_body_temp_path @DIRECTORY@/body;
    proxy_temp_path @DIRECTORY@/proxy;
    fastcgi_temp_path @DIRECTORY@/fastcgi;
    uwsgi_temp_path @DIRECTORY@/uwsgi;
    scgi_temp_path @DIRECTORY@/scgi;
    @INSTANCES@
    server {
        listen 127.0.0.1:@PORT@;
        @LOCATIONS@
    }
}
";

/// Returns a block of the nginx configuration of the compose deployment. The block begins with the
/// line `first`.
fn block(first: &str) -> String {
    block_in(&fs::read_to_string(COMPOSE).unwrap(), first)
}

fn block_in(text: &str, first: &str) -> String {
    let begin = text.find(&format!("{first}\n")).unwrap();
    let line = text[..begin].rfind('\n').unwrap() + 1;
    let indent = &text[line..begin];
    let end = format!("\n{indent}}}\n");
    let length = text[line..].find(&end).unwrap() + end.len();
    text[line..line + length].to_owned()
}

fn location() -> String {
    block(LOCATION)
}

/// Returns the nginx blocks of the compose deployment for requests to sites, without their access
/// log.
fn compose_locations() -> String {
    let named = ["@gateway_away", "@too_large_for_gateway"];
    let named = named.map(|name| block(&format!("location {name} {{")));
    (location() + &named.concat()).replace(ACCESS_LOG, "")
}

/// Returns the example for nginx on the page about the gateway.
fn page_locations() -> String {
    let page = fs::read_to_string(PAGE).unwrap();
    let (_, example) = page.split_once("```nginx\n").unwrap();
    example.split_once("```").unwrap().0.to_owned()
}

/// A running nginx in front of two instances of the service.
struct Nginx {
    port: u16,
    _directory: TempDir,
    _nginx: Child,
}

impl Nginx {
    /// Starts nginx with the `location` blocks of the compose deployment.
    async fn start(instances: [&Service; 2]) -> Self {
        Self::start_with(&compose_locations(), instances).await
    }

    async fn start_with(locations: &str, instances: [&Service; 2]) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let upstream = block("upstream gateway {");
        assert!(upstream.contains(SERVER));
        let servers = instances.map(|instance| {
            let address = instance.base().strip_prefix("http://").unwrap();
            SERVER.replace("gateway:8000", address)
        });
        let text = CONFIGURATION
            .replace("@INSTANCES@", &upstream.replace(SERVER, &servers.join(" ")))
            .replace("@LOCATIONS@", locations)
            .replace("@DIRECTORY@", directory.path().to_str().unwrap())
            .replace("@PORT@", &port.to_string());
        let nginx = nginx_process::start(directory.path(), port, &text).await;
        Self {
            port,
            _directory: directory,
            _nginx: nginx,
        }
    }

    fn url(&self, path: &str) -> String {
        format!("http://127.0.0.1:{}/v1/upstream{path}", self.port)
    }
}

async fn start_instance(redis: &RedisProcess) -> Service {
    start_gateway_with(redis, &["--metrics-port", "0"]).await
}

/// Returns the number of requests to sites that are in flight at `service`.
async fn in_flight(service: &Service) -> u32 {
    let started = &service.events("Starting up")[0];
    let address = started["metrics_address"].as_str().unwrap();
    let metrics = service.client.get(format!("http://{address}/metrics"));
    let metrics = metrics.send().await.unwrap().text().await.unwrap();
    let name = "tee_session_upstream_in_flight ";
    let line = metrics.lines().find_map(|line| line.strip_prefix(name));
    line.unwrap().parse().unwrap()
}

#[tokio::test]
async fn nginx_does_not_repeat_a_booking_at_another_instance_when_an_instance_is_killed() {
    let (redis, site) = (RedisProcess::start().await, CountingSite::start().await);
    let (first, second) = (start_instance(&redis).await, start_instance(&redis).await);
    let nginx = Nginx::start([&first, &second]).await;
    let client = Client::new(first.base()).unwrap();
    let token = log_in(&client, &site).await;

    let booking = reqwest::Client::new()
        .get(nginx.url("/book?slot=8&pause_us=2000000"))
        .bearer_auth(token.expose_secret());
    let (booked, other) = tokio::join!(booking.send(), async {
        eventually(BOOKED_WITHIN, async || !site.bookings().is_empty()).await;
        let is_first = in_flight(&first).await == 1;
        let (doomed, other) = if is_first {
            (&first, &second)
        } else {
            (&second, &first)
        };
        assert_eq!(in_flight(doomed).await, 1);
        assert_eq!(in_flight(other).await, 0);
        doomed.signal(Signal::SIGKILL);
        other
    });
    let answer = booked.unwrap();
    assert_eq!(answer.status(), StatusCode::BAD_GATEWAY);
    assert!(!answer.headers().contains_key("via"));
    let problem: Value = answer.json().await.unwrap();
    assert_eq!(problem["code"], "upstream_failed");
    assert_eq!(problem["outcome"], "unknown");
    assert!(other.events("Upstream request").is_empty());
    // The session still works at the other instance, after the site has released its lock.
    let client = Client::new(other.base()).unwrap();
    assert_eq!(browse(&client, &token, "/").await.1, "Welcome Anna");
    assert_eq!(site.bookings(), ["book 8"]);
}

#[tokio::test]
async fn nginx_passes_an_answer_on_as_it_arrives() {
    let go_on = Arc::new(Notify::new());
    let waiting = Arc::clone(&go_on);
    let site = TestSite::start(move |mut stream, seen| {
        let waiting = Arc::clone(&waiting);
        async move {
            seen.read_request(&mut stream).await;
            let head = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                FIRST_PART + 3
            );
            stream.write_all(head.as_bytes()).await.unwrap();
            stream.write_all(&vec![b'x'; FIRST_PART]).await.unwrap();
            waiting.notified().await;
            stream.write_all(b"end").await.unwrap();
        }
    })
    .await;
    let redis = RedisProcess::start().await;
    let (first, second) = (start_instance(&redis).await, start_instance(&redis).await);
    let nginx = Nginx::start([&first, &second]).await;
    let token = token_for(&first, &site.url()).await;
    let request = reqwest::Client::new()
        .request(Method::GET, nginx.url("/large"))
        .bearer_auth(token);
    let mut answer = request.send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["via"], "1.1 tee-session");
    let mut received = 0;
    while received < FIRST_PART {
        received += answer.chunk().await.unwrap().unwrap().len();
    }
    // The site sends the rest of the answer only now.
    go_on.notify_one();
    assert_eq!(answer.chunk().await.unwrap().unwrap(), "end");
    assert_eq!(answer.chunk().await.unwrap(), None);
    assert_eq!(site.seen().total(), 1);
}

#[rstest]
#[case::compose(compose_locations())]
#[case::page(page_locations())]
#[tokio::test]
async fn problem_details_that_nginx_itself_sends_contain_a_code_and_an_outcome(
    #[case] locations: String,
) {
    let site = TestSite::answering("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok").await;
    let service = service::start(&GATEWAY_FLAGS).await;
    let nginx = Nginx::start_with(&locations, [&service, &service]).await;
    let token = token_for(&service, &site.url()).await;
    let call = async |body: Vec<u8>| {
        let request = reqwest::Client::new().post(nginx.url("/book"));
        request.bearer_auth(&token).body(body).send().await.unwrap()
    };
    let assert_problem = async |answer: Response, status: u16, code: &str, outcome: &str| {
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        let problem: Value = answer.json().await.unwrap();
        assert_eq!(problem["code"], code);
        assert_eq!(problem["outcome"], outcome);
    };
    let answer = call(Vec::new()).await;
    assert_eq!(answer.headers()["via"], "1.1 tee-session");

    let too_large = call(vec![b'x'; 3 * 1_024 * 1_024]).await;
    assert_problem(too_large, 413, "payload_too_large", "not_sent").await;
    assert_eq!(site.seen().total(), 1);

    service.signal(Signal::SIGKILL);
    eventually(Duration::from_secs(10), async || {
        reqwest::get(service.base()).await.is_err()
    })
    .await;
    let away = call(Vec::new()).await;
    assert_problem(away, 502, "upstream_failed", "unknown").await;
}

#[rstest]
#[case::compose(location())]
#[case::page(block_in(&page_locations(), LOCATION))]
fn nginx_location_for_sites_disables_retries_and_buffering_and_has_higher_limits_than_the_gateway(
    #[case] location: String,
) {
    /// Maximum time that the gateway needs in addition to the response timeout, in seconds: 2 to
    /// wait for a permit, 3 to connect, 2 for the store, and 15 to search for login markers.
    const OTHER_STEPS: u64 = 22;
    let defaults = fs::read_to_string(DEFAULTS).unwrap();
    let number = |name: &str| -> u64 {
        let prefix = format!("{name} = ");
        let value = defaults.lines().find_map(|line| line.strip_prefix(&prefix));
        value.unwrap().parse().unwrap()
    };
    let directive = |name: &str| {
        let lines = location.lines().map(str::trim);
        let values = lines.filter_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        let values: Vec<_> = values.collect();
        assert_eq!(values.len(), 1, "{name}");
        // A comment may follow the directive.
        values[0].split_once(';').unwrap().0
    };
    let seconds = directive("proxy_read_timeout").strip_suffix('s').unwrap();
    let response_timeout = number("upstream_response_timeout_ms") / 1_000;
    assert!(seconds.parse::<u64>().unwrap() > response_timeout + OTHER_STEPS);
    let body = directive("client_max_body_size").strip_suffix('m').unwrap();
    let max_body = number("upstream_max_request_bytes");
    assert!(body.parse::<u64>().unwrap() * 1_024 * 1_024 > max_body);
    assert_eq!(directive("proxy_next_upstream"), "off");
    assert_eq!(directive("proxy_http_version"), "1.1");
    assert_eq!(directive("proxy_buffering"), "off");
}
