//! Response body with a session.
//!
//! The JSON is written by hand, because most requests are answered with a session. A general
//! serializer took a fifth of the CPU instructions of such a request.

use actix_web::HttpResponse;
use tee_session_domain::{ActiveSession, Cookies, IgnoredLine, SessionId};
use utoipa::ToSchema;

use super::{
    ignored_cookie::IgnoredLineBody,
    jar_members::{AttributesBody, JarMembers, OtherCookieBody},
    json_response::{USUAL_LEN, ok_json},
    session_attributes::AttributeMembers,
    timestamp::{TIMESTAMP_LEN, Timestamp},
};
use crate::openapi::schemas;

/// Response to `GET /v1/session`, `PATCH /v1/session` and `POST /v1/session/cookies`.
#[derive(ToSchema)]
pub(crate) struct SessionBody<'a> {
    #[schema(schema_with = schemas::session_id)]
    session_id: SessionId,
    #[schema(schema_with = schemas::cookies, required = false)]
    cookies: &'a Cookies,
    /// Names of the cookies. In place of `cookies`, if the operator has set `hide_cookies`.
    #[schema(value_type = Vec<String>, required = false)]
    cookie_names: Requested,
    #[schema(schema_with = schemas::base_url)]
    base_url: &'a str,
    #[schema(schema_with = schemas::created_at)]
    created_at: Timestamp,
    #[schema(schema_with = schemas::expires_at)]
    expires_at: Timestamp,
    #[schema(ignore)]
    attributes: AttributeMembers<'a>,
    /// Attributes of the cookies that the site has set, by name. Only with `attributes=true`.
    #[schema(value_type = std::collections::BTreeMap<String, AttributesBody<'a>>, required = false)]
    cookie_attributes: Requested,
    /// Cookies whose name `cookies` already contains, with another domain or path. Only with
    /// `attributes=true`.
    #[schema(value_type = Vec<OtherCookieBody<'a>>, required = false)]
    other_cookies: Requested,
    /// Lines that were ignored. Only in the response to `POST /v1/session/cookies`.
    #[schema(value_type = Vec<IgnoredLineBody>, required = false)]
    ignored: Option<&'a [IgnoredLine]>,
}

/// `true` if the response contains the member, and `false` if it leaves the member out.
type Requested = bool;

impl<'a> SessionBody<'a> {
    pub(crate) fn new(session_id: SessionId, active: &'a ActiveSession) -> Self {
        let session = &active.session;
        Self {
            session_id,
            cookies: &session.cookies,
            cookie_names: false,
            base_url: session.base_url.as_str(),
            created_at: Timestamp(session.created_at),
            expires_at: Timestamp(active.expires_at),
            attributes: AttributeMembers::of(&session.attributes),
            cookie_attributes: false,
            other_cookies: false,
            ignored: None,
        }
    }

    /// Adds the attributes of the cookies if `is_requested` is `true`.
    pub(crate) fn with_attributes(mut self, is_requested: bool) -> Self {
        self.cookie_attributes = is_requested;
        self.other_cookies = is_requested;
        self
    }

    /// Replaces the cookies by their names if `is_hidden` is `true`.
    pub(crate) fn with_hidden_cookies(mut self, is_hidden: bool) -> Self {
        self.cookie_names = is_hidden;
        self
    }

    /// Adds the `Set-Cookie` lines of the request that were ignored.
    pub(crate) fn with_ignored(mut self, ignored: &'a [IgnoredLine]) -> Self {
        self.ignored = Some(ignored);
        self
    }

    /// Builds a response with status 200 and the session as its JSON body.
    pub(crate) fn response(&self) -> HttpResponse {
        ok_json(self.to_json())
    }

