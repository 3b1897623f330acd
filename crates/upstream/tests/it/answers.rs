//! Tests of answers in all forms of HTTP/1.

use rstest::rstest;
use tee_session_upstream::{
    BodyError, ClientSettings, FailedReason, Outcome, UpstreamError,
    http::{HeaderMap, Method, header},
};

use crate::test_site::{TestSite, client, get, place, request, site_of, text};

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello")]
#[case::chunked(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\n\r\n",
    "hello"
)]
#[case::trailers(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-End: 1\r\n\r\n",
    "hello"
)]
#[case::until_close("HTTP/1.1 200 OK\r\n\r\nhello", "hello")]
#[case::http_1_0("HTTP/1.0 200 OK\r\nContent-Type: text/html\r\n\r\nhello", "hello")]
#[case::bare_line_feeds("HTTP/1.1 200 OK\nContent-Length: 5\n\nhello", "hello")]
#[case::chunked_wins_over_length(
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "hello"
)]
#[case::same_length_twice(
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
    "hello"
)]
#[case::after_continue(
    "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "hello"
)]
#[case::after_early_hints(
    "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "hello"
)]
#[case::after_processing_twice(
    "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "hello"
)]
#[case::empty("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "")]
#[case::without_reason("HTTP/1.1 200\r\nContent-Length: 5\r\n\r\nhello", "hello")]
#[tokio::test]
async fn body_is_passed_on_for_every_kind_of_framing(
    #[case] answer: &'static str,
    #[case] body: &str,
) {
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(ClientSettings::default()), &site_of(&server), "/")
        .await
        .unwrap();
    assert_eq!(answer.status, 200);
    for name in [
        "content-length",
        "transfer-encoding",
        "trailer",
        "x-end",
        "link",
    ] {
        assert!(!answer.fields.contains_key(name), "{name}");
    }
    assert_eq!(text(answer).await.unwrap(), body);
    assert_eq!(server.seen().total(), 1);
}

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", Some(5))]
#[case::chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", None)]
#[case::both(
    "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    None
)]
#[tokio::test]
async fn body_length_is_the_content_length_and_is_unknown_for_a_chunked_body(
    #[case] answer: &'static str,
    #[case] expected: Option<u64>,
) {
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(ClientSettings::default()), &site_of(&server), "/")
        .await
        .unwrap();
    assert_eq!(answer.body.len(), expected);
}

#[rstest]
#[case::no_http("SSH-2.0-OpenSSH_9.2\r\n\r\n")]
#[case::http_0_9("<html></html>")]
#[case::only_a_status_line("HTTP/1.1 200 OK\r\n")]
#[case::nothing("")]
#[case::status_of_two_digits("HTTP/1.1 20 OK\r\n\r\n")]
#[case::other_version("HTTP/2.0 200 OK\r\n\r\n")]
#[case::folded_field("HTTP/1.1 200 OK\r\nX-A: 1\r\n 2\r\nContent-Length: 0\r\n\r\n")]
#[case::space_before_colon("HTTP/1.1 200 OK\r\nX-A : 1\r\nContent-Length: 0\r\n\r\n")]
#[case::nul_in_a_field("HTTP/1.1 200 OK\r\nX-A: \0\r\nContent-Length: 0\r\n\r\n")]
#[case::different_lengths("HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nhello")]
#[case::negative_length("HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello")]
#[case::chunked_in_http_1_0("HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n")]
#[case::another_coding("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n")]
#[case::coding_without_chunked("HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nx")]
#[case::only_interim("HTTP/1.1 100 Continue\r\n\r\n")]
#[case::protocol_change(
    "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n"
)]
#[tokio::test]
async fn answer_that_cannot_be_passed_on_returns_an_unknown_outcome(#[case] answer: &'static str) {
    let server = TestSite::answering_once(answer).await;
    let result = get(&client(ClientSettings::default()), &site_of(&server), "/").await;
    let error = result.unwrap_err();
    assert!(matches!(error, UpstreamError::Failed(_)), "{error:?}");
    assert_eq!(error.outcome(), Outcome::Unknown);
    assert_eq!(server.seen().total(), 1);
}

