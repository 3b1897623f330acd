//! Tests of several requests on one connection, and of the end of a connection (RFC 9112, sections
//! 9.3 to 9.6). Redis replies slowly, so that the next requests arrive while a request is handled.

use std::time::Duration;

use rstest::rstest;
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
    time::{sleep, timeout},
};

use crate::test_app::{Store, TestApp, build_valid_body};

/// Delay of each reply of Redis in the tests of pipelined requests.
const DELAY: Duration = Duration::from_millis(50);

/// Maximum time until all responses on a connection have arrived.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

const LIVE: &str = "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n";

const GARBAGE: &str = "nonsense\r\n\r\n";

struct SlowApp {
    app: TestApp,
    token: String,
    _proxy: FaultProxy,
    _redis: RedisProcess,
}

impl SlowApp {
    async fn spawn() -> Self {
        let redis = RedisProcess::start().await;
        let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
        let settings = RedisSettings::new(&format!("redis://{}", proxy.address())).unwrap();
        let app = TestApp::builder()
            .spawn_with_redis(settings.with_command_timeout(Duration::from_secs(5)));
        app.until_ready().await;
        let token = app.log_in().await;
        proxy.set(Fault::Delay(DELAY));
        Self {
            app,
            token,
            _proxy: proxy,
            _redis: redis,
        }
    }

    /// Returns the text of a request for the session. `request` is the method, such as `GET`, or
    /// the method with a header field, such as `GET Connection: close`.
    fn session(&self, request: &str) -> String {
        let (method, field) = request.split_once(' ').unwrap_or((request, ""));
        let field = if field.is_empty() {
            String::new()
        } else {
            format!("{field}\r\n")
        };
        format!(
            "{method} /v1/session HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n{field}\r\n",
            self.token
        )
    }

    /// Sends `requests` at once on a new connection.
    async fn send(&self, requests: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.app.address).await.unwrap();
        stream.write_all(requests.as_bytes()).await.unwrap();
        stream
    }
}

/// Returns a request that creates a session, with a body of known length or a chunked body.
fn login(is_chunked: bool) -> String {
    let body = build_valid_body().to_string();
    let (field, body) = if is_chunked {
        let body = format!("{:x}\r\n{body}\r\n0\r\n\r\n", body.len());
        ("Transfer-Encoding: chunked".to_owned(), body)
    } else {
        (format!("Content-Length: {}", body.len()), body)
    };
    format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         {field}\r\n\r\n{body}"
    )
}

/// A parsed HTTP response.
#[derive(Debug)]
struct Answer {
    status: u16,
    closes: bool,
    body: String,
}

/// Reads the responses to requests with the methods `methods`, in this order. Then reads all
/// further bytes until the server closes the connection, unless `stays_open` is `true`.
async fn read_answers(
    stream: &mut TcpStream,
    methods: &[&str],
    stays_open: bool,
) -> (Vec<Answer>, String) {
    let mut received = Vec::new();
    let mut answers = Vec::new();
    let reading = async {
        for method in methods {
            loop {
                if let Some((answer, length)) = parse(&received, method) {
                    received.drain(..length);
                    answers.push(answer);
                    break;
                }
                if stream.read_buf(&mut received).await.unwrap() == 0 {
                    return;
                }
            }
        }
        if !stays_open {
            stream.read_to_end(&mut received).await.unwrap();
        }
    };
    let read = timeout(READ_TIMEOUT, reading).await;
    read.unwrap_or_else(|_| panic!("{answers:?}"));
    let rest = String::from_utf8_lossy(&received).into_owned();
    (answers, rest)
}

