//! Upstream gateway: sends requests of clients to the site of their session.

mod advice;
mod delivery;
pub(crate) mod exchange;
mod fault_limit;
pub(crate) mod from_site;
pub(crate) mod gateway;
mod late_merges;
mod log;
mod messages;
pub(crate) mod metrics;
pub(crate) mod not_callable;
mod response;
mod site_cookies;

pub(crate) use self::{
    advice::setting_of,
    from_site::{is_answer_of_site, is_from_site},
    gateway::Gateway,
    messages::{COOKIES_UNSAVED, is_websocket},
};
