//! Partial update (patch) of a session.

use std::fmt;

use indexmap::IndexMap;
use zeroize::Zeroizing;

use crate::{BaseUrl, Cookies, CookiesError, Session};

/// Changes to some cookies of a session and, optionally, to its base URL. Applying the changes
/// leaves all other attributes of the session unchanged.
///
/// Cookie names and values are secrets: `Debug` shows only the number of changed cookies.
///
/// ```
/// use time::OffsetDateTime;
/// use tee_session_domain::{BaseUrl, Cookies, Login, Session, SessionPatch};
///
/// let given = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
/// let login = Login::new(Cookies::new(given)?, BaseUrl::new("https://golf.example")?);
/// let session = Session::new(login, OffsetDateTime::UNIX_EPOCH, None);
///
/// let patch = SessionPatch::default().remove_cookie("a").set_cookie("c", "3");
/// let patched = patch.apply(&session)?;
/// let names: Vec<_> = patched.cookies.iter().map(|(name, _)| name).collect();
/// assert_eq!(names, ["b", "c"]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Default)]
pub struct SessionPatch {
    /// New cookie values by cookie name. `None` removes the cookie.
    cookies: IndexMap<String, Option<Zeroizing<String>>>,
    base_url: Option<BaseUrl>,
}

impl SessionPatch {
    /// Changes the value of the cookie `name`, or adds the cookie if the session does not have it.
    #[must_use]
    pub fn set_cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        self.cookies.insert(name.into(), Some(value));
        self
    }

    /// Removes the cookie `name`. If the session has no such cookie, the removal changes nothing.
    #[must_use]
    pub fn remove_cookie(mut self, name: impl Into<String>) -> Self {
        self.cookies.insert(name.into(), None);
        self
    }

    /// Replaces the base URL of the session.
    #[must_use]
    pub fn set_base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// Returns a copy of the session with the changes of this patch. Existing cookies keep their
    /// order, and new cookies are added at the end.
    ///
    /// # Errors
    /// Fails if the changed cookies break a rule, for example because no cookie is left.
    pub fn apply(&self, session: &Session) -> Result<Session, CookiesError> {
        let mut cookies: IndexMap<&str, &str> = session.cookies.iter().collect();
        for (name, value) in &self.cookies {
            match value {
                Some(value) => cookies.insert(name, value),
                None => cookies.shift_remove(name.as_str()),
            };
        }
        let cookies = cookies.into_iter();
        let cookies = cookies.map(|(name, value)| (name.to_owned(), value.to_owned()));
        Ok(Session {
            cookies: Cookies::new(cookies)?,
            base_url: self.base_url.as_ref().unwrap_or(&session.base_url).clone(),
            ..session.clone()
        })
    }
}

impl fmt::Debug for SessionPatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionPatch")
            .field("cookies", &format_args!("{} redacted", self.cookies.len()))
            .field("base_url", &self.base_url)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use time::OffsetDateTime;

    use super::*;
    use crate::{CookieRule, Login, SessionAttributes};

    fn session() -> Session {
        let cookies = [("a", "1"), ("b", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let login = Login {
            attributes: SessionAttributes {
                subject: Some("member-4711".parse().unwrap()),
                label: Some("telephone".parse().unwrap()),
            },
            ..Login::new(
                Cookies::new(cookies).unwrap(),
                BaseUrl::new("https://golf.example").unwrap(),
            )
        };
        let created_at = OffsetDateTime::UNIX_EPOCH;
        Session::new(login, created_at, Some(created_at))
    }

    #[rstest]
    #[case::empty_patch(SessionPatch::default(), &[("a", "1"), ("b", "2")])]
    #[case::another_value(SessionPatch::default().set_cookie("a", "3"), &[("a", "3"), ("b", "2")])]
    #[case::new_cookie(
        SessionPatch::default().set_cookie("c", "3"),
        &[("a", "1"), ("b", "2"), ("c", "3")]
    )]
    #[case::removed_cookie(SessionPatch::default().remove_cookie("a"), &[("b", "2")])]
    #[case::removal_of_an_unknown_cookie(
        SessionPatch::default().remove_cookie("c"),
        &[("a", "1"), ("b", "2")]
    )]
    #[case::last_change_of_a_cookie_wins(
        SessionPatch::default().remove_cookie("a").set_cookie("a", "3"),
        &[("a", "3"), ("b", "2")]
    )]
    fn patch_sets_and_removes_cookies(
        #[case] patch: SessionPatch,
        #[case] expected: &[(&str, &str)],
    ) {
        let patched = patch.apply(&session()).unwrap();
        assert_eq!(patched.cookies.iter().collect::<Vec<_>>(), expected);
        let others = Session {
            cookies: session().cookies,
            ..patched
        };
        assert_eq!(others, session());
    }

    #[test]
    fn patch_of_the_base_url_changes_nothing_else() {
        let other = BaseUrl::new("https://tennis.example").unwrap();
        let patched = SessionPatch::default()
            .set_base_url(other.clone())
            .apply(&session());
        let expected = Session {
            base_url: other,
            ..session()
        };
        assert_eq!(patched.unwrap(), expected);
    }

    #[test]
    fn removing_the_last_cookie_is_rejected() {
        let patch = SessionPatch::default()
            .remove_cookie("a")
            .remove_cookie("b");
        let error = patch.apply(&session()).unwrap_err();
        let rules: Vec<_> = error.problems.iter().map(|problem| problem.rule).collect();
        assert_eq!(rules, [CookieRule::Count]);
    }

    #[test]
    fn debug_output_of_a_patch_shows_no_cookie() {
        let shown = format!("{:?}", SessionPatch::default().set_cookie("name", "s3cret"));
        assert!(
            !shown.contains("s3cret") && !shown.contains("name"),
            "{shown}"
        );
    }
}
