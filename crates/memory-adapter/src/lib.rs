#![doc = include_str!("../README.md")]
//!
//! # Types of other crates
//!
//! - [`SessionRepository`](tee_session_domain::SessionRepository) is the trait that
//!   [`MemoryRepository`] implements.
//! - [`SessionManager`](tee_session_domain::SessionManager) uses a repository to create, find and
//!   end sessions.

mod idempotency_records;
mod repository;
mod revision;
mod shard;
mod subject_entries;
mod wall_clock;

pub use self::repository::{CapacityReached, MemoryRepository};
