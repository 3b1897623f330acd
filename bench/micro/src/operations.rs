//! Operations of the hot path that are measured separately, without a network.

mod current_session;
mod merges;
mod near_cache;
mod repeat;

use std::{hint::black_box, time::Duration};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use anyhow::{Context, bail};
use tee_session_api_server::fuzzing::session_response;
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{RecentTouches, SessionToken};
use tee_session_redis_adapter::{
    StorageFormat,
    fuzzing::{Location, decode_plain, encode_plain},
};

pub use self::repeat::Repeat;
use crate::sample;

/// An operation of the hot path, which is measured separately.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Name of the operation in the output and in the file of recorded counts.
    pub name: &'static str,
    prepare: fn() -> anyhow::Result<Repeat>,
}

/// All measured operations. To add an operation, add a function that prepares the operation, and an
/// entry in this list.
pub const OPERATIONS: [Operation; 14] = [
    operation("bearer_header", bearer_header),
    operation("token_parse", token_parse),
    operation("sealed_location", sealed_location),
    operation("sealed_encode", sealed_encode),
    operation("sealed_decode", sealed_decode),
    operation("plain_encode", plain_encode),
    operation("plain_decode", plain_decode),
    operation("answer", answer),
    operation("recent_touch_hit", recent_touch_hit),
    operation("recent_touch_note", recent_touch_note),
    operation("near_cache_hit", near_cache::hit),
    operation("merge_unchanged", merges::unchanged),
    operation("merge_changed", merges::changed),
    operation("sealed_decode_jar", merges::sealed_decode_of_a_jar),
];

const fn operation(name: &'static str, prepare: fn() -> anyhow::Result<Repeat>) -> Operation {
    Operation { name, prepare }
}

impl Operation {
    /// Prepares the input data of the operation. Also runs the operation once, so that one-time
    /// initialisation is not measured.
    ///
    /// # Errors
    /// Fails if the input data is invalid.
    pub fn prepared(self) -> anyhow::Result<Repeat> {
        let mut repeat = (self.prepare)()?;
        repeat();
        Ok(repeat)
    }

    /// Returns the operation with the name `name`, or `None` if there is no such operation.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        OPERATIONS
            .into_iter()
            .find(|operation| operation.name == name)
    }
}

/// Prepares an operation that finds the `Authorization` header of a request and parses the bearer
/// token.
fn bearer_header() -> anyhow::Result<Repeat> {
    let mut headers = HeaderMap::new();
    for (name, value) in [
        ("host", "api.golf.example"),
        ("user-agent", "benchmark/1.0"),
        ("accept", "application/json"),
    ] {
        headers.insert(
            HeaderName::from_static(name),
            HeaderValue::from_static(value),
        );
    }
    let bearer = format!("Bearer {}", sample::token()?.expose_secret());
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&bearer)?);
    BearerToken::from_headers(&headers)?;
    Ok(Box::new(move || {
        drop(black_box(BearerToken::from_headers(black_box(&headers))));
    }))
}

/// Prepares an operation that parses a session token.
fn token_parse() -> anyhow::Result<Repeat> {
    let text = sample::token()?.expose_secret().to_owned();
    Ok(Box::new(move || {
        drop(black_box(black_box(&*text).parse::<SessionToken>()));
    }))
}

/// Prepares an operation that derives Redis key, record id and encryption key from a session token.
/// Each call uses a token whose derived values are not cached.
fn sealed_location() -> anyhow::Result<Repeat> {
    let token = sample::token()?;
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        drop(black_box(Location::new(StorageFormat::Sealed, &token)));
    }))
}

/// Prepares an operation that seals (encrypts) a session. The encryption key is derived in advance.
fn sealed_encode() -> anyhow::Result<Repeat> {
    let (location, session) = (
        Location::new(StorageFormat::Sealed, &sample::token()?),
        sample::session()?,
    );
    Ok(Box::new(move || {
        drop(black_box(location.encode(black_box(&session))));
    }))
}

/// Prepares an operation that opens (decrypts) a sealed session record. The encryption key is
/// derived in advance.
fn sealed_decode() -> anyhow::Result<Repeat> {
    let location = Location::new(StorageFormat::Sealed, &sample::token()?);
    let record = location.encode(&sample::session()?);
    location
        .decode(&record)
        .context("a sealed record must open")?;
    Ok(Box::new(move || {
        drop(black_box(location.decode(black_box(&record))));
    }))
}

/// Prepares an operation that encodes a session as a plain (unencrypted) record.
fn plain_encode() -> anyhow::Result<Repeat> {
    let session = sample::session()?;
    Ok(Box::new(move || {
        drop(black_box(encode_plain(black_box(&session))));
    }))
}

/// Prepares an operation that decodes a plain (unencrypted) session record.
fn plain_decode() -> anyhow::Result<Repeat> {
    let record = encode_plain(&sample::session()?);
    decode_plain(&record).context("an encoded record must decode")?;
    Ok(Box::new(move || {
        drop(black_box(decode_plain(black_box(&record))));
    }))
}

/// Prepares an operation that builds the response to `GET /v1/session`. Most of the work is JSON
/// serialization.
fn answer() -> anyhow::Result<Repeat> {
    let current = current_session::current_session()?;
    if !session_response(&current).status().is_success() {
        bail!("the response must be successful");
    }
    Ok(Box::new(move || {
        drop(black_box(session_response(black_box(&current))));
    }))
}

/// Prepares an operation that checks whether the TTL of a session was renewed recently. The result
/// is always `true`. Each call uses a token whose hash is not cached.
fn recent_touch_hit() -> anyhow::Result<Repeat> {
    let touches = RecentTouches::within(Duration::from_secs(60));
    let token = sample::token()?;
    let now = sample::now();
    touches.note(&token.clone(), now);
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        black_box(touches.is_recent(&token, now));
    }))
}

/// Prepares an operation that records that the TTL of a session was renewed. Each call uses a token
/// whose hash is not cached.
fn recent_touch_note() -> anyhow::Result<Repeat> {
    let touches = RecentTouches::within(Duration::from_secs(60));
    let token = sample::token()?;
    let now = sample::now();
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        touches.note(&token, now);
    }))
}
