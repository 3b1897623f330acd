//! The attacks, with the bytes that an attacker sends on each of its connections.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpSocket,
    task::JoinSet,
    time::{Instant, sleep, sleep_until},
};

/// Source address of the attackers' connections, with any port. Other clients have the address
/// 127.0.0.1.
const ATTACKER: ([u8; 4], u16) = ([127, 0, 0, 2], 0);

/// Minimum time from the start of a connection to the start of the connection that replaces it. The
/// service waits equally long for a request body. An attacker whose requests are refused at once
/// therefore reconnects no more often than an attacker whose requests stall.
const RECONNECT_AFTER: Duration = Duration::from_secs(5);

/// Delay between the first connections, so that they are not opened all at once.
const STAGGER: Duration = Duration::from_micros(400);

/// Limit for the other clients during each attack that is not a flood: the attack may at most
/// double the p99 of their requests.
const SLOWDOWN: Limit = Limit::Slowdown(2.0);

/// Maximum p99 of the requests of other clients during a flood.
const MAX_P99_DURING_FLOOD: Duration = Duration::from_millis(500);

/// HTTP Basic credentials of the service client with the right secret.
const RIGHT: &str = "Basic bGFiOnMzY3JldA==";
/// HTTP Basic credentials of the service client with a wrong secret.
const WRONG: &str = "Basic bGFiOndyb25n";

const UNKNOWN_TOKEN: &str = "Bearer 11111111-1111-4111-8111-111111111111";

/// A kind of attack: the requests of the attackers, and the limit for other clients.
pub(super) struct Attack {
    pub(super) name: &'static str,
    pub(super) limit: Limit,
    request: Request,
}

/// Maximum p99 of the requests of other clients during an attack.
#[derive(Debug, Clone, Copy)]
pub(super) enum Limit {
    /// Maximum ratio of the p99 during the attack to the p99 without an attack.
    Slowdown(f64),
    /// Like [`Slowdown`](Self::Slowdown), but the p99 may always increase by this duration. Even
    /// two measurements without an attack can differ by this duration.
    SlowdownBeyondNoise(f64, Duration),
    /// Maximum p99, regardless of the p99 without an attack. This limit is used for floods. In a
    /// flood, the attackers send as fast as possible, and compete with the service for the
    /// processors of the machine. A maximum ratio to the p99 without an attack would therefore
    /// depend mainly on the number of processors.
    Duration(Duration),
}

impl Limit {
    /// Returns `true` if the p99 of the other clients meets this limit. `before` is their p99
    /// without an attack, and `during` is their p99 during the attack.
    pub(super) fn is_met(self, before: Duration, during: Duration) -> bool {
        let ratio = during.as_secs_f64() / before.as_secs_f64().max(0.001);
        match self {
            Self::Slowdown(most) => ratio <= most,
            Self::SlowdownBeyondNoise(most, noise) => ratio <= most || during <= before + noise,
            Self::Duration(most) => during <= most,
        }
    }
}

