#![doc = include_str!("../README.md")]

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
