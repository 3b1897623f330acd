//! Measures the costs of a session in Redis: its memory, and the network traffic and disk writes of
//! one access.
//!
//! ```sh
//! cargo run -p tee-session-redis-adapter --example session_size
//! ```
//!
//! Prints a table. For each row of the table, the program starts a `redis-server` and creates
//! sessions through the session manager. The optional first argument divides the number of
//! sessions: with `10`, each row measures one tenth of the sessions. `scripts/sizing` writes the
//! table into `docs/operations.md`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program that prints its measurements"
)]

use std::{error::Error, sync::Arc, time::Duration};

use tee_session_domain::{
    BaseUrl, Cookies, Login, SessionAttributes, SessionManager, SessionPolicy, SessionRepository,
    SessionToken, Subject,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings, StorageFormat};
use tee_session_test_support::{RedisAdmin, RedisProcess, eventually};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// Absolute lifetime of the measured sessions, as in `config/production.toml`. Each record
/// therefore contains the end of this lifetime.
const ABSOLUTE_LIFETIME: Duration = Duration::from_secs(86_400);

/// Redis options that write every change to the append-only file. The automatic rewrite of the file
/// is disabled, so that its growth can be measured.
const PERSISTENT: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// Number of sessions per row of the table.
///
/// The number is slightly more than 2^17. Redis has then just doubled its hash tables, so the
/// memory per session is at its maximum.
const SESSIONS_PER_ROW: usize = 140_000;

/// Number of sessions per row of the table if the cookies of a session have 4096 bytes or more. The
/// number is slightly more than 2^14.
const LARGE_SESSIONS_PER_ROW: usize = 17_000;

/// Number of concurrent requests to the session manager.
const CONCURRENCY: usize = 64;

/// Timeout for the memory usage of Redis to become stable. Until then, Redis resizes its hash
/// tables and frees its buffers.
const SETTLE_TIMEOUT: Duration = Duration::from_secs(60);

type Sessions = SessionManager<RedisRepository>;
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Properties of the sessions that one row of the printed table measures.
#[derive(Clone, Copy)]
struct SessionKind {
    /// Number of cookies per session, and length of each cookie value in bytes.
    cookies: (usize, usize),
    format: StorageFormat,
    /// Number of sessions per subject. `None` if the sessions have no subject.
    per_subject: Option<usize>,
}

impl SessionKind {
    fn login(&self, number: usize) -> Result<Login> {
        let (count, length) = self.cookies;
        let cookies = (0..count).map(|n| (format!("SESSION{n}"), "x".repeat(length)));
        let login = Login::new(
            Cookies::new(cookies)?,
            BaseUrl::new("https://golf.example/members")?,
        );
        let subject = self.per_subject.map(|sessions| number / sessions);
        let subject = subject.map(|subject| format!("member-{subject:08}").parse::<Subject>());
        let attributes = subject.transpose()?.map(SessionAttributes::of_subject);
        Ok(Login {
            attributes: attributes.unwrap_or_default(),
            ..login
        })
    }

    fn sessions(&self) -> usize {
        let (count, length) = self.cookies;
        if count * length < 4_096 {
            SESSIONS_PER_ROW
        } else {
            LARGE_SESSIONS_PER_ROW
        }
    }
}

/// Returns the properties of the sessions for each row of the printed table.
fn kinds() -> impl Iterator<Item = SessionKind> {
    let cookies = [(1, 32), (5, 200), (4, 4_000)];
    let variants = [
        (StorageFormat::Sealed, None),
        (StorageFormat::Sealed, Some(1)),
        (StorageFormat::Sealed, Some(10)),
        (StorageFormat::Plain, None),
        (StorageFormat::Plain, Some(1)),
    ];
    cookies.into_iter().flat_map(move |cookies| {
        variants.map(|(format, per_subject)| SessionKind {
            cookies,
            format,
            per_subject,
        })
    })
}

/// Measured values of one row of the printed table. All fields except `resident` are in bytes per
/// session.
struct Row {
    memory: f64,
    /// Resident memory of the Redis process, as a multiple of the memory that Redis reports as
    /// used.
    resident: f64,
    received: f64,
    sent: f64,
    written: f64,
}

/// Memory usage, network traffic and file size that Redis reports in its reply to `INFO`. All
/// values are in bytes.
struct Gauges {
    memory: u64,
    resident: u64,
    received: u64,
    sent: u64,
    written: u64,
}

impl Gauges {
    async fn read(admin: &RedisAdmin) -> Result<Self> {
        let info = admin.send(&["INFO"]).await;
        let info = info.as_string().ok_or("the reply to INFO is not text")?;
        let value = |name| -> Result<u64> { Ok(value_in(&info, name)?.parse()?) };
        Ok(Self {
            memory: value("used_memory")?,
            resident: value("used_memory_rss")?,
            received: value("total_net_input_bytes")?,
            sent: value("total_net_output_bytes")?,
            written: value("aof_current_size")?,
        })
    }

    /// Waits until the memory usage of Redis has been stable for about half a second, and then
    /// reads the values.
    async fn read_settled(admin: &RedisAdmin) -> Result<Self> {
        let mut last = Self::read(admin).await?;
        let mut unchanged = 0;
        let mut failed = None;
        eventually(SETTLE_TIMEOUT, async || {
            match Self::read(admin).await {
                Ok(now) if now.memory.abs_diff(last.memory) < 1_024 => unchanged += 1,
                Ok(now) => (last, unchanged) = (now, 0),
                Err(error) => failed = Some(error),
            }
            unchanged > 50 || failed.is_some()
        })
        .await;
        failed.map_or(Self::read(admin).await, Err)
    }
}

