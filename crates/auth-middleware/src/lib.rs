#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`SessionManager`](tee_session_domain::SessionManager) finds the session of a token.
//! - [`SessionRepository`](tee_session_domain::SessionRepository) is the trait that every store
//!   implements.
//! - [`Session`](tee_session_domain::Session) is the type that a handler gets from
//!   [`CurrentSession`].

mod bearer;
mod challenge;
mod client_address;
mod error;
mod extractor;
mod invalid_token_limiter;
mod limit_invalid_tokens;
mod middleware;
mod problem;
mod problem_code;

pub use self::{
    bearer::BearerToken,
    challenge::{Challenge, REALM},
    client_address::{InvalidNetwork, TrustedProxies},
    error::AuthError,
    extractor::CurrentSession,
    invalid_token_limiter::{InvalidTokenLimit, InvalidTokenLimiter},
    limit_invalid_tokens::LimitInvalidTokens,
    middleware::BearerAuth,
    problem::{InvalidMember, ProblemDetails},
    problem_code::ProblemCode,
};
