#![doc = include_str!("../README.md")]

mod allowed_hosts;
mod base_url;
mod clock;
mod cookies;
mod derivation;
mod either;
mod entity_tag;
mod error;
mod hkdf;
mod idempotency;
mod idempotency_store;
mod invalidation;
mod log_limit;
mod manager;
mod policy;
mod recent_renewals;
mod recent_touches;
mod repository;
mod repository_layer;
mod repository_operations;
mod revision;
mod session;
mod session_attributes;
mod session_bytes;
mod session_entity_tag;
mod session_event;
mod session_id;
mod session_patch;
mod short_text;
mod subject_index;
mod token;
mod token_hash;

#[cfg(feature = "contract-suite")]
pub mod contract;

/// The crate [`time`](https://docs.rs/time). The API of this crate uses its types.
pub use time;

pub use self::{
    allowed_hosts::{AllowedHosts, InvalidAllowedHost},
    base_url::{BaseUrl, BaseUrlError, LogSafeUrl},
    clock::{StoreClock, monotonic_time},
    cookies::{
        CookieAttributes, CookieProblem, CookieRule, CookieUrl, Cookies, CookiesError,
        IgnoreReason, IgnoredLine, MergedCookies, OtherCookie, SetCookieLines, UnsendableCookie,
        parse_cookie_date,
    },
    derivation::{DerivedKey, TokenDerivation},
    either::{Either, EitherIdempotency, EitherIndex},
    entity_tag::EntityTag,
    error::{ControlCharacter, ErrorChain, RepositoryError, SessionError},
    idempotency::{
        Fingerprint, IdempotencyId, IdempotencyKey, IdempotencyRecord, IdempotencyState,
        IdempotentRequest, IdempotentResult,
    },
    idempotency_store::{BeginOutcome, IdempotencyStore, NoIdempotency, VersionedRecord},
    invalidation::{InvalidationListener, StoreInstance, StoreKey},
    log_limit::LogLimit,
    manager::{
        ActiveSession, FoundSession, IdempotentSession, ListedSession, LoadedForUpdate,
        MergedSession, NewSession, SessionManager, SessionPage, SessionTtl, UpdateError,
    },
    policy::{AtLimit, PolicyError, SessionPolicy, SubjectLimit},
    recent_renewals::RecentRenewals,
    recent_touches::RecentTouches,
    repository::{
        InsertOutcome, MoveOutcome, SessionRepository, SessionWithTtl, SwapOutcome,
        VersionedSession,
    },
    repository_layer::RepositoryLayer,
    revision::Revision,
    session::{Login, Session},
    session_attributes::*,
    session_bytes::SessionBytesError,
    session_event::{EndReason, SessionEvent},
    session_id::{ParseSessionIdError, SessionId},
    session_patch::SessionPatch,
    subject_index::{
        FoundRecord, IndexCursor, IndexEntry, IndexPage, IndexedSession, InvalidCursor,
        LastRevocation, NoSubjects, Removal, SubjectIndex, SubjectsNotKept,
    },
    token::{ParseTokenError, SessionToken, TokenFormat, TokenPrefix, UnknownTokenFormat},
    token_hash::TokenHash,
};