fn parse(received: &[u8], method: &str) -> Option<(Answer, usize)> {
    let text = str::from_utf8(received).unwrap();
    let (head, rest) = text.split_once("\r\n\r\n")?;
    let field = |name: &str| {
        let mut lines = head.lines().filter_map(|line| line.split_once(": "));
        lines.find_map(|(field, value)| (field == name).then_some(value))
    };
    let length = match (method, field("content-length")) {
        ("HEAD", _) | (_, None) => 0,
        (_, Some(length)) => length.parse().unwrap(),
    };
    let body = rest.get(..length)?.to_owned();
    let answer = Answer {
        status: head.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().unwrap(),
        closes: field("connection") == Some("close"),
        body,
    };
    Some((answer, head.len() + 4 + length))
}

/// Sends all requests at once on one connection. The responses must arrive in the order of the
/// requests: a response to `GET` contains the session, and a response to `HEAD` has no body.
#[rstest]
#[case::get_and_head(&["GET", "HEAD"])]
#[case::head_and_get(&["HEAD", "GET"])]
#[case::many(&["GET", "HEAD", "GET", "GET", "HEAD", "HEAD", "GET"])]
#[case::more_than_the_framework_queues(&["GET"; 40])]
#[tokio::test]
async fn pipelined_requests_get_their_own_responses_in_order(#[case] methods: &[&str]) {
    let slow = SlowApp::spawn().await;
    let requests: String = methods.iter().map(|method| slow.session(method)).collect();
    let mut stream = slow.send(&requests).await;
    let (answers, rest) = read_answers(&mut stream, methods, true).await;
    assert_eq!(answers.len(), methods.len());
    assert_eq!(rest, "");
    for (answer, method) in answers.iter().zip(methods) {
        assert_eq!((answer.status, answer.closes), (200, false));
        assert_eq!(answer.body.contains("base_url"), *method == "GET");
    }
}

#[rstest]
#[case::body_of_known_length(false)]
#[case::chunked_body(true)]
#[tokio::test]
async fn request_with_a_body_does_not_affect_the_next_request(#[case] is_chunked: bool) {
    let slow = SlowApp::spawn().await;
    let requests = login(is_chunked) + &slow.session("HEAD") + &login(is_chunked);
    let mut stream = slow.send(&requests).await;
    let (answers, _) = read_answers(&mut stream, &["POST", "HEAD", "POST"], true).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [201, 200, 201]);
    assert!(answers[0].body.contains("access_token"));
    assert!(answers[2].body.contains("access_token"));
}

/// Sends requests with and without a body, in pieces of `size` bytes.
#[rstest]
#[tokio::test]
async fn requests_that_arrive_in_pieces_are_answered(#[values(1, 7, 100)] size: usize) {
    let app = TestApp::spawn(Store::Memory).await;
    let requests = format!("\r\n{}{LIVE}\r\n\r\n{}{LIVE}", login(true), login(false));
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    for piece in requests.as_bytes().chunks(size) {
        stream.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
    }
    let methods = ["POST", "GET", "POST", "GET"];
    let (answers, _) = read_answers(&mut stream, &methods, true).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses, [201, 200, 201, 200]);
}

/// Requests after a request with `Connection: close` are not answered. Only the last response
/// announces the end of the connection (RFC 9112, section 9.6).
#[rstest]
#[case::first(&["GET Connection: close", "GET"], 1)]
#[case::second(&["GET", "GET Connection: close", "GET", "DELETE"], 2)]
#[case::last(&["GET", "HEAD", "GET Connection: close"], 3)]
#[tokio::test]
async fn pipelined_requests_after_one_with_a_connection_close_header_are_not_handled(
    #[case] requests: &[&str],
    #[case] answered: usize,
) {
    let slow = SlowApp::spawn().await;
    let text: String = requests.iter().map(|r| slow.session(r)).collect();
    let mut stream = slow.send(&text).await;
    let methods: Vec<_> = requests[..answered]
        .iter()
        .map(|request| request.split(' ').next().unwrap())
        .collect();
    let (answers, rest) = read_answers(&mut stream, &methods, false).await;
    assert_eq!(rest, "");
    for (number, answer) in answers.iter().enumerate() {
        assert_eq!(answer.status, 200);
        assert_eq!(answer.closes, number + 1 == answered, "{answer:?}");
    }
    let session = slow.app.get_session(&slow.token).await;
    assert_eq!(session.status(), 200, "the session was not deleted");
}

