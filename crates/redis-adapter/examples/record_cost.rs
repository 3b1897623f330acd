//! Measures the time to encode and decode a session record in the plain and in the sealed
//! (encrypted) format, without Redis.
//!
//! ```sh
//! cargo run --release -p tee-session-redis-adapter --features fuzzing --example record_cost
//! ```
#![expect(
    clippy::print_stdout,
    clippy::expect_used,
    reason = "a program that prints its measurements"
)]

use std::{hint::black_box, time::Instant};

use tee_session_domain::{BaseUrl, Cookies, Session, SessionAttributes, SessionToken};
use tee_session_redis_adapter::fuzzing::{decode_plain, encode_plain, open_sealed, seal};
use time::OffsetDateTime;

/// Number of calls of the measured function in one round.
const CALLS: u32 = 200_000;

/// Measures five rounds of calls, and returns the average duration of a call in the fastest round,
/// in nanoseconds.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let round = |call: &mut dyn FnMut()| {
        let started = Instant::now();
        (0..CALLS).for_each(|_| call());
        started.elapsed().as_secs_f64() * 1e9 / f64::from(CALLS)
    };
    (0..5).map(|_| round(&mut call)).fold(f64::MAX, f64::min)
}

fn main() {
    let cookies = [
        ("SESSIONID", "0123456789abcdef0123456789abcdef"),
        ("__Host-csrf", "0123456789abcdef0123456789abcdef"),
        ("lang", "en"),
    ];
    let cookies = cookies.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let session = Session {
        cookies: Cookies::new(cookies).expect("valid cookies"),
        base_url: BaseUrl::new("https://golf.example/members").expect("a valid URL"),
        created_at: OffsetDateTime::UNIX_EPOCH + time::Duration::days(20_000),
        absolute_end: None,
        attributes: SessionAttributes::default(),
    };
    let token = SessionToken::generate();
    let (plain, sealed) = (encode_plain(&session), seal(&token, &session));
    let plain_read = nanoseconds(|| drop(black_box(decode_plain(black_box(&plain)))));
    let sealed_read = nanoseconds(|| drop(black_box(open_sealed(&token, black_box(&sealed)))));
    let plain_write = nanoseconds(|| drop(black_box(encode_plain(black_box(&session)))));
    let sealed_write = nanoseconds(|| drop(black_box(seal(&token, black_box(&session)))));
    println!("nanoseconds      plain   sealed   difference");
    for (name, plain, sealed) in [
        ("read", plain_read, sealed_read),
        ("write", plain_write, sealed_write),
    ] {
        println!(
            "{name:<12} {plain:>9.0} {sealed:>8.0} {:>12.0}",
            sealed - plain
        );
    }
    println!("bytes        {:>9} {:>8}", plain.len(), sealed.len());
}
