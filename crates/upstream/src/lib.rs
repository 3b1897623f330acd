#![doc = include_str!("../README.md")]

mod addresses;
mod answer;
mod body;
mod client;
mod coding;
mod connect_error;
mod connection;
mod connector;
mod error;
mod exchange_limits;
mod fields;
mod location;
mod login;
mod lookup;
mod observer;
mod pool;
mod request;
mod request_fields;
mod response_fields;
mod settings;
mod site;
mod site_stream;
mod target;

// The module `fuzzing` is not part of the stable API of this crate.
#[cfg(feature = "fuzzing")]
#[doc(hidden)]
pub mod fuzzing;

/// The crate [`http`](https://docs.rs/http). The API of this crate uses its types.
pub use http;
/// The crate [`rustls`](https://docs.rs/rustls). [`Client::new`] takes its client configuration.
pub use rustls;

pub use self::{
    addresses::{
        AddressPolicy, AllowedNetworks, ForbiddenAddress, InvalidNetwork, NonPublicAddress,
    },
    answer::SiteAnswer,
    body::{BodyError, SiteBody},
    client::Client,
    connect_error::ConnectError,
    error::{FailedReason, NotAllowed, Outcome, RefusedAnswer, SendError, UpstreamError},
    exchange_limits::{Admission, Busy, ExchangeLimitSettings, ExchangeLimits, Place, Watch},
    login::{LoginSignal, LoginSignals},
    lookup::{Lookup, LookupFuture, SystemLookup},
    observer::Observer,
    request::{SiteRequest, asks_for_websocket},
    settings::ClientSettings,
    site::{Site, UnknownSite},
    target::{InvalidTarget, Target},
};
