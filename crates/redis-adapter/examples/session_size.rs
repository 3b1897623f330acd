//! What sessions take in Redis: memory for each, and for an access bytes on the network and on disk.
//!
//! ```sh
//! cargo run -p tee-session-redis-adapter --example session_size
//! ```
//!
//! A `redis-server` of its own for each row, filled through the session manager. The first argument
//! divides the number of sessions. `scripts/sizing` puts the table into `docs/operations.md`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a measurement for people"
)]

use std::{error::Error, sync::Arc, time::Duration};

use tee_session_domain::{
    BaseUrl, Cookies, Login, SessionManager, SessionPolicy, SessionRepository, SessionToken,
    Subject,
};
use tee_session_redis_adapter::{RedisRepository, RedisSettings, StorageFormat};
use tee_session_test_support::{RedisAdmin, RedisProcess, eventually};
use time::OffsetDateTime;
use tokio::task::JoinSet;

/// As `config/production.toml` has it: the end of a session stands in its record.
const ABSOLUTE_LIFETIME: Duration = Duration::from_secs(86_400);

/// Everything is written to disk, and nothing of that is tidied up while it is weighed.
const PERSISTENT: [&str; 6] = [
    "--save",
    "",
    "--appendonly",
    "yes",
    "--auto-aof-rewrite-percentage",
    "0",
];

/// A little more than a power of two, at which the tables of Redis double: as dear as it gets.
const MANY: usize = 140_000;

/// The same, for large ones.
const FEWER: usize = 17_000;

const AT_ONCE: usize = 64;

/// Within this the tables of Redis have grown, and its buffers are gone.
const AT_REST_WITHIN: Duration = Duration::from_secs(60);

type Sessions = SessionManager<RedisRepository>;
type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// A kind of sessions.
#[derive(Clone, Copy)]
struct Kind {
    /// How many cookies, and how many bytes each of their values has.
    cookies: (usize, usize),
    format: StorageFormat,
    /// How many sessions each subject has; `None`: they have no subject.
    of_a_subject: Option<usize>,
}

impl Kind {
    fn login(&self, number: usize) -> Result<Login> {
        let (count, length) = self.cookies;
        let cookies = (0..count).map(|n| (format!("SESSION{n}"), "x".repeat(length)));
        let login = Login::new(
            Cookies::new(cookies)?,
            BaseUrl::new("https://golf.example/members")?,
        );
        let subject = self.of_a_subject.map(|sessions| number / sessions);
        let subject = subject.map(|subject| format!("member-{subject:08}").parse::<Subject>());
        Ok(Login {
            subject: subject.transpose()?,
            ..login
        })
    }

    fn sessions(&self) -> usize {
        let (count, length) = self.cookies;
        if count * length < 4_096 { MANY } else { FEWER }
    }
}

/// Every kind that has a row.
fn kinds() -> impl Iterator<Item = Kind> {
    let cookies = [(1, 32), (5, 200), (4, 4_000)];
    let holders = [
        (StorageFormat::Sealed, None),
        (StorageFormat::Sealed, Some(1)),
        (StorageFormat::Sealed, Some(10)),
        (StorageFormat::Plain, None),
        (StorageFormat::Plain, Some(1)),
    ];
    cookies.into_iter().flat_map(move |cookies| {
        holders.map(|(format, of_a_subject)| Kind {
            cookies,
            format,
            of_a_subject,
        })
    })
}

/// What a row tells, in bytes.
struct Row {
    memory: f64,
    /// What the process holds of the machine's memory, as a multiple of what it uses.
    resident: f64,
    received: f64,
    sent: f64,
    written: f64,
}

