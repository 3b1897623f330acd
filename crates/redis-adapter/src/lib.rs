#![doc = include_str!("../README.md")]

mod address;
mod backoff;
mod changes;
mod cluster;
mod connection;
mod credentials;
mod deployment;
pub mod diagnosis;
mod error;
// No part of the API that is kept stable.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;
mod pool;
mod record;
mod redis_url;
mod repository;
mod settings;
mod tls;

pub use self::{
    changes::{ChangesRefused, RedisChanges},
    error::{CorruptRecord, RedisFault},
    record::{StorageFormat, UnknownStorageFormat},
    repository::RedisRepository,
    settings::{RedisSettings, RedisSettingsError},
    tls::{RedisTls, RedisTlsError},
};
