//! The steps of the hot path that need no network, each on its own.

mod current_session;
mod near_cache;

use std::{hint::black_box, time::Duration};

use actix_web::http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use anyhow::{Context, bail};
use tee_session_api_server::fuzzing::session_answer;
use tee_session_auth_middleware::BearerToken;
use tee_session_domain::{RecentSlides, SessionToken};
use tee_session_redis_adapter::{
    StorageFormat,
    fuzzing::{Place, decode_plain, encode_plain},
};

use crate::sample;

/// An operation with all that it works on, ready to be done again and again.
pub type Repeat = Box<dyn FnMut()>;

/// A step of the hot path.
#[derive(Debug, Clone, Copy)]
pub struct Operation {
    /// Its name in the record.
    pub name: &'static str,
    prepare: fn() -> anyhow::Result<Repeat>,
}

/// All that are measured. One more takes a line here, and a function.
pub const OPERATIONS: [Operation; 11] = [
    operation("bearer_header", bearer_header),
    operation("token_parse", token_parse),
    operation("sealed_place", sealed_place),
    operation("sealed_encode", sealed_encode),
    operation("sealed_decode", sealed_decode),
    operation("plain_encode", plain_encode),
    operation("plain_decode", plain_decode),
    operation("answer", answer),
    operation("recent_slides_hit", recent_slides_hit),
    operation("recent_slides_note", recent_slides_note),
    operation("near_cache_hit", near_cache::hit),
];

const fn operation(name: &'static str, prepare: fn() -> anyhow::Result<Repeat>) -> Operation {
    Operation { name, prepare }
}

impl Operation {
    /// Makes what it works on, and does it once: what is only made at the first time is not its
    /// cost.
    ///
    /// # Errors
    /// When the sample is not sound.
    pub fn prepared(self) -> anyhow::Result<Repeat> {
        let mut repeat = (self.prepare)()?;
        repeat();
        Ok(repeat)
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        OPERATIONS
            .into_iter()
            .find(|operation| operation.name == name)
    }
}

fn token() -> anyhow::Result<SessionToken> {
    Ok("1b9d6bcd-bbfd-4b2d-9b5d-ab8dfbbd4bed".parse()?)
}

/// Finds the `Authorization` field among those of a request, and parses it.
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
    let bearer = format!("Bearer {}", token()?.expose_secret());
    headers.insert(AUTHORIZATION, HeaderValue::from_str(&bearer)?);
    BearerToken::from_headers(&headers)?;
    Ok(Box::new(move || {
        drop(black_box(BearerToken::from_headers(black_box(&headers))));
    }))
}

/// The text of a token.
fn token_parse() -> anyhow::Result<Repeat> {
    let text = token()?.expose_secret().to_owned();
    Ok(Box::new(move || {
        drop(black_box(black_box(&*text).parse::<SessionToken>()));
    }))
}

/// Derives key, record id and sealing key from a token that nothing was derived from yet.
fn sealed_place() -> anyhow::Result<Repeat> {
    let token = token()?;
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        drop(black_box(Place::new(StorageFormat::Sealed, &token)));
    }))
}

/// Seals a session in a place that is known.
fn sealed_encode() -> anyhow::Result<Repeat> {
    let (place, session) = (
        Place::new(StorageFormat::Sealed, &token()?),
        sample::session()?,
    );
    Ok(Box::new(move || {
        drop(black_box(place.encode(black_box(&session))));
    }))
}

/// Opens a sealed record in a place that is known.
fn sealed_decode() -> anyhow::Result<Repeat> {
    let place = Place::new(StorageFormat::Sealed, &token()?);
    let record = place.encode(&sample::session()?);
    place.decode(&record).context("what was sealed must open")?;
    Ok(Box::new(move || {
        drop(black_box(place.decode(black_box(&record))));
    }))
}

fn plain_encode() -> anyhow::Result<Repeat> {
    let session = sample::session()?;
    Ok(Box::new(move || {
        drop(black_box(encode_plain(black_box(&session))));
    }))
}

fn plain_decode() -> anyhow::Result<Repeat> {
    let record = encode_plain(&sample::session()?);
    decode_plain(&record).context("what was encoded must decode")?;
    Ok(Box::new(move || {
        drop(black_box(decode_plain(black_box(&record))));
    }))
}

/// Makes the answer to `GET /v1/session`, its JSON above all.
fn answer() -> anyhow::Result<Repeat> {
    let current = current_session::current_session()?;
    if !session_answer(&current).status().is_success() {
        bail!("a session must be written");
    }
    Ok(Box::new(move || {
        drop(black_box(session_answer(black_box(&current))));
    }))
}

/// Looks up a session that was slid a moment ago, by a token that was not hashed yet.
fn recent_slides_hit() -> anyhow::Result<Repeat> {
    let (slides, token) = (RecentSlides::within(Duration::from_secs(60)), token()?);
    let now = sample::now();
    slides.note(&token.clone(), now);
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        black_box(slides.is_recent(&token, now));
    }))
}

fn recent_slides_note() -> anyhow::Result<Repeat> {
    let (slides, token) = (RecentSlides::within(Duration::from_secs(60)), token()?);
    let now = sample::now();
    Ok(Box::new(move || {
        let token = black_box(&token).clone();
        slides.note(&token, now);
    }))
}
