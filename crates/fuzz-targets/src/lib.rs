//! What a fuzzer throws input at: every parser of untrusted input, as a plain function that
//! panics when a promise is broken.
//!
//! `scripts/fuzz` runs them under libFuzzer; `tests/corpus.rs` replays what is in `corpus/` as an
//! ordinary test.
#![expect(
    clippy::missing_panics_doc,
    clippy::expect_used,
    reason = "a target panics when a promise is broken"
)]

mod authorization;
mod base_url;
mod create_body;
mod if_match;
mod patch_body;
mod plain_record;
mod sealed_record;
mod token_form;

pub use self::{
    authorization::authorization, base_url::base_url, create_body::create_body, if_match::if_match,
    patch_body::patch_body, plain_record::plain_record, sealed_record::sealed_record,
    token_form::token_form,
};

/// Any input will do.
pub type Target = fn(&[u8]);

/// Every target by its name, which is also that of its folder in `corpus/`.
pub const TARGETS: [(&str, Target); 8] = [
    ("authorization", authorization),
    ("base_url", base_url),
    ("create_body", create_body),
    ("if_match", if_match),
    ("patch_body", patch_body),
    ("plain_record", plain_record),
    ("sealed_record", sealed_record),
    ("token_form", token_form),
];
