#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`SessionRepository`](tee_session_domain::SessionRepository) is the port that
//!   [`RedisRepository`] implements.
//! - [`SessionManager`](tee_session_domain::SessionManager) uses a repository to create, find and
//!   end sessions.
//! - [`RepositoryError`](tee_session_domain::RepositoryError) is the error that all repository
//!   calls return.

mod address;
mod backoff;
mod cluster;
mod connection;
mod credentials;
mod deployment;
pub mod diagnosis;
mod error;
// The module `fuzzing` is not part of the stable API.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod idempotency;
mod invalidation;
mod pool;
mod record;
mod redis_url;
mod regular_file;
mod repository;
mod settings;
mod settings_error;
mod subjects;
mod tls;
mod url_file;
mod url_scheme;

pub use self::{
    error::{CorruptIndex, CorruptRecord, RedisFault},
    invalidation::{FeedRefused, RedisInvalidationFeed},
    record::{StorageFormat, UnknownStorageFormat},
    repository::RedisRepository,
    settings::RedisSettings,
    settings_error::RedisSettingsError,
    tls::{RedisTls, RedisTlsError},
};
