#![doc = include_str!("../README.md")]

mod allowed_hosts;
mod base_url;
mod changes;
mod clock;
mod cookies;
mod derivation;
mod entity_tag;
mod error;
mod manager;
mod policy;
mod recent_renewals;
mod recent_slides;
mod repository;
mod session;
mod session_event;
mod session_id;
mod session_patch;
mod short_text;
mod subject;
mod subject_index;
mod token;
mod token_hash;

#[cfg(feature = "contract-suite")]
pub mod contract;

pub use self::{
    allowed_hosts::{AllowedHosts, InvalidAllowedHost},
    base_url::{BaseUrl, BaseUrlError, LogSafeUrl},
    changes::{ChangeListener, StoreInstance, StoreKey},
    clock::StoreClock,
    cookies::{CookieProblem, CookieRule, Cookies, CookiesError},
    derivation::{DerivedKey, TokenDerivation},
    entity_tag::EntityTag,
    error::{ControlCharacter, ErrorChain, RepositoryError, SessionError},
    manager::{
        ActiveSession, ListedSession, NewSession, SessionManager, SessionPage, SessionTtl,
        UpdateError,
    },
    policy::{PolicyError, SessionPolicy, SubjectLimit, WhenReached},
    recent_renewals::RecentRenewals,
    recent_slides::RecentSlides,
    repository::{
        InsertOutcome, PeekedSession, RelocateOutcome, RevisedSession, Revision, SessionRepository,
        SwapOutcome,
    },
    session::{Login, Session},
    session_event::{EndReason, SessionEvent},
    session_id::{ParseSessionIdError, SessionId},
    session_patch::SessionPatch,
    subject::{InvalidLabel, InvalidSubject, Label, Subject},
    subject_index::{
        IndexCursor, IndexEntry, IndexPage, IndexedSession, InvalidCursor, LastRevocation,
        NoSubjects, Removal, SubjectIndex, SubjectsNotKept,
    },
    token::{ParseTokenError, SessionToken, TokenFormat, TokenPrefix, UnknownTokenFormat},
    token_hash::TokenHash,
};
