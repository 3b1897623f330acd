//! Fuzz targets for all parsers of untrusted input. Each target is a plain function that panics if
//! an invariant is violated.
//!
//! `scripts/fuzz` runs the targets under libFuzzer. `tests/corpus.rs` replays the inputs in the
//! folder `corpus` as ordinary tests.
#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "a target panics if an invariant is violated"
)]

mod authorization;
mod base_url;
mod cookie_date;
mod create_body;
mod if_match;
mod line_start;
mod location;
mod merge_cookies;
mod patch_body;
mod plain_record;
mod sealed_record;
mod session_bytes;
mod set_cookie;
mod token_form;

pub use self::{
    authorization::authorization, base_url::base_url, cookie_date::cookie_date,
    create_body::create_body, if_match::if_match, location::location, merge_cookies::merge_cookies,
    patch_body::patch_body, plain_record::plain_record, sealed_record::sealed_record,
    session_bytes::session_bytes, set_cookie::set_cookie, token_form::token_form,
};

/// A fuzz target: a function that accepts any bytes, and panics if an invariant is violated.
pub type Target = fn(&[u8]);

/// All fuzz targets, each with its name. The folder of that name in `corpus` contains the inputs of
/// the target.
pub const TARGETS: [(&str, Target); 13] = [
    ("authorization", authorization),
    ("base_url", base_url),
    ("cookie_date", cookie_date),
    ("create_body", create_body),
    ("if_match", if_match),
    ("location", location),
    ("merge_cookies", merge_cookies),
    ("patch_body", patch_body),
    ("plain_record", plain_record),
    ("sealed_record", sealed_record),
    ("session_bytes", session_bytes),
    ("set_cookie", set_cookie),
    ("token_form", token_form),
];