/// The bytes that an attacker sends on a connection.
enum Request {
    /// A request whose head and first body byte are sent. The rest of the body never follows.
    StalledBody {
        request_line: &'static str,
        authorization: Authorization,
        media_type: &'static str,
        is_chunked: bool,
    },
    /// Fixed bytes, after which the attacker sends nothing more.
    Bytes(&'static str),
    /// A request with a chunked body. The first chunk size has endlessly many digits, which the
    /// attackers send as fast as possible. This attack uses three connections.
    EndlessChunkSize,
}

enum Authorization {
    None,
    Fixed(&'static str),
    /// The attackers use the token of an existing session.
    ValidToken,
}

const PATCH: (&str, &str) = ("PATCH /v1/session", "application/merge-patch+json");
const CREATE: (&str, &str) = ("POST /v1/sessions", "application/json");
const FORM: (&str, &str) = ("POST /v1/introspect", "application/x-www-form-urlencoded");
const CALL: (&str, &str) = (
    "POST /v1/upstream/book",
    "application/x-www-form-urlencoded",
);

pub(super) fn attacks() -> Vec<Attack> {
    use Authorization::{Fixed, None, ValidToken};
    let stalled = |name, (request_line, media_type), authorization, is_chunked| Attack {
        name,
        limit: SLOWDOWN,
        request: Request::StalledBody {
            request_line,
            authorization,
            media_type,
            is_chunked,
        },
    };
    let bytes = |name, bytes| Attack {
        name,
        limit: SLOWDOWN,
        request: Request::Bytes(bytes),
    };
    vec![
        stalled("stalled bodies, no token", PATCH, None, false),
        stalled(
            "stalled bodies, unknown token",
            PATCH,
            Fixed(UNKNOWN_TOKEN),
            false,
        ),
        stalled("stalled bodies, valid token", PATCH, ValidToken, false),
        stalled(
            "stalled chunked bodies, valid token",
            PATCH,
            ValidToken,
            true,
        ),
        stalled(
            "stalled bodies, wrong client secret",
            CREATE,
            Fixed(WRONG),
            false,
        ),
        stalled(
            "stalled bodies, right client secret",
            CREATE,
            Fixed(RIGHT),
            false,
        ),
        stalled(
            "stalled forms, wrong client secret",
            FORM,
            Fixed(WRONG),
            false,
        ),
        stalled(
            "stalled forms, right client secret",
            FORM,
            Fixed(RIGHT),
            false,
        ),
        stalled(
            "stalled bodies of calls through the upstream gateway, valid token",
            CALL,
            ValidToken,
            false,
        ),
        bytes("connections without a request", ""),
        bytes(
            "heads that stall",
            "GET /v1/session HTTP/1.1\r\nHost: a\r\n",
        ),
        bytes(
            "idle connections after one request",
            "GET /health/live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        ),
        Attack {
            name: "three endless chunk sizes, as fast as possible",
            limit: Limit::Duration(MAX_P99_DURING_FLOOD),
            request: Request::EndlessChunkSize,
        },
    ]
}

impl Request {
    fn bytes(&self, token: &str) -> Vec<u8> {
        match self {
            Self::StalledBody {
                request_line,
                authorization,
                media_type,
                is_chunked,
            } => {
                let authorization = match authorization {
                    Authorization::None => String::new(),
                    Authorization::Fixed(value) => format!("Authorization: {value}\r\n"),
                    Authorization::ValidToken => format!("Authorization: Bearer {token}\r\n"),
                };
                let (framing, begin) = if *is_chunked {
                    ("Transfer-Encoding: chunked", "32\r\n{")
                } else {
                    ("Content-Length: 50", "{")
                };
                format!(
                    "{request_line} HTTP/1.1\r\nHost: localhost\r\n{authorization}\
                     Content-Type: {media_type}\r\n{framing}\r\n\r\n{begin}"
                )
                .into_bytes()
            }
            Self::Bytes(bytes) => bytes.as_bytes().to_vec(),
            Self::EndlessChunkSize => b"GET /health HTTP/1.1\r\nHost: localhost\r\n\
                Transfer-Encoding: chunked\r\n\r\n"
                .to_vec(),
        }
    }
}

/// The connections of an attacker. The attack ends when this value is dropped.
pub(super) struct Held {
    _tasks: JoinSet<()>,
}

impl Held {
    /// Begins an attack with `connections` connections to `address`. If the service closes a
    /// connection, the attacker opens another connection. `token` is the token of a session.
    pub(super) fn start(
        attack: &Attack,
        address: SocketAddr,
        token: &str,
        connections: usize,
    ) -> Self {
        let bytes: Arc<[u8]> = attack.request.bytes(token).into();
        let is_flood = matches!(attack.request, Request::EndlessChunkSize);
        let connections = if is_flood { 3 } else { connections };
        let mut tasks = JoinSet::new();
        for number in 0..connections {
            let bytes = Arc::clone(&bytes);
            let delay = STAGGER * u32::try_from(number).unwrap_or(u32::MAX);
            tasks.spawn(async move {
                sleep(delay).await;
                loop {
                    let next = Instant::now() + RECONNECT_AFTER;
                    // The result is ignored: a failed connection is replaced in the same way as a
                    // closed connection.
                    let _ = hold(address, &bytes, is_flood).await;
                    sleep_until(next).await;
                }
            });
        }
        Self { _tasks: tasks }
    }
}

/// Opens a connection, sends `bytes`, and waits until the service closes the connection. If
/// `is_flood` is `true`, sends zeros without end after `bytes`.
async fn hold(address: SocketAddr, bytes: &[u8], is_flood: bool) -> std::io::Result<()> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(ATTACKER.into())?;
    let mut stream = socket.connect(address).await?;
    stream.write_all(bytes).await?;
    if is_flood {
        loop {
            stream.write_all(&[b'0'; 65_536]).await?;
        }
    }
    let mut discarded = [0; 1_024];
    while stream.read(&mut discarded).await? > 0 {}
    Ok(())
}
