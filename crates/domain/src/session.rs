//! Session: the cookies and the base URL of the upstream site that belong to a bearer token.

use time::OffsetDateTime;

use crate::{BaseUrl, Cookies, SessionAttributes};

/// Data of a session: the cookies and the base URL of the upstream site, the creation time, the end
/// of the absolute lifetime, the subject and the label. The bearer token is not part of the data,
/// because only the client knows the token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Cookies of the upstream site.
    pub cookies: Cookies,
    /// Base URL of the upstream site.
    pub base_url: BaseUrl,
    /// Creation time of the session on the store's clock.
    pub created_at: OffsetDateTime,
    /// End of the absolute lifetime on the store's clock, fixed when the session was created.
    /// `None` if the session was created without an absolute lifetime, or if the stored record does
    /// not contain the end. In both cases, the absolute lifetime of the current policy applies,
    /// counted from `created_at`.
    pub absolute_end: Option<OffsetDateTime>,
    /// Subject and label that the client set when it created the session.
    pub attributes: SessionAttributes,
}

impl Session {
    /// Creates a session from `login`. `absolute_end` is the end of the absolute lifetime, or
    /// `None` if the policy has no absolute lifetime.
    #[must_use]
    pub fn new(
        login: Login,
        created_at: OffsetDateTime,
        absolute_end: Option<OffsetDateTime>,
    ) -> Self {
        let Login {
            cookies,
            base_url,
            attributes,
        } = login;
        Self {
            cookies,
            base_url,
            created_at,
            absolute_end,
            attributes,
        }
    }

    /// Returns the session without cookies that have expired at the time `now`, because browsers do
    /// not send expired cookies.
    pub(crate) fn without_expired_cookies(self, now: OffsetDateTime) -> Self {
        match self.cookies.without_expired(&self.base_url, now) {
            Some(cookies) => Self { cookies, ..self },
            None => self,
        }
    }
}

/// Input for creating a [`Session`]: the cookies and the base URL of the upstream site, and the
/// subject and label of the session.
///
/// ```
/// use tee_session_domain::{BaseUrl, Cookies, Login, SessionAttributes};
///
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let login = Login {
///     attributes: SessionAttributes::of_subject("member-4711".parse()?),
///     ..Login::new(cookies, BaseUrl::new("https://golf.example")?)
/// };
/// assert_eq!(login.attributes.label, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// Cookies of the upstream site.
    pub cookies: Cookies,
    /// Base URL of the upstream site.
    pub base_url: BaseUrl,
    /// Subject and label of the session to be created.
    pub attributes: SessionAttributes,
}

impl Login {
    /// Creates the input for a session without subject and label.
    #[must_use]
    pub fn new(cookies: Cookies, base_url: BaseUrl) -> Self {
        Self {
            cookies,
            base_url,
            attributes: SessionAttributes::default(),
        }
    }
}
