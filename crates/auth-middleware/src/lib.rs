#![doc = include_str!("../README.md")]

mod bearer;
mod challenge;
mod error;
mod extractor;
mod failure_log;
mod middleware;
mod problem;

pub use self::{
    bearer::BearerToken,
    challenge::{Challenge, REALM},
    error::AuthError,
    extractor::CurrentSession,
    middleware::BearerAuth,
    problem::{InvalidMember, ProblemCode, ProblemDetails},
};
