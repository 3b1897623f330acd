//! Tests that no request is sent twice, and that a request with the outcome `not_sent` was never
//! sent.

use std::{
    sync::atomic::{AtomicUsize, Ordering},
    time::Duration,
};

use rstest::rstest;
use tee_session_upstream::{ClientSettings, Outcome, UpstreamError, http::Method};
use tokio::{
    io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader},
    time::{sleep, timeout},
};

use crate::{
    test_site::{OK, Seen, TestSite, client, eventually, get, place, request, site_of, text},
    tls,
};

/// Number of requests in a race test. The site may close the connection of each request at any
/// time.
const RACES: usize = 10_000;

/// Number of requests in a race test over TLS. This number is lower, because TLS connections take
/// longer.
const TLS_RACES: usize = 1_000;

/// In a race test over TLS, the site closes one in `WITHOUT_HANDSHAKE` connections before the TLS
/// handshake. The request for which such a connection was opened is never sent.
const WITHOUT_HANDSHAKE: usize = 8;

/// In a race test, the site leaves on average one in `WITHOUT_ANSWER` requests without an answer.
/// The site reads such a request in full, and then closes the connection.
const WITHOUT_ANSWER: u64 = 32;

/// Simple pseudo-random number generator. The field is its state, which begins with the seed.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end
    }
}

/// Answers requests on a connection. Before three of four requests, waits for a random time below
/// 400 µs, and closes the connection if no request arrives. Before one of four requests, waits for
/// a minute, so that connections are also reused on a busy machine. Leaves some requests without an
/// answer.
async fn close_at_random(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    seed: u16,
    seen: std::sync::Arc<Seen>,
) {
    let mut stream = BufReader::new(stream);
    let mut random = Random(u64::from(seed));
    loop {
        let patience = if random.below(4) == 0 {
            Duration::from_secs(60)
        } else {
            Duration::from_micros(random.below(400))
        };
        // `fill_buf` leaves the bytes in the buffer, so no request is cut in the middle.
        match timeout(patience, stream.fill_buf()).await {
            Ok(Ok(bytes)) if !bytes.is_empty() => {}
            _ => return,
        }
        if seen.read_request(&mut stream).await.is_none() {
            return;
        }
        if random.below(WITHOUT_ANSWER) == 0 {
            return;
        }
        if stream.write_all(OK.as_bytes()).await.is_err() {
            return;
        }
    }
}

