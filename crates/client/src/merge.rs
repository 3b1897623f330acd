//! Request and response for merging the cookies that a site has set.

use indexmap::IndexMap;
use reqwest::{Method, header::IF_MATCH};
use serde::{Deserialize, Serialize, Serializer};
use zeroize::Zeroizing;

use crate::{ClientError, ETag, Session, SessionClient, attempts::RetryPolicy, call::JSON};

impl<'a> SessionClient<'a> {
    /// Merges the `Set-Cookie` header fields of an answer of the site into the session (`POST
    /// /v1/session/cookies`), by the rules of browsers. `url` is the URL of the request that the
    /// site has answered. Renews the idle timeout of the session.
    ///
    /// ```no_run
    /// # async fn example(
    /// #     client: tee_session_client::Client,
    /// #     token: tee_session_client::SessionToken,
    /// # ) -> Result<(), tee_session_client::ClientError> {
    /// let lines = ["SESSIONID=d4e5f6; Path=/; Secure; HttpOnly"];
    /// let session = client.session(&token);
    /// let merged = session.merge_cookies("https://golf.example/book", lines).send().await?;
    /// assert_eq!(merged.session.cookies.get("SESSIONID"), Some("d4e5f6"));
    /// # Ok(())
    /// # }
    /// ```
    pub fn merge_cookies(
        self,
        url: &'a str,
        lines: impl IntoIterator<Item = impl Into<String>>,
    ) -> MergeCookies<'a> {
        MergeCookies::new(self, url, lines)
    }
}

/// A call that merges `Set-Cookie` lines into a session, returned by
/// [`SessionClient::merge_cookies`]. [`send`](Self::send) sends the request.
#[must_use = "the request is only sent by `send`"]
pub struct MergeCookies<'a> {
    session: SessionClient<'a>,
    body: Body<'a>,
    if_match: Option<&'a ETag>,
}

#[derive(Serialize)]
struct Body<'a> {
    url: &'a str,
    #[serde(serialize_with = "as_list")]
    set_cookie: Zeroizing<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    date: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sent: Option<IndexMap<&'a str, Option<&'a str>>>,
}

impl<'a> MergeCookies<'a> {
    pub(crate) fn new(
        session: SessionClient<'a>,
        url: &'a str,
        lines: impl IntoIterator<Item = impl Into<String>>,
    ) -> Self {
        let lines = lines.into_iter().map(Into::into).collect();
        Self {
            session,
            body: Body {
                url,
                set_cookie: Zeroizing::new(lines),
                date: None,
                sent: None,
            },
            if_match: None,
        }
    }

    /// Sets the value of the header field `Date` of the answer. A cookie with `Expires` lives for
    /// the time from `Date` to `Expires`, so that a wrong clock of the site has no effect.
    pub fn date(mut self, date: &'a str) -> Self {
        self.body.date = Some(date);
        self
    }

    /// Sets the cookies that the request to the site carried, as pairs of name and value. The
    /// answer then removes a cookie only if the stored value of the cookie is the value that was
    /// sent. Without this check, a late answer to a request with an old value could remove a newer
    /// value.
    ///
    /// A value is a text, or `None` for a cookie without a value. If a name occurs several times, the
    /// first value counts: in a `Cookie` header field, it is the value of the cookie with the longest
    /// path.
    pub fn sent<V>(mut self, cookies: impl IntoIterator<Item = (&'a str, V)>) -> Self
    where
        V: Into<Option<&'a str>>,
    {
        let mut sent = IndexMap::new();
        for (name, value) in cookies {
            sent.entry(name).or_insert_with(|| value.into());
        }
        self.body.sent = Some(sent);
        self
    }

    /// Makes the merge conditional: the service merges the cookies only if the session has not
    /// changed since the service returned `etag`.
    pub fn if_match(mut self, etag: &'a ETag) -> Self {
        self.if_match = Some(etag);
        self
    }

    /// Sends the request. A request that was sent is never retried, because a retry could undo
    /// changes that other clients made between the two attempts.
    ///
    /// # Errors
    /// Returns a [`ClientError`]. If `url` differs from the session's base URL in scheme, host or
    /// port, the error is a [`Problem`](crate::Problem) with the code
    /// [`InvalidSession`](crate::ProblemCode::InvalidSession).
    pub async fn send(self) -> Result<MergedCookies, ClientError> {
        let path = "/v1/session/cookies";
        let call = self.session.call(Method::POST, path, RetryPolicy::Never);
        let mut call = call.with_json(JSON, &self.body)?;
        if let Some(etag) = self.if_match {
            call = call.with_header(IF_MATCH, etag.as_str(), false);
        }
        let response = call.send().await?;
        let Ignored { ignored } = response.decode("a session with ignored lines")?;
        let session = Session::from_response(&response)?;
        Ok(MergedCookies { session, ignored })
    }
}

fn as_list<S: Serializer>(lines: &[String], serializer: S) -> Result<S::Ok, S::Error> {
    lines.serialize(serializer)
}

/// Session after a merge of cookies, returned by [`MergeCookies::send`].
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct MergedCookies {
    /// The session with the merged cookies. The cookies in it have no attributes. To get the
    /// attributes, use [`SessionClient::get_with_attributes`].
    pub session: Session,
    /// `Set-Cookie` lines that the service ignored.
    pub ignored: Vec<IgnoredSetCookie>,
}

#[derive(Deserialize)]
struct Ignored {
    ignored: Vec<IgnoredSetCookie>,
}

/// A `Set-Cookie` line that the service ignored, because browsers would ignore it too, or because
/// the session has no room for the cookie.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct IgnoredSetCookie {
    /// Position of the `Set-Cookie` line in the request, from 0.
    pub index: usize,
    /// Machine-readable reason why the service ignored the `Set-Cookie` line: `syntax`, `domain`,
    /// `insecure`, `prefix`, `too_large` or `full`. A later release of the service may have more
    /// reasons.
    pub reason: String,
}
