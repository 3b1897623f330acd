//! Tests of logins, token rotations and logouts with a slow Redis, or with a client that
//! disconnects before the response. Each operation must be completed or undone.

use std::{
    net::SocketAddr,
    num::NonZeroUsize,
    time::{Duration, Instant},
};

use reqwest::{Method, StatusCode};
use rstest::rstest;
use serde_json::Value;
use socket2::SockRef;
use tee_session_domain::{AtLimit, SubjectLimit};
use tee_session_redis_adapter::RedisSettings;
use tee_session_test_support::{Fault, FaultProxy, RedisProcess, eventually};
use tokio::{io::AsyncWriteExt, net::TcpStream, time::sleep};

use crate::{
    metrics::scrape,
    subjects::{build_body_with_subject, get_token},
    test_app::{TestApp, assert_problem},
};

/// Delay of each reply of the slow Redis. Four delays together exceed the default maximum time to
/// answer a request (1 s).
const DELAY: Duration = Duration::from_millis(300);

/// Timeout of one Redis command, several times as long as [`DELAY`]. Replies to concurrent commands
/// may be delayed one after the other.
const COMMAND_TIMEOUT: Duration = Duration::from_secs(1);

/// Time between sending a request and disconnecting. After this time, the request has arrived at
/// the service, and Redis has not replied yet.
const PATIENCE: Duration = Duration::from_millis(150);

const SUBJECT: &str = "member-4711";

/// Way in which a client closes its connection.
#[derive(Clone, Copy)]
enum Disconnect {
    /// The client closes the connection (TCP FIN), as after a timeout.
    Close,
    /// The client resets the connection (TCP RST). This happens if the client process is killed
    /// before it has read all received data.
    Reset,
}

struct SlowRedis {
    proxy: FaultProxy,
    app: TestApp,
    redis: RedisProcess,
}

impl SlowRedis {
    /// Starts the application, a Redis server, and a proxy between them. The proxy does not delay
    /// replies yet.
    async fn start(limit: usize, when_reached: AtLimit) -> Self {
        let redis = RedisProcess::start().await;
        let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
        let limit = SubjectLimit {
            max: NonZeroUsize::new(limit).unwrap(),
            when_reached,
        };
        let app = TestApp::builder()
            .with(|settings| {
                settings.policy = settings.policy.with_subject_limit(Some(limit));
                settings.call_timeout = COMMAND_TIMEOUT;
            })
            .spawn_with_redis(
                RedisSettings::new(&format!("redis://{}", proxy.address()))
                    .unwrap()
                    .with_command_timeout(COMMAND_TIMEOUT),
            );
        app.until_ready().await;
        Self { proxy, app, redis }
    }

    async fn log_in(&self) -> String {
        let created = self
            .app
            .post_session(&build_body_with_subject(SUBJECT))
            .await;
        assert_eq!(created.status(), StatusCode::CREATED);
        let created: Value = created.json().await.unwrap();
        get_token(&created).to_owned()
    }

    /// Sends a request, and disconnects after [`PATIENCE`].
    async fn send_and_disconnect(&self, request: &str, how: Disconnect) {
        let stream = self.send(request).await;
        sleep(PATIENCE).await;
        disconnect(&stream, how);
    }