/// What Redis tells of itself.
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
        let info = info.as_string().ok_or("INFO is no text")?;
        let value = |name| -> Result<u64> { Ok(value_in(&info, name)?.parse()?) };
        Ok(Self {
            memory: value("used_memory")?,
            resident: value("used_memory_rss")?,
            received: value("total_net_input_bytes")?,
            sent: value("total_net_output_bytes")?,
            written: value("aof_current_size")?,
        })
    }

    /// Once memory has stayed the same for half a second.
    async fn at_rest(admin: &RedisAdmin) -> Result<Self> {
        let mut last = Self::read(admin).await?;
        let mut unchanged = 0;
        let mut failed = None;
        eventually(AT_REST_WITHIN, async || {
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
    Ok(value.ok_or("INFO lacks a line")?.trim())
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
        "\nMeasured on {server}: {} sessions in a row, {} of the largest.\n\
         The process of Redis held up to \
         {most_resident:.2} times these bytes of the machine's memory.",
        grouped(MANY / divisor),
        grouped(FEWER / divisor),
    );
    Ok(())
}

/// `2026-01-15 with Redis 7.0.15`.
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

async fn measure(kind: Kind, count: usize, redis: &RedisProcess) -> Result<Row> {
    let admin = redis.admin().await;
    let empty = Gauges::at_rest(&admin).await?;
    let settings = RedisSettings::new(&redis.url())?.with_storage_format(kind.format);
    // A busy machine is no outage.
    let settings = settings.with_command_timeout(Duration::from_secs(30));
    let repository = RedisRepository::connect_pool(&settings, 2);
    repository
        .wait_until_connected(Duration::from_secs(10))
        .await?;
    let policy = SessionPolicy::new(SessionPolicy::DEFAULT_IDLE_TIMEOUT, Some(ABSOLUTE_LIFETIME))?;
    let sessions = Arc::new(SessionManager::new(repository.clone(), policy));
    let tokens = store(&sessions, kind, count).await?;
    let filled = Gauges::at_rest(&admin).await?;
    access(&sessions, &tokens).await?;
    let accessed = Gauges::read(&admin).await?;
    repository.close().await;
    let each = |grown: u64| grown as f64 / count as f64;
    Ok(Row {
        memory: each(Gauges::at_rest(&admin).await?.memory - empty.memory),
        resident: accessed.resident as f64 / accessed.memory as f64,
        received: each(accessed.received - filled.received),
        sent: each(accessed.sent - filled.sent),
        written: each(accessed.written - filled.written),
    })
}

/// Logs in `count` times.
async fn store(sessions: &Arc<Sessions>, kind: Kind, count: usize) -> Result<Vec<SessionToken>> {
    let mut tasks = JoinSet::new();
    for first in 0..AT_ONCE {
        let sessions = Arc::clone(sessions);
        tasks.spawn(async move {
            let mut tokens = Vec::new();
            for number in (first..count).step_by(AT_ONCE) {
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

/// Asks for each session once.
async fn access(sessions: &Arc<Sessions>, tokens: &[SessionToken]) -> Result<()> {
    let mut tasks: JoinSet<Result<()>> = JoinSet::new();
    for some in tokens.chunks(tokens.len().div_ceil(AT_ONCE)) {
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

fn print(kind: Kind, row: &Row) {
    const GIB: f64 = 1_073_741_824.0;
    let (count, length) = kind.cookies;
    let of_a_subject = kind
        .of_a_subject
        .map_or_else(|| "-".to_owned(), |n| n.to_string());
    println!(
        "| {count} of {length} bytes | {} | {of_a_subject} | {:.0} | {} | {:.0} | {:.0} | {:.0} |",
        kind.format.as_str(),
        row.memory,
        grouped((GIB / row.memory / 1_000.0) as usize * 1_000),
        row.received,
        row.sent,
        row.written,
    );
    eprintln!("{count} of {length} bytes, {}: done", kind.format.as_str());
}

/// `1234567` as `1 234 567`.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let (first, rest) = digits.split_at(digits.len() % 3);
    let mut groups = vec![first];
    groups.extend((0..rest.len()).step_by(3).map(|at| &rest[at..at + 3]));
    groups.retain(|group| !group.is_empty());
    groups.join(" ")
}