/// Tests that the decision to close one connection does not close another connection. The framework
/// reuses the memory of earlier requests and responses, and this memory could still contain such a
/// decision.
#[tokio::test]
async fn connection_stays_open_although_other_connections_were_closed_after_requests() {
    let app = TestApp::builder()
        .with(|settings| settings.workers = 1)
        .spawn(Store::Memory)
        .await;
    let mut open = TcpStream::connect(app.address).await.unwrap();
    let closing = [
        LIVE.replace("HTTP/1.1", "HTTP/1.0"),
        LIVE.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n"),
    ];
    for request in closing {
        let mut closed = TcpStream::connect(app.address).await.unwrap();
        closed.write_all(request.as_bytes()).await.unwrap();
        closed.read_to_end(&mut Vec::new()).await.unwrap();
        for _ in 0..3 {
            open.write_all(LIVE.as_bytes()).await.unwrap();
            let (answers, _) = read_answers(&mut open, &["GET"], true).await;
            assert!(!answers[0].closes);
        }
    }
}

/// The server responds without reading the body of the request, and announces the end of the
/// connection. The bytes after that response must not be parsed as another request.
#[rstest]
#[case::chunked_body("Transfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n")]
#[case::body_of_known_length("Content-Length: 2\r\n\r\n{}")]
#[tokio::test]
async fn requests_after_an_unread_body_are_not_handled(#[case] framing: &str) {
    let slow = SlowApp::spawn().await;
    let refused = format!("DELETE /v1/session HTTP/1.1\r\nHost: x\r\n{framing}");
    let mut stream = slow.send(&(refused + &slow.session("DELETE"))).await;
    let (answers, rest) = read_answers(&mut stream, &["DELETE"], false).await;
    assert_eq!((answers[0].status, answers[0].closes), (401, true));
    assert_eq!(rest, "");
    assert_eq!(slow.app.get_session(&slow.token).await.status(), 200);
}

#[rstest]
#[case::safe_request("GET")]
#[case::request_that_changes_something("DELETE")]
#[tokio::test]
async fn malformed_request_after_a_valid_request_returns_400_after_the_first_response(
    #[case] method: &str,
) {
    let slow = SlowApp::spawn().await;
    let mut stream = slow.send(&(slow.session(method) + GARBAGE)).await;
    let (answers, rest) = read_answers(&mut stream, &[method, "GET"], false).await;
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status).collect();
    assert_eq!(statuses[1], 400);
    assert!(matches!(statuses[0], 200 | 204), "{statuses:?}");
    assert_eq!(rest, "");
}

/// A client may close its sending side of the connection after its last request (TCP half-close).
/// Its safe requests, which change nothing, must still be answered.
#[tokio::test]
async fn safe_requests_are_answered_after_the_client_has_closed_its_sending_side() {
    let slow = SlowApp::spawn().await;
    let requests = slow.session("GET") + &slow.session("HEAD") + LIVE;
    let mut stream = slow.send(&requests).await;
    stream.shutdown().await.unwrap();
    let (answers, rest) = read_answers(&mut stream, &["GET", "HEAD", "GET"], false).await;
    assert_eq!(answers.len(), 3);
    assert_eq!(rest, "");
}

/// The client sends several requests, closes its sending side of the connection, and only then
/// reads the responses. The later requests wait at the server meanwhile, and must be answered.
#[tokio::test]
async fn pipelined_requests_are_answered_if_the_client_closes_its_sending_side_and_reads_late() {
    const REQUESTS: usize = 100;
    const BUNDLE: &str = "GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let app = TestApp::spawn(Store::Memory).await;
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4_096).unwrap();
    let mut stream = socket.connect(app.address).await.unwrap();
    let requests = BUNDLE.repeat(REQUESTS);
    stream.write_all(requests.as_bytes()).await.unwrap();
    stream.shutdown().await.unwrap();
    // During this pause, the client reads nothing, so the server cannot write the first responses.
    sleep(Duration::from_millis(1_500)).await;
    let mut received = Vec::new();
    timeout(READ_TIMEOUT, stream.read_to_end(&mut received))
        .await
        .unwrap()
        .unwrap();
    let answers = String::from_utf8_lossy(&received)
        .matches("HTTP/1.1 200 OK")
        .count();
    assert_eq!(answers, REQUESTS);
}

