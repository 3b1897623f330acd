//! Tests of the upstream gateway of the built binary, against real sites.

mod behind_nginx;
mod booking_flow;
mod dns;
mod hostile_page;
mod large_answer;
mod log_lines;
mod near_cache;
mod nginx_process;
mod nginx_site;
mod secrecy;
mod shutdown;

use std::{
    fs,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use nix::{
    sys::signal::{Signal, killpg},
    unistd::Pid,
};
use rstest::rstest;
use serde_json::{Value, json};
use tee_session_client::{BaseUrl, Client, Cookies, SessionToken, http::Method};
use tee_session_test_support::{
    RedisCluster, RedisProcess, RedisSentinels, TestSite, eventually, free_port,
};
use tempfile::TempDir;
use tokio::process::{Child, Command};

use crate::{
    booking_sites::BookingSite,
    python_packages,
    service::{self, Service},
};

/// A booking site in PHP that writes each booking to a file.
struct CountingSite {
    port: u16,
    folder: TempDir,
    php: Child,
}

/// Kills the four PHP processes, which do not end together with their parent process.
impl Drop for CountingSite {
    fn drop(&mut self) {
        if let Some(id) = self.php.id() {
            let _ = killpg(Pid::from_raw(i32::try_from(id).unwrap()), Signal::SIGKILL);
        }
    }
}

impl CountingSite {
    /// Starts the site with four PHP processes. With one process, PHP would handle only one request
    /// at a time. With four processes, only the lock of a PHP session serializes the requests of
    /// that session.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let port = free_port();
        let site = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/upstream/booking.php");
        let save_path = format!("session.save_path={}", folder.path().display());
        let php = Command::new("php")
            .args(["-d", &save_path, "-S", &format!("127.0.0.1:{port}"), site])
            .env("BOOKINGS", folder.path().join("bookings"))
            .env("PHP_CLI_SERVER_WORKERS", "4")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .expect("php is installed: run scripts/setup");
        let site = Self { port, folder, php };
        eventually(Duration::from_secs(10), async || {
            reqwest::get(format!("{}/login", site.url())).await.is_ok()
        })
        .await;
        site
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    fn bookings_file(&self) -> PathBuf {
        self.folder.path().join("bookings")
    }

    /// Returns the lines that the site has written: one for each booking, such as `book 7`, and one
    /// for each player added to a booking, such as `partner 1`.
    fn bookings(&self) -> Vec<String> {
        let text = fs::read_to_string(self.bookings_file()).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

/// Flags that enable the gateway for sites on this machine.
const GATEWAY_FLAGS: [&str; 8] = [
    "--upstream-gateway",
    "true",
    "--allowed-base-hosts",
    "127.0.0.1",
    "--upstream-allow-http",
    "true",
    "--upstream-allowed-networks",
    "127.0.0.0/8",
];

async fn start_gateway(redis: &RedisProcess) -> Service {
    start_gateway_with(redis, &[]).await
}

async fn start_gateway_with(redis: &RedisProcess, flags: &[&str]) -> Service {
    start_gateway_at(&redis.url(), flags).await
}

async fn start_gateway_at(redis_url: &str, flags: &[&str]) -> Service {
    let store = ["--redis-url", redis_url];
    service::start(&[GATEWAY_FLAGS.as_slice(), &store, flags].concat()).await
}

/// Redis of a test: a single server, servers with Sentinel, or a cluster.
enum Deployment {
    One(Box<RedisProcess>),
    Sentinels(RedisSentinels),
    Cluster(RedisCluster),
}

impl Deployment {
    fn url(&self) -> String {
        match self {
            Self::One(redis) => redis.url(),
            Self::Sentinels(redis) => redis.url(),
            Self::Cluster(redis) => redis.url(),
        }
    }
}

/// Creates a session without cookies for the site at `base_url`, and returns its token.
async fn token_for(service: &Service, base_url: &str) -> String {
    let request = service.request(Method::POST, "/v1/sessions");
    let session = json!({"cookies": {}, "base_url": base_url});
    let created = request.json(&session).send().await.unwrap();
    let created: Value = created.json().await.unwrap();
    created["access_token"].as_str().unwrap().to_owned()
}

/// Sends a `GET` request through the gateway and follows redirects. Returns the last path and the
/// body of the last answer.
async fn browse(client: &Client, token: &SessionToken, path: &str) -> (String, String) {
    let mut path = path.to_owned();
    loop {
        let answer = client.session(token).upstream(Method::GET, &path);
        let answer = answer.send().await.unwrap();
        assert!(answer.cookies_are_kept());
        match answer.redirect() {
            Some(next) => path = next.to_owned(),
            None => return (path, answer.text().await.unwrap()),
        }
    }
}

/// Logs in through the gateway, and then rotates the token. Returns the new token.
async fn log_in(client: &Client, site: &CountingSite) -> SessionToken {
    let base_url = BaseUrl::new(site.url()).unwrap();
    let new = client
        .create(&Cookies::default(), &base_url)
        .send()
        .await
        .unwrap();
    let token = new.access_token;
    let (_, form) = browse(client, &token, "/login").await;
    let csrf = form
        .split("value=\"")
        .nth(1)
        .unwrap()
        .split('"')
        .next()
        .unwrap();
    let login = client.session(&token).upstream(Method::POST, "/login");
    let answer = login
        .header(
            "content-type".parse().unwrap(),
            "application/x-www-form-urlencoded".parse().unwrap(),
        )
        .body(format!("_csrf_token={csrf}&member=Anna&pin=1234"))
        .send()
        .await
        .unwrap();
    assert_eq!(answer.status(), 302);
    assert_eq!(answer.redirect(), Some("/"));
    client.session(&token).rotate().await.unwrap().access_token
}

#[rstest]
#[case::one_server(async { Deployment::One(Box::new(RedisProcess::start().await)) })]
#[case::sentinels(async { Deployment::Sentinels(RedisSentinels::start().await) })]
#[case::cluster(async { Deployment::Cluster(RedisCluster::start(3, 0).await) })]
#[tokio::test]
async fn booking_flow_books_exactly_once_across_two_instances(
    #[case] redis: impl Future<Output = Deployment>,
) {
    let (redis, site) = (redis.await, CountingSite::start().await);
    let start = async || start_gateway_at(&redis.url(), &[]).await;
    let (first, second) = (start().await, start().await);
    let one = Client::new(first.base()).unwrap();
    let other = Client::new(second.base()).unwrap();
    let token = log_in(&one, &site).await;

    // The site has rotated its session id at the login. The other instance sends the new id.
    assert_eq!(browse(&other, &token, "/").await.1, "Welcome Anna");
    assert_eq!(browse(&one, &token, "/rotate").await.1, "rotated");
    assert_eq!(browse(&other, &token, "/").await.1, "Welcome Anna");

    assert_eq!(browse(&one, &token, "/teetimes").await.1, "Slots: 7, 8, 9");
    let (path, text) = browse(&one, &token, "/book?slot=7").await;
    assert_eq!(path, "/teetimes?edit=1");
    assert_eq!(text, "Booking 1");
    assert_eq!(browse(&other, &token, "/partner?edit=1").await.1, "added");
    assert_eq!(site.bookings(), ["book 7", "partner 1"]);

    let session = one.session(&token).get().await.unwrap();
    assert!(session.cookies.get("PHPSESSID").is_some());
    assert_eq!(session.cookies.get("theme"), Some("dark"));
}

#[tokio::test]
async fn curl_books_through_the_gateway_if_only_the_base_url_is_changed_and_the_token_added() {
    let (redis, site) = (RedisProcess::start().await, CountingSite::start().await);
    let service = start_gateway(&redis).await;
    let client = Client::new(service.base()).unwrap();
    let token = log_in(&client, &site).await;
    let config = site.folder.path().join("curl");
    let header = format!(
        "header = \"Authorization: Bearer {}\"\n",
        token.expose_secret()
    );
    fs::write(&config, header).unwrap();
    let url = format!("{}/v1/upstream/book?slot=9", service.base());
    let curl = Command::new("curl")
        .args(["-sS", "--location", "--config"])
        .arg(Path::new(&config))
        .args(["--write-out", " at %{url_effective}", &url])
        .output()
        .await
        .unwrap();
    let output = String::from_utf8_lossy(&curl.stdout);
    let expected = format!(
        "Booking 1 at {}/v1/upstream/teetimes?edit=1",
        service.base()
    );
    assert_eq!(
        output,
        expected,
        "{}",
        String::from_utf8_lossy(&curl.stderr)
    );
    assert_eq!(site.bookings(), ["book 9"]);
}

#[tokio::test]
async fn booking_is_not_repeated_if_the_instance_is_killed_during_the_booking() {
    let (redis, site) = (RedisProcess::start().await, CountingSite::start().await);
    let (doomed, other) = (start_gateway(&redis).await, start_gateway(&redis).await);
    let client = Client::new(doomed.base()).unwrap();
    let token = log_in(&client, &site).await;
    let slow = client
        .session(&token)
        .upstream(Method::GET, "/book?slot=8&pause_us=700000");
    let (booked, ()) = tokio::join!(slow.send(), async {
        eventually(Duration::from_secs(5), async || !site.bookings().is_empty()).await;
        doomed.signal(Signal::SIGKILL);
    });
    assert!(booked.unwrap_err().outcome_is_unknown());
    // The session still works at the other instance, after the site has released its lock.
    let other = Client::new(other.base()).unwrap();
    assert_eq!(browse(&other, &token, "/").await.1, "Welcome Anna");
    assert_eq!(site.bookings(), ["book 8"]);
}

#[rstest]
#[case::redirect(&["--upstream-login-paths", "/login"], "/teetimes", "login_path")]
#[case::marker(
    &["--upstream-login-paths", "/login", "--upstream-login-markers", "id=\"login\""],
    "/inline",
    "marker"
)]
#[tokio::test]
async fn login_that_the_site_has_ended_returns_401_until_the_client_logs_in_again(
    #[case] flags: &[&str],
    #[case] path: &str,
    #[case] signal: &str,
) {
    let (redis, site) = (RedisProcess::start().await, CountingSite::start().await);
    let service = start_gateway_with(&redis, flags).await;
    let client = Client::new(service.base()).unwrap();
    let token = log_in(&client, &site).await;
    let session = client.session(&token);
    let call = async || {
        let request = session.upstream(Method::GET, path);
        let gzip = "gzip, br".parse().unwrap();
        request.header("accept-encoding".parse().unwrap(), gzip)
    };
    let mut answer = call().await.send().await.unwrap();
    assert_eq!(answer.status(), 200);
    let bytes = answer.chunk().await.unwrap().unwrap();
    assert_eq!(bytes.starts_with(&[0x1f, 0x8b]), path == "/inline");

    let end = session.upstream(Method::GET, "/logout").send().await;
    // The redirect to the login page shows that the user is no longer logged in, too.
    assert!(end.unwrap_err().is_upstream_session_expired());
    let error = call().await.send().await.unwrap_err();
    let problem = error.problem().unwrap();
    assert_eq!(problem.status, 401);
    assert_eq!(problem.code.as_str(), "upstream_session_expired");
    assert!(error.is_upstream_session_expired() && !error.is_invalid_token());
    assert!(error.outcome_is_unknown() && !error.is_retryable());
    // Waits until the log contains the logout and the call.
    eventually(Duration::from_secs(5), async || {
        service.events("Upstream session expired").len() == 2
    })
    .await;
    let events = service.events("Upstream session expired");
    assert_eq!(events.last().unwrap()["signal"], signal);
    assert_eq!(events.last().unwrap()["site"], "127.0.0.1");

    assert!(
        browse(&client, &token, "/login")
            .await
            .1
            .contains("_csrf_token")
    );
    assert!(session.get().await.is_ok());
}

/// Starts a service with a gateway. The gateway may call `site`, and trusts the certificate
/// authority of the site.
async fn start_gateway_to(site: &BookingSite) -> Service {
    let ca_file = site.authority.ca_file();
    service::start(&[
        "--upstream-gateway",
        "true",
        "--allowed-base-hosts",
        "127.0.0.1",
        "--upstream-allowed-networks",
        "127.0.0.1",
        "--upstream-tls-ca-file",
        ca_file.to_str().unwrap(),
    ])
    .await
}

/// Runs a script with the HTTP client httpx. To use the gateway instead of the site, the script
/// changes only the base URL and two header fields: `Authorization` and `Referer`.
#[tokio::test]
async fn httpx_client_logs_in_books_and_logs_out_on_a_django_site_through_the_gateway() {
    let site = BookingSite::of_django().await;
    let service = start_gateway_to(&site).await;
    let mut flow = python_packages::script("gateway_flow.py");
    flow.args([service.base(), &site.base]);
    let output = python_packages::output_of(&mut flow).await;
    let seen: Value = serde_json::from_str(&output).unwrap();
    assert_eq!(seen["out_of_date"], 403, "{seen}");
    assert_eq!(seen["booked"], "Booked: 08:10");
    assert_eq!(seen["after_logout"], 403);
    assert_eq!(seen["cookies_of_client"], json!({}));
    let cookies = seen["cookies_of_session"].as_object().unwrap();
    assert!(cookies.contains_key("csrftoken") && !cookies.contains_key("sessionid"));
}

#[tokio::test]
async fn site_whose_certificate_is_not_trusted_gets_no_request() {
    let site = BookingSite::of_django().await;
    let other = BookingSite::of_django().await;
    let service = start_gateway_to(&other).await;
    let client = Client::new(service.base()).unwrap();
    let base_url = BaseUrl::new(site.base.as_str()).unwrap();
    let new = client
        .create(&Cookies::default(), &base_url)
        .send()
        .await
        .unwrap();
    let request = client
        .session(&new.access_token)
        .upstream(Method::GET, "/login/");
    let error = request.send().await.unwrap_err();
    assert_eq!(
        error.problem().unwrap().code.as_str(),
        "upstream_unreachable"
    );
    assert!(!error.outcome_is_unknown());
    eventually(Duration::from_secs(10), async || {
        service.events("Upstream unreachable").len() == 1
    })
    .await;
    let event = &service.events("Upstream unreachable")[0];
    assert_eq!(event["origin"], base_url.as_str().trim_end_matches('/'));
    let error = event["error"].as_str().unwrap();
    assert!(error.contains("invalid peer certificate"), "{error}");
    let advice = event["advice"].as_str().unwrap();
    assert!(advice.contains("upstream_tls_ca_file"), "{advice}");
}

#[tokio::test]
async fn service_with_a_gateway_but_without_allowed_base_hosts_exits_with_2() {
    let output = service::binary()
        .args(["serve", "--upstream-gateway", "true"])
        .output()
        .await
        .unwrap();
    assert_eq!(output.status.code(), Some(2));
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(
        error.contains("upstream_gateway requires allowed_base_hosts"),
        "{error}"
    );
}

#[rstest]
#[case::https_only("false", 2)]
#[case::sites_over_http("true", 0)]
#[tokio::test]
async fn gateway_without_certificate_authorities_requires_the_setting_upstream_allow_http(
    #[case] allows_http: &str,
    #[case] expected: i32,
) {
    let output = service::binary()
        .env("SSL_CERT_FILE", "/nowhere/ca.crt")
        .args(["check-config", "--upstream-gateway", "true"])
        .args(["--allowed-base-hosts", "golf.example"])
        .args(["--upstream-allow-http", allows_http])
        .output()
        .await
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(expected), "{error}");
    for text in [
        "this machine has no certificate authorities",
        "/nowhere/ca.crt",
    ] {
        assert_eq!(error.contains(text), expected == 2, "{error}");
    }
}

