//! Tests of answers that show that the user is no longer logged in.

use std::{io::Write, time::Duration};

use flate2::{Compression, write::GzEncoder};
use rstest::rstest;
use tee_session_upstream::{
    BodyError, ClientSettings, LoginSignal, LoginSignals,
    http::{HeaderMap, HeaderValue, Method, StatusCode, header::ACCEPT_ENCODING},
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::test_site::{TestSite, client, get, place, request, site_of, text};

const MARKER: &str = "<form id=\"login\">";

fn settings() -> ClientSettings {
    ClientSettings {
        login: LoginSignals {
            paths: vec!["/login".to_owned()],
            statuses: vec![StatusCode::UNAUTHORIZED],
            markers: vec!["no such text".to_owned(), MARKER.to_owned()],
        },
        ..ClientSettings::default()
    }
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

fn page(fields: &str, body: &[u8]) -> Vec<u8> {
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n{fields}Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body].concat()
}

fn chunked(parts: &[&[u8]]) -> Vec<u8> {
    let mut answer =
        b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nTransfer-Encoding: chunked\r\n\r\n"
            .to_vec();
    for part in parts {
        answer.extend_from_slice(format!("{:x}\r\n", part.len()).as_bytes());
        answer.extend_from_slice(part);
        answer.extend_from_slice(b"\r\n");
    }
    answer.extend_from_slice(b"0\r\n\r\n");
    answer
}

/// Yields to other tasks, so that a connection returns to the pool after its answer was read.
async fn settle() {
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn within(before: usize) -> Vec<u8> {
    [vec![b' '; before].as_slice(), MARKER.as_bytes()].concat()
}

#[rstest]
#[case::redirect(
    b"HTTP/1.1 302 Found\r\nLocation: /login?back=1\r\nContent-Length: 0\r\n\r\n".to_vec(),
    LoginSignal::LoginPath
)]
#[case::status(
    b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n".to_vec(),
    LoginSignal::Status
)]
#[case::marker(page("", &within(0)), LoginSignal::Marker)]
#[case::marker_at_the_end_of_64_kib(page("", &within(65_536 - MARKER.len())), LoginSignal::Marker)]
#[case::marker_in_two_chunks(
    chunked(&[b"<html>", &MARKER.as_bytes()[..5], &MARKER.as_bytes()[5..], b"</html>"]),
    LoginSignal::Marker
)]
#[case::gzip(page("Content-Encoding: gzip\r\n", &gzip(&within(1_000))), LoginSignal::Marker)]
#[case::gzip_of_a_long_page(
    page("Content-Encoding: gzip\r\n", &gzip(&[within(0), vec![b'x'; 1_000_000]].concat())),
    LoginSignal::Marker
)]
#[tokio::test]
async fn login_signal_is_detected(#[case] answer: Vec<u8>, #[case] expected: LoginSignal) {
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(settings()), &site_of(&server), "/book").await;
    assert_eq!(answer.unwrap().login_over, Some(expected));
    assert_eq!(server.seen().total(), 1);
}

#[rstest]
#[case::other_page(page("", b"<html>Welcome</html>"))]
#[case::marker_after_64_kib(page("", &within(65_536)))]
#[case::empty(page("", b""))]
#[case::gzip_after_64_kib(page("Content-Encoding: gzip\r\n", &gzip(&within(65_536))))]
#[case::gzip_bomb(page("Content-Encoding: gzip\r\n", &gzip(&vec![b' '; 10_000_000])))]
#[case::no_gzip(page("Content-Encoding: gzip\r\n", b"plain text"))]
#[case::long_page(page("", &vec![b'x'; 3_000_000]))]
#[case::chunks(chunked(&[&[b'x'; 40_000], &[b'y'; 40_000], &[b'z'; 40_000]]))]
#[tokio::test]
async fn page_without_a_login_marker_in_its_first_64_kib_is_passed_on_byte_for_byte(
    #[case] sent: Vec<u8>,
) {
    let server = TestSite::answering(sent.clone()).await;
    let (client, site) = (client(settings()), site_of(&server));
    for _ in 0..2 {
        let mut answer = get(&client, &site, "/book").await.unwrap();
        assert_eq!(answer.login_over, None);
        let mut body = Vec::new();
        while let Some(part) = answer.body.chunk().await {
            body.extend_from_slice(&part.unwrap());
        }
        if sent.windows(7).any(|bytes| bytes == b"chunked") {
            assert_eq!(body.len(), 120_000);
        } else {
            assert!(sent.ends_with(&body) && sent.len() - body.len() < 200);
        }
        settle().await;
    }
    // The connection is kept for the next request.
    assert_eq!(server.seen().connections(), 1);
}

