//! What a bearer token stands for.

use time::OffsetDateTime;

use crate::{BaseUrl, Cookies, Label, Subject};

/// An upstream login that the broker keeps. It carries no token: only its holder knows that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The upstream site's cookies.
    pub cookies: Cookies,
    /// The upstream site.
    pub base_url: BaseUrl,
    /// When it was created, on the store's clock.
    pub created_at: OffsetDateTime,
    /// When it ends at the latest, on the store's clock, as fixed at its creation. `None`: there
    /// was no such limit, or the record does not hold it; then the limit of today counts from
    /// `created_at`.
    pub absolute_end: Option<OffsetDateTime>,
    /// Whose it is, if its creator said so.
    pub subject: Option<Subject>,
    /// What it is called, if its creator said so.
    pub label: Option<Label>,
}

impl Session {
    /// The session that keeps `login`, created at `created_at` and over at `absolute_end`, if ever.
    #[must_use]
    pub fn new(
        login: Login,
        created_at: OffsetDateTime,
        absolute_end: Option<OffsetDateTime>,
    ) -> Self {
        let Login {
            cookies,
            base_url,
            subject,
            label,
        } = login;
        Self {
            cookies,
            base_url,
            created_at,
            absolute_end,
            subject,
            label,
        }
    }
}

/// An upstream login that is to be kept: what a [`Session`] is made of.
///
/// ```
/// use tee_session_domain::{BaseUrl, Cookies, Login};
///
/// let cookies = Cookies::new([("SESSIONID".to_owned(), "a1b2c3".to_owned())])?;
/// let login = Login {
///     subject: Some("member-4711".parse()?),
///     ..Login::new(cookies, BaseUrl::new("https://golf.example")?)
/// };
/// assert_eq!(login.label, None);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Login {
    /// The upstream site's cookies.
    pub cookies: Cookies,
    /// The upstream site.
    pub base_url: BaseUrl,
    /// Whose it is.
    pub subject: Option<Subject>,
    /// What it is to be called where sessions are listed.
    pub label: Option<Label>,
}

impl Login {
    /// A login of nobody in particular.
    #[must_use]
    pub fn new(cookies: Cookies, base_url: BaseUrl) -> Self {
        Self {
            cookies,
            base_url,
            subject: None,
            label: None,
        }
    }
}
