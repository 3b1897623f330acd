#![doc = include_str!("../README.md")]

mod cache;
mod channel;
mod entries;
mod flights;
mod names;
mod repository;
mod settings;
mod statistics;
mod versions;

pub use self::{cache::NearCache, repository::NearCachedRepository, settings::NearCacheSettings};
