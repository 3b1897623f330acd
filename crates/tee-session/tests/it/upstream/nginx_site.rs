//! Tests with nginx as the site: body limits, closed connections, gzip and ranges.

use std::{fs, path::Path, time::Duration};

use reqwest::{Method, Response, StatusCode, header::HeaderMap};
use rstest::rstest;
use tee_session_test_support::{eventually, free_port};
use tempfile::TempDir;
use tokio::{process::Child, time::sleep};

use super::{GATEWAY_FLAGS, nginx_process, token_for};
use crate::service::{self, Service};

const LOGGED_WITHIN: Duration = Duration::from_secs(20);

const CONFIGURATION: &str = "
daemon off;
master_process off;
pid @DIRECTORY@/nginx.pid;
error_log stderr;
events {}
http {
    access_log @DIRECTORY@/access.log;
    client_body_temp_path @DIRECTORY@/body;
    proxy_temp_path @DIRECTORY@/proxy;
    fastcgi_temp_path @DIRECTORY@/fastcgi;
    uwsgi_temp_path @DIRECTORY@/uwsgi;
    scgi_temp_path @DIRECTORY@/scgi;
    server {
        listen 127.0.0.1:@PORT@;
        root @DIRECTORY@/pages;
        default_type text/plain;
        if_modified_since before;
        gzip on;
        gzip_types text/plain;
        client_max_body_size 1k;
        keepalive_timeout @KEEPALIVE@;
    }
}
";

struct NginxSite {
    port: u16,
    directory: TempDir,
    _nginx: Child,
}

impl NginxSite {
    /// Starts nginx. nginx closes a connection that has been idle for the time `keepalive`.
    async fn start(keepalive: &str) -> Self {
        let (directory, port) = (tempfile::tempdir().unwrap(), free_port());
        let pages = directory.path().join("pages");
        fs::create_dir(&pages).unwrap();
        fs::write(pages.join("times"), "08:00 free, 08:10 free\n".repeat(100)).unwrap();
        let text = CONFIGURATION
            .replace("@DIRECTORY@", directory.path().to_str().unwrap())
            .replace("@PORT@", &port.to_string())
            .replace("@KEEPALIVE@", keepalive);
        let nginx = nginx_process::start(directory.path(), port, &text).await;
        Self {
            port,
            directory,
            _nginx: nginx,
        }
    }

    fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Waits until nginx has logged at least `expected` requests, and asserts that it has not
    /// logged more. nginx logs a request after it has sent the response.
    async fn until_requests(&self, expected: usize) {
        let logged = || {
            let log = fs::read_to_string(Path::new(self.directory.path()).join("access.log"));
            log.unwrap_or_default().lines().count()
        };
        eventually(LOGGED_WITHIN, async || logged() >= expected).await;
        assert_eq!(logged(), expected);
    }
}

async fn start(site: &NginxSite) -> (Service, String) {
    let service = service::start(&GATEWAY_FLAGS).await;
    let token = token_for(&service, &site.url()).await;
    (service, token)
}

async fn get(service: &Service, token: &str, fields: &[(&'static str, &str)]) -> Response {
    let mut call = service.request(Method::GET, "/v1/upstream/times");
    for (name, value) in fields {
        call = call.header(*name, *value);
    }
    call.bearer_auth(token).send().await.unwrap()
}

/// The site (nginx) sends the answer 413 when it has received the request head, and closes the
/// connection while the request body is still being sent. The gateway must pass this answer on.
#[tokio::test]
async fn answer_413_that_arrives_during_the_upload_is_passed_on() {
    let site = NginxSite::start("75s").await;
    let (service, token) = start(&site).await;
    for size in [1_025, 64 * 1_024, 1_024 * 1_024].repeat(10) {
        let call = service.request(Method::POST, "/v1/upstream/times");
        let call = call.bearer_auth(&token).body(vec![b'x'; size]);
        let response = call.send().await.unwrap();
        assert_eq!(response.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(response.headers()["via"], "1.1 tee-session");
        let page = response.text().await.unwrap();
        assert!(page.contains("413 Request Entity Too Large"), "{page}");
    }
    site.until_requests(30).await;
}

#[rstest]
#[case::not_kept("0", &[0, 0, 0, 0, 0])]
#[case::kept_for_one_second("1s", &[0, 0, 1_200, 0, 1_200, 0])]
#[tokio::test]
async fn each_request_is_answered_although_nginx_closes_idle_connections(
    #[case] keepalive: &str,
    #[case] pauses: &[u64],
) {
    let site = NginxSite::start(keepalive).await;
    let (service, token) = start(&site).await;
    for pause in pauses {
        sleep(Duration::from_millis(*pause)).await;
        let response = get(&service, &token, &[]).await;
        assert_eq!(response.status(), StatusCode::OK);
        assert!(response.text().await.unwrap().starts_with("08:00 free"));
    }
    site.until_requests(pauses.len()).await;
}

/// Returns the header fields that the gateway must not change.
fn kept(fields: &HeaderMap) -> Vec<Option<String>> {
    let names = [
        "content-encoding",
        "content-length",
        "content-range",
        "content-type",
        "accept-ranges",
        "etag",
        "last-modified",
        "vary",
    ];
    let values = names.iter().map(|name| fields.get(*name));
    let text = |value: &reqwest::header::HeaderValue| value.to_str().unwrap().to_owned();
    values.map(|value| value.map(text)).collect()
}

#[rstest]
#[case::gzip(&[("accept-encoding", "gzip")], 200)]
#[case::identity(&[], 200)]
#[case::range(&[("range", "bytes=10-19")], 206)]
#[case::several_ranges(&[("range", "bytes=0-4,10-14")], 206)]
#[case::range_that_does_not_exist(&[("range", "bytes=9000000-")], 416)]
#[case::condition(&[("if-modified-since", "Fri, 01 Jan 2100 00:00:00 GMT")], 304)]
#[tokio::test]
async fn content_encoding_and_ranges_of_answers_are_passed_on_unchanged(
    #[case] fields: &[(&'static str, &str)],
    #[case] status: u16,
) {
    let site = NginxSite::start("75s").await;
    let (service, token) = start(&site).await;
    let mut direct = service.client.get(format!("{}/times", site.url()));
    for (name, value) in fields {
        direct = direct.header(*name, *value);
    }
    let direct = direct.send().await.unwrap();
    let through = get(&service, &token, fields).await;
    assert_eq!(
        (direct.status(), through.status().as_u16()),
        (through.status(), status)
    );
    let fields_direct = kept(direct.headers());
    let is_gzip = fields_direct[0].as_deref() == Some("gzip");
    assert_eq!(is_gzip, fields == [("accept-encoding", "gzip")]);
    // nginx chooses another boundary for each answer with several ranges.
    let has_parts = fields_direct[3]
        .as_deref()
        .is_some_and(|kind| kind.starts_with("multipart/"));
    if has_parts {
        assert_eq!(direct.content_length(), through.content_length());
    } else {
        assert_eq!(fields_direct, kept(through.headers()));
        assert_eq!(
            direct.bytes().await.unwrap(),
            through.bytes().await.unwrap()
        );
    }
}
