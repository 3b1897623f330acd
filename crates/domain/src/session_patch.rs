//! A change to a session.

use std::fmt;

use indexmap::IndexMap;
use zeroize::Zeroizing;

use crate::{BaseUrl, Cookies, CookiesError, Session};

/// What is to be changed of a session: some cookies, and perhaps the base URL. All else stays.
///
/// Values are secrets: `Debug` shows how many cookies it changes and nothing of them.
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
    /// New values by name; `None` removes the cookie.
    cookies: IndexMap<String, Option<Zeroizing<String>>>,
    base_url: Option<BaseUrl>,
}

impl SessionPatch {
    /// Gives the cookie a value, whether or not there is one of that name.
    #[must_use]
    pub fn set_cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        let value = Zeroizing::new(value.into());
        self.cookies.insert(name.into(), Some(value));
        self
    }

    /// Removes the cookie, if there is one of that name.
    #[must_use]
    pub fn remove_cookie(mut self, name: impl Into<String>) -> Self {
        self.cookies.insert(name.into(), None);
        self
    }

    /// Sets the base URL.
    #[must_use]
    pub fn set_base_url(mut self, base_url: BaseUrl) -> Self {
        self.base_url = Some(base_url);
        self
    }

    /// The session as it is after the change. Cookies keep their order; new ones come last.
    ///
    /// # Errors
    /// When the cookies would break a rule; one rule is that there is at least one.
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
    use crate::{CookieRule, Login};

    fn session() -> Session {
        let cookies = [("a", "1"), ("b", "2")].map(|(n, v)| (n.to_owned(), v.to_owned()));
        let login = Login {
            subject: Some("member-4711".parse().unwrap()),
            label: Some("telephone".parse().unwrap()),
            ..Login::new(
                Cookies::new(cookies).unwrap(),
                BaseUrl::new("https://golf.example").unwrap(),
            )
        };
        let created_at = OffsetDateTime::UNIX_EPOCH;
        Session::new(login, created_at, Some(created_at))
    }

    #[rstest]
    #[case::nothing(SessionPatch::default(), &[("a", "1"), ("b", "2")])]
    #[case::another_value(SessionPatch::default().set_cookie("a", "3"), &[("a", "3"), ("b", "2")])]
    #[case::one_more(SessionPatch::default().set_cookie("c", "3"), &[("a", "1"), ("b", "2"), ("c", "3")])]
    #[case::one_less(SessionPatch::default().remove_cookie("a"), &[("b", "2")])]
    #[case::none_to_remove(SessionPatch::default().remove_cookie("c"), &[("a", "1"), ("b", "2")])]
    #[case::the_last_word_counts(
        SessionPatch::default().remove_cookie("a").set_cookie("a", "3"),
        &[("a", "3"), ("b", "2")]
    )]
    fn cookies_are_set_and_removed(#[case] patch: SessionPatch, #[case] expected: &[(&str, &str)]) {
        let patched = patch.apply(&session()).unwrap();
        assert_eq!(patched.cookies.iter().collect::<Vec<_>>(), expected);
        let others = Session {
            cookies: session().cookies,
            ..patched
        };
        assert_eq!(others, session());
    }

    #[test]
    fn the_base_url_is_set_and_all_else_stays() {
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
    fn a_session_without_a_cookie_is_none() {
        let patch = SessionPatch::default()
            .remove_cookie("a")
            .remove_cookie("b");
        let error = patch.apply(&session()).unwrap_err();
        let rules: Vec<_> = error.problems.iter().map(|problem| problem.rule).collect();
        assert_eq!(rules, [CookieRule::Count]);
    }

    #[test]
    fn debug_shows_no_cookie() {
        let shown = format!("{:?}", SessionPatch::default().set_cookie("name", "s3cret"));
        assert!(
            !shown.contains("s3cret") && !shown.contains("name"),
            "{shown}"
        );
    }
}