fn value_in<'a>(info: &'a str, name: &str) -> Result<&'a str> {
    let mut lines = info.lines();
    let value = lines.find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    Ok(value
        .ok_or("a line is missing in the reply to INFO")?
        .trim())
}

#[tokio::main]
async fn main() -> Result<()> {
    let divisor = std::env::args().nth(1).map(|text| text.parse::<usize>());
    let divisor = divisor.transpose()?.unwrap_or(1).max(1);
    println!(
        "| cookies | records | sessions of a subject | bytes of Redis | sessions in 1 GiB | to Redis | from Redis | to disk |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|");
    let (mut most_resident, mut server) = (0_f64, String::new());
    for kind in kinds() {
        let redis = RedisProcess::start_with(&PERSISTENT).await;
        server = date_and_version(&redis).await?;
        let row = measure(kind, kind.sessions() / divisor, &redis).await?;
        most_resident = most_resident.max(row.resident);
        print(kind, &row);
    }
    println!(
        "\nMeasured on {server}: {} sessions per row, {} for the largest.\n\
         The resident memory of the Redis process was up to \
         {most_resident:.2} times these bytes.",
        group_digits(SESSIONS_PER_ROW / divisor),
        group_digits(LARGE_SESSIONS_PER_ROW / divisor),
    );
    Ok(())
}

/// Returns the current date and the version of the Redis server, for example `2026-01-15 with Redis
/// 7.0.15`.
async fn date_and_version(redis: &RedisProcess) -> Result<String> {
    let info = redis.info("server").await;
    let micros: i128 = value_in(&info, "server_time_usec")?.parse()?;
    let now = OffsetDateTime::from_unix_timestamp_nanos(micros * 1_000)?;
    Ok(format!(
        "{} with Redis {}",
        now.date(),
        value_in(&info, "redis_version")?
    ))
}

async fn measure(kind: SessionKind, count: usize, redis: &RedisProcess) -> Result<Row> {
    let admin = redis.admin().await;
    let empty = Gauges::read_settled(&admin).await?;
    let settings = RedisSettings::new(&redis.url())?.with_storage_format(kind.format);
    // The long timeout prevents command timeouts on a busy machine.
    let settings = settings.with_command_timeout(Duration::from_secs(30));
    let repository = RedisRepository::connect_pool(&settings, 2);
    repository
        .wait_until_connected(Duration::from_secs(10))
        .await?;
    let policy = SessionPolicy::new(SessionPolicy::DEFAULT_IDLE_TIMEOUT, Some(ABSOLUTE_LIFETIME))?;
    let sessions = Arc::new(SessionManager::new(repository.clone(), policy));
    let tokens = store(&sessions, kind, count).await?;
    let filled = Gauges::read_settled(&admin).await?;
    access(&sessions, &tokens).await?;
    let accessed = Gauges::read(&admin).await?;
    repository.close().await;
    let each = |grown: u64| grown as f64 / count as f64;
    Ok(Row {
        memory: each(Gauges::read_settled(&admin).await?.memory - empty.memory),
        resident: accessed.resident as f64 / accessed.memory as f64,
        received: each(accessed.received - filled.received),
        sent: each(accessed.sent - filled.sent),
        written: each(accessed.written - filled.written),
    })
}

/// Stores `count` sessions with concurrent requests, and returns their tokens.
async fn store(
    sessions: &Arc<Sessions>,
    kind: SessionKind,
    count: usize,
) -> Result<Vec<SessionToken>> {
    let mut tasks = JoinSet::new();
    for first in 0..CONCURRENCY {
        let sessions = Arc::clone(sessions);
        tasks.spawn(async move {
            let mut tokens = Vec::new();
            for number in (first..count).step_by(CONCURRENCY) {
                tokens.push(sessions.store_login(kind.login(number)?).await?.token);
            }
            Ok(tokens)
        });
    }
    let mut all = Vec::with_capacity(count);
    while let Some(tokens) = tasks.join_next().await {
        let tokens: Result<Vec<_>> = tokens?;
        all.extend(tokens?);
    }
    Ok(all)
}

/// Reads each session once through the session manager, which renews the TTL of the session.
async fn access(sessions: &Arc<Sessions>, tokens: &[SessionToken]) -> Result<()> {
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for some in tokens.chunks(tokens.len().div_ceil(CONCURRENCY)) {
        let (sessions, some) = (Arc::clone(sessions), some.to_vec());
        tasks.spawn(async move {
            for token in &some {
                sessions.get(token).await?;
            }
            Ok(())
        });
    }
    while let Some(done) = tasks.join_next().await {
        done??;
    }
    Ok(())
}

fn print(kind: SessionKind, row: &Row) {
    const GIB: f64 = 1_073_741_824.0;
    let (count, length) = kind.cookies;
    let per_subject = kind
        .per_subject
        .map_or_else(|| "-".to_owned(), |n| n.to_string());
    println!(
        "| {count} of {length} bytes | {} | {per_subject} | {:.0} | {} | {:.0} | {:.0} | {:.0} |",
        kind.format.as_str(),
        row.memory,
        group_digits((GIB / row.memory / 1_000.0) as usize * 1_000),
        row.received,
        row.sent,
        row.written,
    );
    eprintln!("{count} of {length} bytes, {}: done", kind.format.as_str());
}

/// Formats a number with its digits in groups of three: `1234567` becomes `1 234 567`.
fn group_digits(number: usize) -> String {
    let digits = number.to_string();
    let (first, rest) = digits.split_at(digits.len() % 3);
    let mut groups = vec![first];
    groups.extend((0..rest.len()).step_by(3).map(|at| &rest[at..at + 3]));
    groups.retain(|group| !group.is_empty());
    groups.join(" ")
}
