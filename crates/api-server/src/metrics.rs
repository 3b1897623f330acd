//! Prometheus metrics: catalogue of names and descriptions, counters and gauges, and the listener
//! that serves `/metrics`.

pub(crate) mod cached;
pub(crate) mod catalogue;
pub(crate) mod cookie_merges;
pub(crate) mod gauges;
pub(crate) mod ignored_cookies;
pub(crate) mod listener;
pub(crate) mod session_events;