#[rstest]
#[case::one_thread(1, false)]
#[case::two_threads(2, false)]
#[case::tls(2, true)]
fn site_that_closes_idle_connections_gets_each_request_at_most_once(
    #[case] threads: usize,
    #[case] is_tls: bool,
) {
    let races = if is_tls { TLS_RACES } else { RACES };
    let mut runtime = if threads == 1 {
        tokio::runtime::Builder::new_current_thread()
    } else {
        tokio::runtime::Builder::new_multi_thread()
    };
    let runtime = runtime
        .worker_threads(threads)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let (acceptor, certificate) = tls::acceptor(&["golf.example"]);
        let acceptor = Some(acceptor).filter(|_| is_tls);
        let connections = AtomicUsize::new(0);
        let server = TestSite::start(move |stream, seen| {
            let number = connections.fetch_add(1, Ordering::Relaxed);
            let acceptor = acceptor.clone();
            async move {
                let seed = stream.peer_addr().unwrap().port();
                match acceptor {
                    None => close_at_random(stream, seed, seen).await,
                    Some(_) if number % WITHOUT_HANDSHAKE == 1 => {}
                    Some(acceptor) => {
                        if let Ok(stream) = acceptor.accept(stream).await {
                            close_at_random(stream, seed, seen).await;
                        }
                    }
                }
            }
        })
        .await;
        let settings = ClientSettings::default();
        let (client, site) = if is_tls {
            let client = tls::client(Some(certificate), settings);
            (client, tls::site(&server, "golf.example"))
        } else {
            (client(settings), site_of(&server))
        };
        let mut random = Random(threads as u64);
        let mut results = Vec::new();
        for index in 0..races {
            let target = format!("/book/{index}");
            let result = match get(&client, &site, &target).await {
                Ok(answer) => text(answer).await.map(|_| ()).map_err(|_| Outcome::Unknown),
                Err(error) => Err(error.outcome()),
            };
            results.push((target, result));
            for _ in 0..random.below(4) {
                tokio::task::yield_now().await;
            }
            if random.below(3) == 0 {
                let end = std::time::Instant::now() + Duration::from_micros(random.below(400));
                while std::time::Instant::now() < end {
                    tokio::task::yield_now().await;
                }
            }
        }
        let count = |expected: Result<(), Outcome>| {
            let results = results.iter().map(|(_, result)| result);
            results.filter(|result| **result == expected).count()
        };
        let (answered, not_sent) = (count(Ok(())), count(Err(Outcome::NotSent)));
        let mut unanswered = 0;
        for (target, result) in &results {
            let received = server.seen().requests(target);
            match result {
                Ok(()) => assert_eq!(received, 1, "{target}"),
                Err(Outcome::NotSent) => assert_eq!(received, 0, "{target}"),
                Err(Outcome::Unknown) => {
                    assert!(received <= 1, "{target}");
                    unanswered += received;
                }
            }
        }
        assert!(unanswered > 0, "the site answered every request");
        // Checks that the race took place: some idle connections were closed, and others were
        // reused. A request without an answer also ends its connection, and so does a request that
        // was not sent.
        let connections = server.seen().connections();
        let closed = connections.saturating_sub(unanswered + not_sent);
        assert!(
            closed > races / 100,
            "{closed} of {connections} connections"
        );
        assert!(answered > races / 4, "{answered} answers");
        assert!(!is_tls || not_sent > 0, "every request was sent");
        assert!(
            connections < answered,
            "{connections} connections, {answered} answers"
        );
    });
}

#[derive(Debug, Clone, Copy)]
enum Cut {
    BeforeTheRequest,
    WithinTheBody,
    AfterTheRequest,
    WithinTheHead,
}

#[rstest]
#[case(Cut::BeforeTheRequest, 0)]
#[case(Cut::WithinTheBody, 1)]
#[case(Cut::AfterTheRequest, 1)]
#[case(Cut::WithinTheHead, 1)]
#[tokio::test]
async fn request_whose_connection_is_cut_is_sent_at_most_once(
    #[case] cut: Cut,
    #[case] most: usize,
    #[values("GET", "POST", "PUT", "DELETE")] method: &str,
) {
    let server = TestSite::start(move |mut stream, seen| async move {
        match cut {
            Cut::BeforeTheRequest => {}
            Cut::WithinTheBody => {
                seen.read_head(&mut stream).await;
            }
            Cut::AfterTheRequest => {
                seen.read_request(&mut stream).await;
            }
            Cut::WithinTheHead => {
                seen.read_request(&mut stream).await;
                let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-").await;
            }
        }
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    let method: Method = method.parse().unwrap();
    let request = request(method, "/book").with_body(vec![b'x'; 100_000].into());
    let error = client
        .send(&site, request, place(&site).await)
        .await
        .unwrap_err()
        .error;
    if error.outcome() == Outcome::NotSent {
        assert_eq!(server.seen().total(), 0);
    }
    assert!(server.seen().total() <= most);
    assert_eq!(
        server.seen().connections(),
        1,
        "no second connection was made"
    );
}

#[rstest]
#[tokio::test]
async fn request_whose_reused_connection_is_cut_is_sent_exactly_once(
    #[values("GET", "POST")] method: &str,
) {
    // The connection becomes ready for the next request in the background, so it may be reused only
    // at a later attempt.
    for _ in 0..100 {
        let server = TestSite::start(|mut stream, seen| async move {
            while seen.read_request(&mut stream).await.is_some() && seen.requests("/book") == 0 {
                let _ = stream.write_all(OK.as_bytes()).await;
            }
        })
        .await;
        let (client, site) = (client(ClientSettings::default()), site_of(&server));
        text(get(&client, &site, "/").await.unwrap()).await.unwrap();
        tokio::task::yield_now().await;
        let request = request(method.parse().unwrap(), "/book").with_body("slot=7".into());
        let place = place(&site).await;
        let failed = client.send(&site, request, place).await.unwrap_err();
        assert_eq!(failed.error.outcome(), Outcome::Unknown);
        assert_eq!(server.seen().requests("/book"), 1);
        if server.seen().connections() == 1 {
            return;
        }
    }
    panic!("no connection was reused");
}

#[tokio::test]
async fn answer_after_the_timeout_returns_an_unknown_outcome_and_closes_the_connection() {
    let server = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        // The client closes its connection.
        let _ = stream.read_u8().await;
        let _ = seen.read_request(&mut stream).await;
    })
    .await;
    let settings = ClientSettings {
        response_timeout: Duration::from_millis(50),
        ..ClientSettings::default()
    };
    let (client, site) = (client(settings), site_of(&server));
    let error = get(&client, &site, "/book").await.unwrap_err();
    assert!(matches!(error, UpstreamError::ResponseTimeout), "{error:?}");
    assert_eq!(error.outcome().as_str(), "unknown");
    assert_eq!(server.seen().total(), 1);
}