/// If the data of a chunk ends with a line feed, the line feed and the later `\r\n` form an empty
/// line, which could be the end of the body. The rest of the body must still be read at once.
#[rstest]
#[case::after_a_line_feed("\n", &["\r\n0\r\n\r\n"])]
#[case::in_pieces("\n", &["\r\n", "0\r\n", "\r\n"])]
#[case::without_a_line_feed("", &["\r\n0\r\n", "\r\n"])]
#[tokio::test]
async fn chunked_body_that_arrives_in_pieces_is_read_without_delay(
    #[case] end: &str,
    #[case] pieces: &[&str],
) {
    let app = TestApp::spawn(Store::Memory).await;
    let body = build_valid_body().to_string() + end;
    let head = "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\n\
                Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.set_nodelay(true).unwrap();
    let first = format!("{head}{:x}\r\n{body}", body.len());
    stream.write_all(first.as_bytes()).await.unwrap();
    for piece in pieces {
        // Because of this pause, the pieces arrive one by one.
        sleep(Duration::from_millis(100)).await;
        stream.write_all(piece.as_bytes()).await.unwrap();
    }
    let (answers, _) = read_answers(&mut stream, &["POST"], true).await;
    assert_eq!(answers[0].status, 201, "{answers:?}");
}

/// Sends `request`, and further bytes after the server has sent the last response of the
/// connection. The client must still be able to read this response.
#[rstest]
#[case::connection_close(
    "GET /health/live HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
    200
)]
#[case::unread_body(
    "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: text/plain\r\n\
     Content-Length: 3000000\r\n\r\n",
    415
)]
#[case::body_too_large(
    "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
     Content-Length: 3000000\r\n\r\n",
    413
)]
#[case::malformed_head("nonsense\r\n\r\n", 400)]
#[tokio::test]
async fn last_response_can_be_read_by_a_client_that_is_still_sending(
    #[case] request: &str,
    #[case] expected: u16,
) {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    // A server without a lingering close would have closed the connection by now. It would answer
    // each of the following bytes with a reset, and the client would lose the response.
    for _ in 0..10 {
        sleep(Duration::from_millis(20)).await;
        stream.write_all(&[b'x'; 10_000]).await.unwrap();
    }
    let (answers, rest) = read_answers(&mut stream, &["GET"], false).await;
    assert_eq!((answers[0].status, rest.as_str()), (expected, ""));
}

/// A request head that is too long is refused before the client has sent all of it. The client must
/// be able to read the response.
#[tokio::test]
async fn client_that_sends_a_head_that_is_too_long_can_read_the_response() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let head = format!(
        "GET / HTTP/1.1\r\nHost: localhost\r\nX: {}",
        "y".repeat(500_000)
    );
    stream.write_all(head.as_bytes()).await.unwrap();
    let (answers, _) = read_answers(&mut stream, &["GET"], false).await;
    assert_eq!(answers[0].status, 431);
}

/// A client that keeps sending after the last response cannot keep the connection open.
#[tokio::test]
async fn client_that_keeps_sending_after_the_final_response_of_its_connection_is_disconnected() {
    let app = TestApp::spawn(Store::Memory).await;
    let mut stream = TcpStream::connect(app.address).await.unwrap();
    let request = LIVE.replace("\r\n\r\n", "\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let sending = async {
        while stream.write_all(&[b'x'; 10_000]).await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    timeout(READ_TIMEOUT, sending).await.unwrap();
}