#[rstest]
#[case::fields(format!("HTTP/1.1 200 OK\r\n{}\r\n", "X-A: 1\r\n".repeat(101)))]
#[case::size(format!("HTTP/1.1 200 OK\r\nX-A: {}\r\n\r\n", "x".repeat(65 * 1_024)))]
#[case::interim_responses("HTTP/1.1 102 Processing\r\n\r\n".repeat(50_000))]
#[case::interim_response_without_end(format!("HTTP/1.1 102 P\r\n{}", "X-A: 1\r\n".repeat(50_000)))]
#[tokio::test]
async fn answer_head_over_the_limits_is_rejected(#[case] answer: String) {
    let server = TestSite::answering_once(answer).await;
    let result = get(&client(ClientSettings::default()), &site_of(&server), "/").await;
    let error = result.unwrap_err();
    assert!(
        matches!(error, UpstreamError::Failed(FailedReason::Head(_))),
        "{error:?}"
    );
}

#[tokio::test]
async fn answer_head_just_below_the_limits_is_accepted() {
    let fields = "X-A: 1\r\n".repeat(98);
    let long = "x".repeat(60 * 1_024);
    let answer = format!("HTTP/1.1 200 OK\r\n{fields}X-B: {long}\r\nContent-Length: 0\r\n\r\n");
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(ClientSettings::default()), &site_of(&server), "/")
        .await
        .unwrap();
    assert_eq!(answer.fields["x-b"].len(), long.len());
}

#[rstest]
#[case::length("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")]
#[case::chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nhello")]
#[case::no_last_chunk("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")]
#[case::chunk_size("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nxyz\r\nhello\r\n")]
#[tokio::test]
async fn incomplete_body_returns_an_error(#[case] answer: &'static str) {
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(ClientSettings::default()), &site_of(&server), "/")
        .await
        .unwrap();
    let error = text(answer).await.unwrap_err();
    assert!(matches!(error, BodyError::Broken(_)), "{error:?}");
}

#[rstest]
#[case::announced("HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nhello world", true)]
#[case::not_announced(
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nb\r\nhello world\r\n0\r\n\r\n",
    false
)]
#[tokio::test]
async fn answer_longer_than_the_limit_returns_an_error(
    #[case] answer: &'static str,
    #[case] is_announced: bool,
) {
    let server = TestSite::answering_once(answer).await;
    let settings = ClientSettings {
        max_response_bytes: Some(10),
        ..ClientSettings::default()
    };
    let result = get(&client(settings), &site_of(&server), "/").await;
    if is_announced {
        let error = result.unwrap_err();
        assert!(
            matches!(
                error,
                UpstreamError::Failed(FailedReason::TooLong { limit: 10 })
            ),
            "{error:?}"
        );
    } else {
        let error = text(result.unwrap()).await.unwrap_err();
        assert!(
            matches!(error, BodyError::TooLong { limit: 10 }),
            "{error:?}"
        );
    }
}

#[tokio::test]
async fn stalled_body_returns_an_error() {
    let server = TestSite::start(|mut stream, seen| async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        seen.read_request(&mut stream).await;
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello")
            .await;
        let _ = stream.read_u8().await;
    })
    .await;
    let settings = ClientSettings {
        stall_timeout: std::time::Duration::from_millis(50),
        ..ClientSettings::default()
    };
    let answer = get(&client(settings), &site_of(&server), "/")
        .await
        .unwrap();
    let error = text(answer).await.unwrap_err();
    assert!(matches!(error, BodyError::Stalled), "{error:?}");
}

// Some applications send a body with an answer that must not have a body in HTTP. The bytes of this
// body must not count as the answer to the next request, which may belong to another session.
#[rstest]
#[case::head("HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")]
#[case::head_chunked(
    "HEAD",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
)]
#[case::no_content("GET", "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\nhello")]
#[case::no_content_unannounced(
    "GET",
    "HTTP/1.1 204 No Content\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
)]
#[case::not_modified("GET", "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\nhello")]
#[case::more_than_announced(
    "GET",
    "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
)]
#[tokio::test]
async fn unexpected_body_bytes_are_not_part_of_the_next_answer(
    #[case] method: &str,
    #[case] answer: &'static str,
) {
    let server = TestSite::answering(answer).await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    for _ in 0..3 {
        let request = request(method.parse().unwrap(), "/");
        let answer = client
            .send(&site, request, place(&site).await)
            .await
            .unwrap();
        assert_eq!(text(answer).await.unwrap(), "");
    }
    assert_eq!(server.seen().connections(), 3);
}