#[tokio::test]
async fn log_at_trace_level_contains_no_token_query_or_cookie_of_a_request_to_the_site() {
    let (redis, site) = (RedisProcess::start().await, CountingSite::start().await);
    let url = redis.url();
    let verbose = [
        "--redis-url",
        &url,
        "--log-level",
        "TRACE",
        "--access-log",
        "true",
    ];
    let service = service::start(&[GATEWAY_FLAGS.as_slice(), &verbose].concat()).await;
    let client = Client::new(service.base()).unwrap();
    let token = log_in(&client, &site).await;
    browse(&client, &token, "/book?slot=7&secret=querysecret").await;
    let session = client.session(&token).get().await.unwrap();
    let output = service.output();
    assert!(output.contains("Upstream request"), "{output}");
    for secret in [
        session.cookies.get("PHPSESSID").unwrap(),
        token.expose_secret(),
        "querysecret",
    ] {
        assert!(!output.contains(secret), "a secret is logged");
    }
}

#[tokio::test]
async fn gateway_ignores_the_proxy_environment_variables() {
    let answer = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    let (site, proxy) = (
        TestSite::answering(answer).await,
        TestSite::answering(answer).await,
    );
    let mut command = service::binary();
    for name in [
        "HTTP_PROXY",
        "http_proxy",
        "HTTPS_PROXY",
        "ALL_PROXY",
        "all_proxy",
    ] {
        command.env(name, proxy.url());
    }
    let service = Service::start(command, &GATEWAY_FLAGS).await;
    let token = token_for(&service, &site.url()).await;
    let request = service.request(Method::GET, "/v1/upstream/");
    let answer = request.bearer_auth(&token).send().await.unwrap();
    assert_eq!(answer.text().await.unwrap(), "ok");
    assert_eq!(site.seen().total(), 1);
    assert_eq!(proxy.seen().connections(), 0);
}
