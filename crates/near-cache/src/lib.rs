#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`SessionRepository`](tee_session_domain::SessionRepository) is the trait that
//!   [`NearCachedRepository`] implements and wraps.
//! - [`InvalidationListener`](tee_session_domain::InvalidationListener) is the trait through which
//!   a [`NearCache`] receives changes.

mod cache;
mod change_counters;
mod entries;
mod invalidation_channel;
mod repository;
mod settings;
mod single_flight;
mod statistics;
mod token_hasher;

pub use self::{cache::NearCache, repository::NearCachedRepository, settings::NearCacheSettings};