#[rstest]
#[case::head(Method::HEAD, "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", Some(5))]
#[case::not_modified(
    Method::GET,
    "HTTP/1.1 304 Not Modified\r\nContent-Length: 5\r\n\r\n",
    Some(5)
)]
#[case::no_content(
    Method::GET,
    "HTTP/1.1 204 No Content\r\nContent-Length: 5\r\n\r\n",
    None
)]
#[case::get(Method::GET, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", None)]
#[tokio::test]
async fn announced_length_is_returned_only_for_answers_to_head_and_with_status_304(
    #[case] method: Method,
    #[case] answer: &'static str,
    #[case] expected: Option<u64>,
) {
    let server = TestSite::answering_once(answer).await;
    let site = site_of(&server);
    let answer = client(ClientSettings::default())
        .send(&site, request(method, "/"), place(&site).await)
        .await
        .unwrap();
    assert_eq!(answer.announced_length, expected);
}

#[tokio::test]
async fn set_cookie_lines_are_returned_separately_from_other_header_fields() {
    let answer = "HTTP/1.1 302 Found\r\nSet-Cookie: a=1; Path=/\r\nSet-Cookie: b=caf\u{e9}\r\n\
                  Location: /next\r\nContent-Length: 0\r\n\r\n";
    let server = TestSite::answering_once(answer).await;
    let answer = get(&client(ClientSettings::default()), &site_of(&server), "/")
        .await
        .unwrap();
    assert_eq!(answer.set_cookie.len(), 2);
    assert_eq!(answer.set_cookie[0], "a=1; Path=/");
    assert!(!answer.fields.contains_key(header::SET_COOKIE));
    assert_eq!(answer.fields[header::LOCATION], "/v1/upstream/next");
    assert!(!format!("{answer:?}").contains("a=1"));
}

#[rstest]
#[case::too_long("200 OK", "Content-Length: 11")]
#[case::another_coding("200 OK", "Transfer-Encoding: gzip, chunked")]
#[case::protocol_change("101 Switching Protocols", "Connection: upgrade\r\nUpgrade: x")]
#[tokio::test]
async fn cookies_of_an_answer_that_cannot_be_passed_on_are_in_the_error(
    #[case] status: &str,
    #[case] field: &str,
) {
    let date = "Sun, 06 Nov 1994 08:49:37 GMT";
    let answer = format!(
        "HTTP/1.1 {status}\r\nSet-Cookie: a=1\r\nDate: {date}\r\nSet-Cookie: b=2\r\n{field}\r\n\r\n"
    );
    let server = TestSite::answering_once(answer).await;
    let settings = ClientSettings {
        max_response_bytes: Some(10),
        ..ClientSettings::default()
    };
    let site = site_of(&server);
    let failed = client(settings)
        .send(&site, request(Method::GET, "/"), place(&site).await)
        .await
        .unwrap_err();
    assert_eq!(failed.error.outcome(), Outcome::Unknown);
    assert_eq!(failed.to_string(), failed.error.to_string());
    assert!(!format!("{failed:?}").contains("a=1"));
    let refused = failed.refused.unwrap();
    assert_eq!(refused.set_cookie, ["a=1", "b=2"]);
    assert_eq!(refused.date.unwrap(), date);
}

#[tokio::test]
async fn request_target_is_sent_unchanged_and_header_names_in_title_case() {
    let server = TestSite::answering_once("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").await;
    let site = site_of(&server);
    let target = "//a%2Fb/@x/:1?q=%3F&r=[1]\\|^`{}";
    let mut fields = HeaderMap::new();
    fields.insert("x-requested-with", "XMLHttpRequest".parse().unwrap());
    fields.insert("user-agent", "Mozilla/5.0".parse().unwrap());
    let request = request(Method::POST, target)
        .with_fields(fields)
        .with_cookie(Some("a=1; b=2".to_owned().into()))
        .with_body("x=1".into());
    let client = client(ClientSettings::default());
    client
        .send(&site, request, place(&site).await)
        .await
        .unwrap();
    let head = server.seen().last_head();
    assert!(
        head.starts_with(&format!("POST {target} HTTP/1.1\r\n")),
        "{head}"
    );
    let mut lines: Vec<_> = head
        .lines()
        .skip(1)
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort_unstable();
    let host = format!("Host: {}", server.address());
    let expected = [
        "Content-Length: 3",
        "Cookie: a=1; b=2",
        &host,
        "User-Agent: Mozilla/5.0",
        "X-Requested-With: XMLHttpRequest",
    ];
    assert_eq!(lines, expected);
}
