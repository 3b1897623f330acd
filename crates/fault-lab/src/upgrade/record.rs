//! Subcommand that records the Redis keys written by a binary. The resulting file is a fixture for
//! tests of later versions.

use std::path::PathBuf;

use anyhow::{Context, ensure};
use clap::{Arg, ArgMatches, Command, value_parser};
use reqwest::{Method, RequestBuilder, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tee_session_test_support::{RedisProcess, ServiceProcess};

use crate::{
    progress::say,
    stage::{Lab, READY_WITHIN},
};

/// Text of the JSON member `about` in the fixture file.
const ABOUT: &str = "Records that the service of commit 9cb3a1f wrote to Redis, and the \
                     sessions in them. Tokens and cookies are made up and valid nowhere. \
                     `scripts/upgrade-test --record` writes this file.";

/// Value of the setting `session_max_lifetime` for sessions with an absolute lifetime. The value is
/// the maximum of the setting: one year, in seconds.
const MAX_LIFETIME: &str = "31536000";

/// A session to record, and the operations on the session after its creation.
struct Sample {
    name: &'static str,
    cookies: &'static [(&'static str, &'static str)],
    base_url: &'static str,
    /// Subject and label of the session, or `None` for a session without a subject.
    owner: Option<(&'static str, &'static str)>,
    /// `true`: created by a service with `session_max_lifetime` = [`MAX_LIFETIME`] and
    /// `token_format` = `opaque`. `false`: created by a service with the defaults of both settings.
    has_end: bool,
    is_updated: bool,
    is_rotated: bool,
}

const MINIMAL: Sample = Sample {
    name: "one cookie",
    cookies: &[("SESSIONID", "a1b2c3")],
    base_url: "https://golf.example/members",
    owner: None,
    has_end: false,
    is_updated: false,
    is_rotated: false,
};

const SAMPLES: [Sample; 6] = [
    MINIMAL,
    Sample {
        name: "cookies in non-alphabetical order",
        cookies: &[
            ("z", "1"),
            ("a", "\"two\"; drei"),
            ("M", "vier-\u{e4}\u{1f3cc}"),
            ("e", ""),
        ],
        base_url: "https://golf.example:8443/members/7?page=2&sort=asc",
        ..MINIMAL
    },
    Sample {
        name: "an end, and an opaque token",
        has_end: true,
        ..MINIMAL
    },
    Sample {
        name: "a subject",
        owner: Some(("member-4711", "telephone")),
        ..MINIMAL
    },
    Sample {
        name: "a subject, changed and rotated",
        owner: Some(("member-4711", "B\u{fc}ro")),
        is_updated: true,
        is_rotated: true,
        ..MINIMAL
    },
    Sample {
        name: "a subject, an end, and an opaque token",
        owner: Some(("member-4711", "tablet")),
        has_end: true,
        ..MINIMAL
    },
];

/// Defines the subcommand `record`.
pub(crate) fn command() -> Command {
    let file = |name: &'static str, help| {
        let argument = Arg::new(name).long(name).required(true);
        argument.value_parser(value_parser!(PathBuf)).help(help)
    };
    Command::new("record")
        .about("Writes the Redis records of a binary to a file, for tests of later versions")
        .arg(file("binary", "The binary that writes the records"))
        .arg(file("output", "The file to write"))
}

/// Records all [`SAMPLES`] in both storage formats (sealed and plain), and writes the fixture file.
pub(crate) async fn run(arguments: &ArgMatches) -> anyhow::Result<bool> {
    let lab = Lab::of(arguments, "binary", true)?;
    let output = arguments.get_one::<PathBuf>("output").context("no file")?;
    let fixture = json!({
        "about": ABOUT,
        "sealed": record_format(&lab, "sealed").await?,
        "plain": record_format(&lab, "plain").await?,
    });
    std::fs::write(output, serde_json::to_string_pretty(&fixture)? + "\n")?;
    say(&format!("see {}", output.display()));
    Ok(true)
}

/// Creates the sessions in [`SAMPLES`] with the storage format `format`. Returns the expected
/// contents of the sessions, and every Redis key with its value.
async fn record_format(lab: &Lab, format: &str) -> anyhow::Result<Value> {
    let redis = RedisProcess::start().await;
    let url = redis.url();
    let endless = ["--storage-format", format];
    let ending = [
        "--token-format",
        "opaque",
        "--session-max-lifetime",
        MAX_LIFETIME,
    ];
    let ending = [&endless[..], &ending].concat();
    let (endless, ending) = (
        lab.start(&url, &endless).await,
        lab.start(&url, &ending).await,
    );
    let mut sessions = Vec::new();
    for sample in &SAMPLES {
        let service = if sample.has_end { &ending } else { &endless };
        service.until_ready(READY_WITHIN).await;
        let session = write_session(service, sample).await;
        sessions.push(session.context(sample.name)?);
    }
    let mut keys = texts(&redis, &["KEYS", "*"]).await;
    keys.sort_unstable();
    let mut records = Vec::new();
    for key in &keys {
        records.push(
            record(&redis, key)
                .await
                .context("a key of an unexpected type")?,
        );
    }
    let time = texts(&redis, &["TIME"]).await;
    let seconds: u64 = time.first().context("no time")?.parse()?;
    Ok(json!({"recorded_at": seconds, "sessions": sessions, "records": records}))
}

