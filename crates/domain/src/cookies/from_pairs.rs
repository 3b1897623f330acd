//! Conversion of pairs of names and values, such as a map or a list of string literals, to cookies.

use super::{Cookies, CookiesError};

impl Cookies {
    /// Validates cookies like [`new`](Self::new). Accepts any pairs of texts: string literals, a
    /// `HashMap`, a reference to a map, or a list of pairs.
    ///
    /// ```
    /// use std::collections::BTreeMap;
    /// use tee_session_domain::Cookies;
    ///
    /// let cookies = Cookies::from_pairs([("SESSIONID", "a1b2c3"), ("lang", "en")])?;
    /// let jar = BTreeMap::from([("SESSIONID".to_owned(), "a1b2c3"), ("lang".to_owned(), "en")]);
    /// assert_eq!(Cookies::from_pairs(jar)?, cookies);
    /// # Ok::<(), tee_session_domain::CookiesError>(())
    /// ```
    ///
    /// # Errors
    /// Returns the same errors as [`new`](Self::new).
    pub fn from_pairs<N: Into<String>, V: Into<String>>(
        cookies: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, CookiesError> {
        let cookies = cookies.into_iter();
        Self::new(cookies.map(|(name, value)| -> (String, String) { (name.into(), value.into()) }))
    }
}
