#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`Cookies`](tee_session_domain::Cookies) contains the cookies of a session.
//! - [`BaseUrl`](tee_session_domain::BaseUrl) is the URL of the upstream site of a session.
//! - [`SessionToken`](tee_session_domain::SessionToken) is the bearer token of a session.

mod attempts;
mod authorization;
mod builder;
mod call;
mod client;
mod client_calls;
mod cookie_attributes;
mod create;
mod credentials;
mod error;
mod etag;
mod header_fields;
mod health;
mod introspection;
mod listing;
mod merge;
mod outcome;
mod patch;
mod problem;
mod response;
mod session;
mod upstream;
mod wire;

pub use tee_session_domain::{BaseUrl, Cookies, SessionId, SessionToken};

/// HTTP types of [`UpstreamRequest`] and [`UpstreamAnswer`].
pub mod http {
    pub use reqwest::{
        Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    };
}

pub use self::{
    authorization::Authorization,
    builder::{BuildError, ClientBuilder},
    client::Client,
    create::{CreateSession, IgnoredCookie, NewSession, SessionAttributes},
    error::ClientError,
    etag::{ETag, ParseETagError},
    health::{Health, HealthStatus},
    introspection::Introspection,
    listing::{FoundSession, ListSessions, ListedSession, SessionsPage},
    merge::{IgnoredSetCookie, MergeCookies, MergedCookies},
    outcome::Outcome,
    patch::SessionPatch,
    problem::{InvalidMember, Problem, ProblemCode},
    session::{CookieHeaderError, Session, SessionClient, TimeToLive},
    upstream::{UpstreamAnswer, UpstreamRequest},
};