/// Creates the session of `sample`, runs the operations of `sample` on the session, and returns the
/// expected contents of the session.
async fn write_session(service: &ServiceProcess, sample: &Sample) -> anyhow::Result<Value> {
    // Builds the JSON text by hand, because a JSON map may change the order of the cookies.
    let cookies = sample.cookies.iter().map(|(name, value)| {
        Ok(format!(
            "{}:{}",
            serde_json::to_string(name)?,
            serde_json::to_string(value)?
        ))
    });
    let cookies = cookies.collect::<anyhow::Result<Vec<_>>>()?.join(",");
    let base_url = serde_json::to_string(sample.base_url)?;
    let mut body = format!("{{\"cookies\":{{{cookies}}},\"base_url\":{base_url}");
    if let Some((subject, label)) = sample.owner {
        let owner = json!({"subject": subject, "label": label}).to_string();
        body.push(',');
        body.push_str(owner.trim_start_matches('{'));
    } else {
        body.push('}');
    }
    let request = service.request(Method::POST, "/v1/sessions");
    let created = send(request.header(CONTENT_TYPE, "application/json").body(body)).await?;
    let mut token = text(&created, "access_token")?;
    let mut cookies = json!(sample.cookies);
    if sample.is_updated {
        let patch = json!({"cookies": {"changed": "yes"}}).to_string();
        let request = service
            .request(Method::PATCH, "/v1/session")
            .bearer_auth(&token);
        send(
            request
                .header(CONTENT_TYPE, "application/merge-patch+json")
                .body(patch),
        )
        .await?;
        let cookies = cookies.as_array_mut().context("no cookies")?;
        cookies.push(json!(["changed", "yes"]));
    }
    if sample.is_rotated {
        let request = service.request(Method::POST, "/v1/session/rotate");
        token = text(&send(request.bearer_auth(&token)).await?, "access_token")?;
    }
    let request = service.request(Method::GET, "/v1/session");
    let shown = send(request.bearer_auth(&token)).await?;
    Ok(json!({
        "name": sample.name,
        "token": token,
        "session_id": text(&shown, "session_id")?,
        "created_at": text(&shown, "created_at")?,
        "max_lifetime": sample.has_end.then(|| MAX_LIFETIME.parse::<u64>()).transpose()?,
        "base_url": sample.base_url,
        "cookies": cookies,
        "subject": sample.owner.map(|(subject, _)| subject),
        "label": sample.owner.map(|(_, label)| label),
    }))
}

/// Sends a request and returns the JSON body of the response. Fails if the response has an error
/// status.
async fn send(request: RequestBuilder) -> anyhow::Result<Value> {
    let response = request.send().await?;
    ensure!(
        response.status().is_success(),
        "answered with {}",
        response.status()
    );
    Ok(response.json().await?)
}

/// Returns the string member `member` of the JSON body `body`. Fails if there is no such string.
fn text(body: &Value, member: &str) -> anyhow::Result<String> {
    let text = body[member].as_str().map(str::to_owned);
    text.with_context(|| format!("a response without {member}"))
}

/// Returns the Redis key `key` with its TTL and its value, as JSON. Returns `None` if the value is
/// not a string, a sorted set or a hash.
async fn record(redis: &RedisProcess, key: &str) -> Option<Value> {
    let command = async |words: &[&str]| redis.command(words).await;
    let mut record = json!({
        "key": key,
        "ttl_ms": command(&["PTTL", key]).await.as_i64()?,
    });
    let kind = command(&["TYPE", key]).await.as_string()?;
    record[&kind] = match kind.as_str() {
        "string" => {
            let value = command(&["GET", key]).await;
            let value = value.as_bytes()?;
            match str::from_utf8(value) {
                Ok(text) => json!({"text": text}),
                Err(_) => json!({"hex": hex::encode(value)}),
            }
        }
        "zset" => {
            let mut scores = json!({});
            for member in texts(redis, &["ZRANGE", key, "0", "-1"]).await {
                // The scores are integers below 2^53, which `f64` represents exactly.
                let score = command(&["ZSCORE", key, &member]).await.as_f64()?;
                scores[&member] = json!(format!("{score:.0}"));
            }
            scores
        }
        "hash" => {
            let mut fields = json!({});
            for field in texts(redis, &["HKEYS", key]).await {
                fields[&field] = json!(command(&["HGET", key, &field]).await.as_string()?);
            }
            fields
        }
        _ => return None,
    };
    Some(record)
}

/// Sends the Redis command `words`, and returns the strings in the reply. The reply must be an
/// array.
async fn texts(redis: &RedisProcess, words: &[&str]) -> Vec<String> {
    let reply = redis.command(words).await.into_array();
    reply.iter().filter_map(|text| text.as_string()).collect()
}