    fn to_json(&self) -> serde_json::Result<Vec<u8>> {
        let mut json = Vec::with_capacity(USUAL_LEN);
        json.extend_from_slice(br#"{"session_id":"#);
        push_string(
            &mut json,
            self.session_id.encode(&mut [0; SessionId::TEXT_LEN]),
        )?;
        if self.cookie_names {
            self.push_cookie_names(&mut json)?;
        } else {
            self.push_cookies(&mut json)?;
        }
        json.extend_from_slice(br#","base_url":"#);
        push_string(&mut json, self.base_url)?;
        json.extend_from_slice(br#","created_at":"#);
        push_time(&mut json, &self.created_at)?;
        json.extend_from_slice(br#","expires_at":"#);
        push_time(&mut json, &self.expires_at)?;
        for (name, text) in self.attributes.texts() {
            if let Some(text) = text {
                json.extend_from_slice(name);
                push_string(&mut json, text)?;
            }
        }
        if self.cookie_attributes && self.other_cookies {
            let jar = JarMembers::of(self.cookies);
            json.extend_from_slice(br#","cookie_attributes":"#);
            serde_json::to_writer(&mut json, &jar.cookie_attributes)?;
            json.extend_from_slice(br#","other_cookies":"#);
            serde_json::to_writer(&mut json, &jar.other_cookies)?;
        }
        if let Some(ignored) = self.ignored {
            let ignored: Vec<IgnoredLineBody> = ignored.iter().map(Into::into).collect();
            json.extend_from_slice(br#","ignored":"#);
            serde_json::to_writer(&mut json, &ignored)?;
        }
        json.push(b'}');
        Ok(json)
    }

    fn push_cookies(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        json.extend_from_slice(br#","cookies":{"#);
        for (index, (name, value)) in self.cookies.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            push_string(json, name)?;
            json.push(b':');
            match value {
                Some(value) => push_string(json, value)?,
                None => json.extend_from_slice(b"null"),
            }
        }
        json.push(b'}');
        Ok(())
    }

    fn push_cookie_names(&self, json: &mut Vec<u8>) -> serde_json::Result<()> {
        json.extend_from_slice(br#","cookie_names":["#);
        for (index, (name, _)) in self.cookies.iter().enumerate() {
            if index > 0 {
                json.push(b',');
            }
            push_string(json, name)?;
        }
        json.push(b']');
        Ok(())
    }
}

fn push_time(json: &mut Vec<u8>, time: &Timestamp) -> serde_json::Result<()> {
    let mut text = [0; TIMESTAMP_LEN];
    match time.write(&mut text) {
        Some(text) => push_string(json, text),
        // RFC 3339 cannot express the year of `time`. The serializer of `Timestamp` returns the
        // error for this case.
        None => serde_json::to_writer(json, time),
    }
}

/// Appends `text` to `json` as a JSON string.
fn push_string(json: &mut Vec<u8>, text: &str) -> serde_json::Result<()> {
    let is_escaped = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
    // `fold` checks all bytes instead of stopping at the first byte to escape, so that the compiler
    // can vectorize the loop.
    if text.bytes().fold(false, |any, byte| any | is_escaped(byte)) {
        return serde_json::to_writer(json, text);
    }
    json.push(b'"');
    json.extend_from_slice(text.as_bytes());
    json.push(b'"');
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;
    use tee_session_domain::{BaseUrl, Login, Session, SessionAttributes, SessionToken};
    use time::{Duration, OffsetDateTime};

    use super::*;

    fn active(cookies: Vec<(String, Option<String>)>, names: bool) -> ActiveSession {
        let attributes = || SessionAttributes {
            label: r#"Ann's "phone""#.parse().ok(),
            ..SessionAttributes::of_subject("member-4711".parse().unwrap())
        };
        let login = Login {
            attributes: names.then(attributes).unwrap_or_default(),
            ..Login::new(
                Cookies::new(cookies).unwrap(),
                BaseUrl::new("https://golf.example/members?q=\"ä\"").unwrap(),
            )
        };
        let created_at = OffsetDateTime::UNIX_EPOCH + Duration::microseconds(1_768_473_000_123_456);
        ActiveSession {
            session: Session::new(login, created_at, None),
            expires_at: created_at + Duration::minutes(30),
        }
    }

    #[test]
    fn json_omits_subject_and_label_if_the_session_has_none() {
        let active = active(vec![("a".to_owned(), Some(r#"1"2\3"#.to_owned()))], false);
        let id = SessionId::of(&SessionToken::generate());
        let json = SessionBody::new(id, &active).to_json().unwrap();
        let expected = format!(
            r#"{{"session_id":"{id}","cookies":{{"a":"1\"2\\3"}},"base_url":"https://golf.example/members?q=\"ä\"","created_at":"2026-01-15T10:30:00.123456Z","expires_at":"2026-01-15T11:00:00.123456Z"}}"#
        );
        assert_eq!(String::from_utf8(json).unwrap(), expected);
    }

    proptest! {
        #[test]
        fn json_contains_all_data_of_the_session(
            value in proptest::option::of("(\\PC|[\t\u{80}-\u{9f}]){0,60}"),
            other in "[!-~]{0,40}",
            names: bool,
        ) {
            let cookies = vec![
                ("first".to_owned(), value.clone()),
                ("second [a b]".to_owned(), Some(other.clone())),
            ];
            let active = active(cookies, names);
            let id = SessionId::of(&SessionToken::generate());
            let json = SessionBody::new(id, &active).to_json().unwrap();
            let mut expected = json!({
                "session_id": id.to_string(),
                "cookies": {"first": value, "second [a b]": other},
                "base_url": active.session.base_url.as_str(),
                "created_at": Timestamp(active.session.created_at),
                "expires_at": Timestamp(active.expires_at),
            });
            if names {
                expected["subject"] = json!("member-4711");
                expected["label"] = json!(r#"Ann's "phone""#);
            }
            prop_assert_eq!(serde_json::from_slice::<serde_json::Value>(&json).unwrap(), expected);
        }

        #[test]
        fn json_strings_are_escaped_like_those_of_serde_json(text in any::<String>()) {
            let mut json = Vec::new();
            push_string(&mut json, &text).unwrap();
            prop_assert_eq!(json, serde_json::to_vec(&text).unwrap());
        }
    }
}
