#![doc = include_str!("../README.md")]

mod repository;
mod shard;
mod subject_entries;

pub use self::repository::{CapacityReached, MemoryRepository};