#[rstest]
#[case::login_page(Method::GET, "/login", page("", &within(0)))]
#[case::head(Method::HEAD, "/book", page("", b""))]
#[case::json(
    Method::GET,
    "/book",
    [b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 17\r\n\r\n", MARKER.as_bytes(), b" "].concat()
)]
#[case::error_page(
    Method::GET,
    "/book",
    [b"HTTP/1.1 500 Oh\r\nContent-Type: text/html\r\nContent-Length: 16\r\n\r\n", MARKER.as_bytes()].concat()
)]
#[case::unreadable_coding(Method::GET, "/book", page("Content-Encoding: br\r\n", &within(0)))]
#[tokio::test]
async fn answer_that_is_not_searched_for_login_markers_is_passed_on(
    #[case] method: Method,
    #[case] target: &str,
    #[case] sent: Vec<u8>,
) {
    let server = TestSite::answering_once(sent).await;
    let site = site_of(&server);
    let request = request(method, target);
    let client = client(settings());
    let answer = client.send(&site, request, place(&site).await);
    assert_eq!(answer.await.unwrap().login_over, None);
}

#[rstest]
#[case::with_markers(settings(), "/book", "gzip;q=0.9")]
#[case::for_the_login_page(settings(), "/login", "br, gzip;q=0.9")]
#[case::without_markers(ClientSettings::default(), "/book", "br, gzip;q=0.9")]
#[tokio::test]
async fn accept_encoding_is_restricted_only_if_the_page_is_searched_for_markers(
    #[case] settings: ClientSettings,
    #[case] target: &str,
    #[case] expected: &str,
) {
    let server = TestSite::answering(page("", b"")).await;
    let site = site_of(&server);
    let mut fields = HeaderMap::new();
    fields.insert(ACCEPT_ENCODING, HeaderValue::from_static("br, gzip;q=0.9"));
    let request = request(Method::GET, target).with_fields(fields);
    let client = client(settings);
    let answer = client.send(&site, request, place(&site).await);
    answer.await.unwrap();
    let head = server.seen().last_head();
    assert!(
        head.contains(&format!("\r\nAccept-Encoding: {expected}\r\n")),
        "{head}"
    );
}

#[tokio::test]
async fn incomplete_page_that_was_searched_for_markers_is_passed_on_up_to_the_error() {
    let sent = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 99\r\n\r\n<html>";
    let server = TestSite::answering_once(sent).await;
    let answer = get(&client(settings()), &site_of(&server), "/book").await;
    let mut answer = answer.unwrap();
    assert_eq!(answer.body.chunk().await.unwrap().unwrap(), "<html>");
    let error = answer.body.chunk().await.unwrap().unwrap_err();
    assert!(matches!(error, BodyError::Broken(_)), "{error:?}");
    assert!(answer.body.chunk().await.is_none());
}

#[tokio::test]
async fn page_that_stalls_during_the_marker_search_is_passed_on_up_to_the_timeout_error() {
    let server = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let head = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n\r\n<html>";
        let _ = stream.write_all(head).await;
        let _ = stream.read_u8().await;
    })
    .await;
    let settings = ClientSettings {
        stall_timeout: Duration::from_millis(100),
        ..settings()
    };
    let answer = get(&client(settings), &site_of(&server), "/book").await;
    let mut answer = answer.unwrap();
    assert_eq!(answer.login_over, None);
    assert_eq!(answer.body.chunk().await.unwrap().unwrap(), "<html>");
    let error = text(answer).await.unwrap_err();
    assert!(matches!(error, BodyError::Stalled), "{error:?}");
}
