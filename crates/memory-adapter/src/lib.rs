#![doc = include_str!("../README.md")]

mod repository;
mod shard;

pub use self::repository::{CapacityReached, MemoryRepository};
