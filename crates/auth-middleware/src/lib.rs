#![doc = include_str!("../README.md")]

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
