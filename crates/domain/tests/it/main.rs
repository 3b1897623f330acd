//! Integration tests of the domain: the example of an adapter, and the table of `Set-Cookie` lines.
#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    reason = "a test fails by panicking"
)]

mod map_adapter;
mod set_cookie_table;
