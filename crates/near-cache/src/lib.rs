#![doc = include_str!("../README.md")]

mod cache;
mod channel;
mod entries;
mod flights;
mod repository;
mod settings;
mod statistics;
mod token_hasher;
mod versions;

pub use self::{cache::NearCache, repository::NearCachedRepository, settings::NearCacheSettings};