#[tokio::test]
async fn refused_connection_returns_unreachable_with_outcome_not_sent() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let site = tee_session_upstream::Site::of_url(&format!("http://{address}")).unwrap();
    let error = get(&client(ClientSettings::default()), &site, "/")
        .await
        .unwrap_err();
    assert!(matches!(error, UpstreamError::Unreachable(_)), "{error:?}");
    assert_eq!(error.outcome().as_str(), "not_sent");
}

// The first request leaves an idle connection, and the site closes this connection without notice.
// The second request is sent either on this connection or on a new connection, but not on both.
#[tokio::test]
async fn request_is_sent_on_a_new_connection_if_the_site_has_closed_the_idle_connection() {
    let server = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        let _ = stream.write_all(OK.as_bytes()).await;
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    for index in 0..20 {
        let answer = get(&client, &site, &format!("/{index}")).await.unwrap();
        assert_eq!(text(answer).await.unwrap(), "ok");
        // Waits until the close has arrived at the client.
        sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(server.seen().total(), 20);
    assert_eq!(server.seen().connections(), 20);
}

#[rstest]
#[case::closed_in_order(false)]
#[case::reset(true)]
#[tokio::test]
async fn answer_that_arrives_before_the_whole_request_body_was_sent_is_passed_on(
    #[case] resets: bool,
) {
    let server = TestSite::start(move |mut stream, seen| async move {
        seen.read_head(&mut stream).await;
        let answer = "HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\nConnection: close\r\n\r\nbig";
        stream.write_all(answer.as_bytes()).await.unwrap();
        if !resets {
            let _ = stream.shutdown().await;
            let mut rest = Vec::new();
            let _ = stream.read_to_end(&mut rest).await;
        }
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    let body = vec![b'x'; 8 * 1_024 * 1_024];
    let request = request(Method::POST, "/upload").with_body(body.into());
    let answer = client
        .send(&site, request, place(&site).await)
        .await
        .unwrap();
    assert_eq!(answer.status, 413);
    assert_eq!(text(answer).await.unwrap(), "big");
    assert_eq!(server.seen().total(), 1);
}

#[tokio::test]
async fn cancelled_request_closes_its_connection() {
    let server = TestSite::start(|mut stream, seen| async move {
        seen.read_request(&mut stream).await;
        // When the client has closed the connection, the close is recorded as a request for
        // `/closed`.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
        seen.read_head(&mut &b"GET /closed HTTP/1.1\r\n\r\n"[..])
            .await;
    })
    .await;
    let (client, site) = (client(ClientSettings::default()), site_of(&server));
    let waiting = timeout(Duration::from_millis(50), get(&client, &site, "/slow")).await;
    assert!(waiting.is_err());
    eventually(|| server.seen().requests("/closed") == 1).await;
}
