//! Reasons why the gateway is not allowed to call a site.

use tee_session_upstream::ForbiddenAddress;
use thiserror::Error;

/// Reason why the gateway is not allowed to call the site of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub(crate) enum NotCallable {
    #[error("the host of the base URL is not in allowed_base_hosts")]
    Host,
    #[error(transparent)]
    Address(#[from] ForbiddenAddress),
}

impl NotCallable {
    /// Returns the `detail` member of the problem that the client receives.
    pub(crate) fn detail(self) -> &'static str {
        match self {
            Self::Host => {
                "The gateway may not call the host of the session's base URL (setting: \
                 allowed_base_hosts)"
            }
            Self::Address(ForbiddenAddress::Http) => {
                "The gateway calls sites over https only (setting: upstream_allow_http); the base \
                 URL of the session begins with http"
            }
            Self::Address(_) => {
                "The gateway may not call the address or port of the site (setting: \
                 upstream_allowed_networks)"
            }
        }
    }
}