    async fn send(&self, request: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.app.address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    /// Sends a login request, and disconnects as soon as Redis contains `records` session records.
    /// At that time, the reply of Redis has not reached the service yet.
    async fn log_in_and_disconnect_when_stored(&self, records: usize, how: Disconnect) {
        let stream = self.send(&login_request()).await;
        eventually(Duration::from_secs(10), async || {
            count_records(&self.redis).await == records
        })
        .await;
        disconnect(&stream, how);
    }

    /// Shuts the application down, and starts a new application with the same Redis server. The
    /// shutdown waits for all running operations.
    async fn restart(self) -> (RedisProcess, TestApp) {
        self.app.shut_down().await;
        let another = TestApp::builder().spawn_on_redis(&self.redis.url());
        another.until_ready().await;
        (self.redis, another)
    }
}

fn disconnect(stream: &TcpStream, how: Disconnect) {
    let linger = match how {
        Disconnect::Close => None,
        Disconnect::Reset => Some(Duration::ZERO),
    };
    SockRef::from(stream).set_linger(linger).unwrap();
}

/// Returns the number of session records in Redis. The key of a session record is `session:`
/// followed by the session id, which has 22 characters.
async fn count_records(redis: &RedisProcess) -> usize {
    let pattern = format!("session:{}", "?".repeat(22));
    let keys = redis.command(&["KEYS", &pattern]).await;
    keys.into_array().len()
}

/// Creates 1200 sessions of one subject, without a session limit.
async fn create_many_sessions(redis: &RedisProcess) {
    let app = TestApp::builder().spawn_on_redis(&redis.url());
    app.until_ready().await;
    for _ in 0..1_200 {
        let created = app.post_session(&build_body_with_subject(SUBJECT)).await;
        assert_eq!(created.status(), StatusCode::CREATED);
    }
}

fn login_request() -> String {
    let body = build_body_with_subject(SUBJECT).to_string();
    format!(
        "POST /v1/sessions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

fn bearer_request(request_line: &str, token: &str) -> String {
    format!("{request_line} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {token}\r\n\r\n")
}

#[tokio::test]
async fn with_a_slow_redis_a_login_at_the_session_limit_of_a_subject_ends_its_oldest_session() {
    let slow = SlowRedis::start(2, AtLimit::EvictOldest).await;
    slow.proxy.set(Fault::Delay(DELAY));
    let tokens = [
        slow.log_in().await,
        slow.log_in().await,
        slow.log_in().await,
    ];
    slow.proxy.set(Fault::None);
    let status = async |token: &str| slow.app.get_session(token).await.status();
    assert_eq!(status(&tokens[0]).await, StatusCode::UNAUTHORIZED);
    assert_eq!(status(&tokens[1]).await, StatusCode::OK);
    assert_eq!(status(&tokens[2]).await, StatusCode::OK);
}

/// Simulates a subject that has many sessions when its session limit is lowered. Its next login must
/// not exceed the time limit, because then no login of this subject would succeed any more.
#[tokio::test]
async fn first_login_after_the_session_limit_was_lowered_ends_all_sessions_above_the_limit() {
    let slow = SlowRedis::start(3, AtLimit::EvictOldest).await;
    create_many_sessions(&slow.redis).await;
    slow.proxy.set(Fault::Delay(Duration::from_millis(2)));
    let token = slow.log_in().await;
    assert_eq!(slow.app.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(count_records(&slow.redis).await, 3);
}

/// Simulates a subject with so many sessions that a slow Redis cannot remove all of them within the
/// time limit of the request (5 s).
#[tokio::test]
async fn with_a_slow_redis_ending_many_sessions_returns_503_after_5_seconds_and_can_be_repeated() {
    let slow = SlowRedis::start(3, AtLimit::Refuse).await;
    create_many_sessions(&slow.redis).await;
    slow.proxy.set(Fault::Delay(DELAY));
    let end_all = async || {
        let path = format!("/v1/sessions?subject={SUBJECT}");
        let request = slow.app.request(Method::DELETE, &path);
        request.send().await.unwrap()
    };
    let started = Instant::now();
    let response = end_all().await;
    let elapsed = started.elapsed();
    assert_problem(response, 503, "store_unavailable").await;
    // The margin allows for a busy machine.
    let expected = Duration::from_secs(5)..Duration::from_secs(10);
    assert!(expected.contains(&elapsed), "{elapsed:?}");
    slow.proxy.set(Fault::None);
    assert_eq!(end_all().await.status(), StatusCode::OK);
    assert_eq!(count_records(&slow.redis).await, 0);
}

#[tokio::test]
async fn token_rotation_succeeds_if_redis_replies_slowly() {
    let slow = SlowRedis::start(3, AtLimit::Refuse).await;
    let old = slow.log_in().await;
    slow.proxy.set(Fault::Delay(DELAY));
    let rotated = slow.app.rotate(&old).await;
    assert_eq!(rotated.status(), StatusCode::OK);
    let rotated: Value = rotated.json().await.unwrap();
    let shown = slow.app.get_session(get_token(&rotated)).await;
    assert_eq!(shown.status(), StatusCode::OK);
}

/// Checks that a login is undone if the client disconnects before the response. Otherwise, a
/// session that no client can use would count towards the limit of its subject.
#[rstest]
#[case::close(Disconnect::Close)]
#[case::reset(Disconnect::Reset)]
#[tokio::test]
async fn login_whose_client_disconnects_before_the_response_leaves_no_session(
    #[case] how: Disconnect,
) {
    let slow = SlowRedis::start(1, AtLimit::Refuse).await;
    slow.proxy.set(Fault::Delay(DELAY));
    slow.log_in_and_disconnect_when_stored(1, how).await;
    let (redis, _) = slow.restart().await;
    assert_eq!(count_records(&redis).await, 0);
}

#[rstest]
#[case::close(Disconnect::Close)]
#[case::reset(Disconnect::Reset)]
#[tokio::test]
async fn login_whose_client_disconnects_before_the_response_does_not_evict_an_older_session(
    #[case] how: Disconnect,
) {
    let slow = SlowRedis::start(1, AtLimit::EvictOldest).await;
    let token = slow.log_in().await;
    slow.proxy.set(Fault::Delay(DELAY));
    slow.log_in_and_disconnect_when_stored(2, how).await;
    let (redis, another) = slow.restart().await;
    assert_eq!(another.get_session(&token).await.status(), StatusCode::OK);
    assert_eq!(count_records(&redis).await, 1);
}

#[rstest]
#[case::close(Disconnect::Close)]
#[case::reset(Disconnect::Reset)]
#[tokio::test]
async fn token_rotation_keeps_the_old_token_valid_if_the_client_disconnects_before_redis_replies(
    #[case] how: Disconnect,
) {
    let slow = SlowRedis::start(3, AtLimit::Refuse).await;
    let token = slow.log_in().await;
    slow.proxy.set(Fault::Delay(DELAY));
    let request = bearer_request("POST /v1/session/rotate", &token);
    slow.send_and_disconnect(&request, how).await;
    let (_redis, another) = slow.restart().await;
    assert_eq!(another.get_session(&token).await.status(), StatusCode::OK);
}

#[rstest]
#[case::logout("DELETE /v1/session", "")]
#[case::all_sessions_of_a_subject("DELETE /v1/sessions?subject=member-4711", "")]
#[case::revocation("POST /v1/revoke", "token=")]
#[tokio::test]
async fn logout_or_revocation_is_completed_even_if_the_client_disconnects(
    #[case] request_line: &str,
    #[case] body: &str,
    #[values(Disconnect::Close, Disconnect::Reset)] how: Disconnect,
) {
    let slow = SlowRedis::start(3, AtLimit::Refuse).await;
    let token = slow.log_in().await;
    slow.proxy.set(Fault::Delay(DELAY));
    let request = match body {
        "" => bearer_request(request_line, &token),
        body => format!(
            "{request_line} HTTP/1.1\r\nHost: localhost\r\n\
             Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {}\r\n\r\n{body}{token}",
            body.len() + token.len()
        ),
    };
    slow.send_and_disconnect(&request, how).await;
    slow.proxy.set(Fault::None);
    eventually(Duration::from_secs(10), async || {
        slow.app.get_session(&token).await.status() == StatusCode::UNAUTHORIZED
    })
    .await;
}

#[tokio::test]
async fn shutdown_waits_for_a_logout_whose_client_has_disconnected() {
    let slow = SlowRedis::start(3, AtLimit::Refuse).await;
    let token = slow.log_in().await;
    slow.proxy.set(Fault::Delay(DELAY));
    let request = bearer_request("DELETE /v1/session", &token);
    slow.send_and_disconnect(&request, Disconnect::Reset).await;
    let (_redis, another) = slow.restart().await;
    let shown = another.get_session(&token).await;
    assert_eq!(shown.status(), StatusCode::UNAUTHORIZED);
}

/// Starts the application with a Redis server behind a proxy. The timeout of one Redis command is
/// 1 s, longer than the time limit of a whole login or rotation (five call timeouts of 50 ms).
async fn start_with_a_short_time_limit() -> SlowRedis {
    let redis = RedisProcess::start().await;
    let proxy = FaultProxy::to(format!("127.0.0.1:{}", redis.port())).await;
    let app = TestApp::builder()
        .with(|settings| {
            settings.call_timeout = Duration::from_millis(50);
            settings.metrics_address = Some(SocketAddr::from(([127, 0, 0, 1], 0)));
        })
        .spawn_with_redis(
            RedisSettings::new(&format!("redis://{}", proxy.address()))
                .unwrap()
                .with_command_timeout(COMMAND_TIMEOUT),
        );
    app.until_ready().await;
    SlowRedis { proxy, app, redis }
}

/// Simulates a Redis server that is too slow for a token rotation within the time limit. The
/// service must then end the rotation before it moves the session to the new token.
#[tokio::test]
async fn token_rotation_returns_503_and_keeps_the_old_token_valid_if_redis_is_too_slow() {
    let SlowRedis { proxy, app, .. } = &start_with_a_short_time_limit().await;
    let token = app.log_in().await;
    proxy.set(Fault::Delay(Duration::from_millis(200)));
    assert_problem(app.rotate(&token).await, 503, "store_unavailable").await;
    proxy.set(Fault::None);
    assert_eq!(app.get_session(&token).await.status(), StatusCode::OK);
}

/// Simulates a Redis server that is too slow for a login within the time limit. The service must
/// then remove the session that it stored, because no client has its token.
#[tokio::test]
async fn login_returns_503_and_leaves_no_session_if_redis_is_too_slow() {
    let SlowRedis { proxy, app, redis } = &start_with_a_short_time_limit().await;
    proxy.set(Fault::Delay(DELAY));
    let response = app.post_session(&build_body_with_subject(SUBJECT)).await;
    assert_problem(response, 503, "store_unavailable").await;
    proxy.set(Fault::None);
    eventually(Duration::from_secs(10), async || {
        scrape(app).await.contains(r#"reason="undelivered"} 1"#)
    })
    .await;
    assert_eq!(count_records(redis).await, 0);
}
