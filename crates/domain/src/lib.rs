#![doc = include_str!("../README.md")]

mod allowed_hosts;
mod base_url;
mod changes;
mod clock;
mod cookies;
mod derivation;
mod error;
mod manager;
mod policy;
mod recent_slides;
mod repository;
mod session;
mod session_id;
mod token;

#[cfg(feature = "contract-suite")]
pub mod contract;

pub use self::{
    allowed_hosts::{AllowedHosts, InvalidAllowedHost},
    base_url::{BaseUrl, BaseUrlError, LogSafeUrl},
    changes::{ChangeListener, StoreInstance, StoreKey},
    clock::StoreClock,
    cookies::{CookieProblem, CookieRule, Cookies, CookiesError},
    derivation::{DerivedKey, TokenDerivation},
    error::{ControlCharacter, ErrorChain, RepositoryError, SessionError},
    manager::{ActiveSession, NewSession, SessionManager, SessionTtl},
    policy::{PolicyError, SessionPolicy},
    recent_slides::RecentSlides,
    repository::{InsertOutcome, PeekedSession, SessionRepository},
    session::Session,
    session_id::{ParseSessionIdError, SessionId},
    token::{ParseTokenError, SessionToken, TokenFormat, TokenPrefix, UnknownTokenFormat},
};
