//! Partial update (patch) of a session.

use std::fmt;

use indexmap::IndexMap;
use zeroize::Zeroizing;

use crate::{BaseUrl, CookieProblem, Cookies, CookiesError, Session, cookies::Usage};

/// Changes to some cookies of a session and, optionally, to its base URL. A patch changes no other
/// data of the session.
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

    /// Returns the base URL that the patch sets, if it sets one.
    #[must_use]
    pub fn base_url(&self) -> Option<&BaseUrl> {
        self.base_url.as_ref()
    }

    /// Returns a copy of the session with the changes of this patch. Existing cookies keep their
    /// order, and new cookies are added at the end. All cookies may be removed.
    ///
    /// Only the cookies that the patch sets are validated. A session that another program stored
    /// may have cookies that break a rule of [`CookieRule`](crate::CookieRule). The patch keeps
    /// these cookies.
    ///
    /// # Errors
    /// Fails if a cookie that the patch sets breaks a rule for cookies, or would make the session
    /// exceed a limit. The error names every such cookie.
    pub fn apply(&self, session: &Session) -> Result<Session, CookiesError> {
        self.check(&session.cookies)?;
        let base_url = self.base_url.as_ref().unwrap_or(&session.base_url);
        let changes = self.cookies.iter();
        let changes =
            changes.map(|(name, value)| (name.as_str(), value.as_deref().map(String::as_str)));
        Ok(Session {
            cookies: session.cookies.changed(changes, base_url),
            base_url: base_url.clone(),
            ..session.clone()
        })
    }

    /// Checks each cookie that the patch sets against the rules and limits for cookies. `stored`
    /// contains the cookies of the session.
    fn check(&self, stored: &Cookies) -> Result<(), CookiesError> {
        let others = stored.others().iter();
        let others = others.map(|other| (other.name.as_str(), Some(other.value.as_str())));
        let all = stored.iter().chain(others);
        let before = Usage::of(all.clone());
        let is_kept = |(name, _): &(&str, _)| !self.cookies.contains_key(*name);
        let mut usage = Usage::of(all.filter(is_kept));
        let mut problems = Vec::new();
        for (name, value) in &self.cookies {
            let Some(value) = value else { continue };
            let checked = Cookies::check(name, Some(value));
            if let Err(rule) = checked.and_then(|()| usage.add(name, Some(value), &before)) {
                let cookie = name.clone();
                problems.push(CookieProblem { cookie, rule });
            }
        }
        if problems.is_empty() {
            Ok(())
        } else {
            Err(CookiesError { problems })
        }
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
                label: Some("telephone".parse().unwrap()),
                ..SessionAttributes::of_subject("member-4711".parse().unwrap())
            },
            ..Login::new(
                Cookies::new(cookies).unwrap(),
                BaseUrl::new("https://golf.example").unwrap(),
            )
        };
        let created_at = OffsetDateTime::UNIX_EPOCH;
        Session::new(login, created_at, Some(created_at))
    }

    fn texts(cookies: &Cookies) -> Vec<(&str, &str)> {
        let cookies = cookies.iter();
        cookies
            .map(|(name, value)| (name, value.unwrap()))
            .collect()
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
        assert_eq!(texts(&patched.cookies), expected);
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
    fn all_cookies_of_a_session_can_be_removed() {
        let patch = SessionPatch::default()
            .remove_cookie("a")
            .remove_cookie("b");
        assert!(patch.apply(&session()).unwrap().cookies.is_empty());
    }

    /// Returns a session as another program may have stored it: with a cookie name that is not
    /// allowed, and with more cookies than are allowed.
    fn session_of_another_program() -> Session {
        let many = (0..200).map(|n| (format!("c{n}"), Some("v".repeat(200))));
        let odd = ("a=b;".to_owned(), None);
        let cookies: Vec<_> = many.chain([odd]).collect();
        Session {
            cookies: Cookies::from_stored(cookies.iter().map(|(n, v)| (n, v.as_ref()))).unwrap(),
            ..session()
        }
    }

    #[test]
    fn patch_validates_only_the_cookies_that_it_sets() {
        let stored = session_of_another_program();
        let patch = SessionPatch::default()
            .set_cookie("c0", "short")
            .remove_cookie("c1")
            .set_cookie("[new]", "1");
        let patched = patch.apply(&stored).unwrap();
        assert_eq!(patched.cookies.len(), stored.cookies.len());
        assert_eq!(patched.cookies.get("[new]"), Some("1"));
        let removal = SessionPatch::default().remove_cookie("a=b;");
        let patched = removal.apply(&stored).unwrap();
        assert_eq!(patched.cookies.len(), stored.cookies.len() - 1);
    }

    #[rstest]
    #[case::more_cookies(SessionPatch::default().set_cookie("new", "1"), CookieRule::Count)]
    #[case::longer_value(
        SessionPatch::default().set_cookie("c0", "v".repeat(201)),
        CookieRule::TotalLength
    )]
    #[case::stored_name(SessionPatch::default().set_cookie("a=b;", "1"), CookieRule::Name)]
    fn patch_that_exceeds_a_limit_or_sets_an_invalid_cookie_name_is_rejected(
        #[case] patch: SessionPatch,
        #[case] rule: CookieRule,
    ) {
        let error = patch.apply(&session_of_another_program()).unwrap_err();
        let rules: Vec<_> = error.problems.iter().map(|problem| problem.rule).collect();
        assert_eq!(rules, [rule]);
    }

    #[test]
    fn patch_of_a_session_with_180_cookies_may_add_a_cookie_if_it_removes_another() {
        let full = (0..Cookies::MAX_COUNT).map(|n| (format!("c{n}"), "1".to_owned()));
        let full = Session {
            cookies: Cookies::new(full).unwrap(),
            ..session()
        };
        let exchange = SessionPatch::default()
            .set_cookie("new", "1")
            .remove_cookie("c7");
        let patched = exchange.apply(&full).unwrap();
        assert_eq!(patched.cookies.len(), Cookies::MAX_COUNT);
        let excess = exchange.set_cookie("c7", "1").apply(&full).unwrap_err();
        let named: Vec<_> = excess.problems.iter().map(|p| p.cookie.as_str()).collect();
        assert_eq!(named, ["c7"]);
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
