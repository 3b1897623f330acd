//! The plain format: JSON, byte for byte as Python's `json.dumps` writes it.

mod python_json;

use serde::{Deserialize, Serialize, Serializer};
use tee_session_domain::{
    BaseUrl, ControlCharacter, Cookies, Label, Session, SessionToken, Subject,
};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use self::python_json::PythonFormatter;
use super::{Key, read_leniently};
use crate::CorruptRecord;

pub(crate) const KEY_PREFIX: &str = "session:";

/// Longer values are not parsed. A session that we wrote stays below a tenth of it.
const MAX_RECORD_LEN: usize = 1024 * 1024;

pub(super) fn key(token: &SessionToken) -> Key {
    Key::named(token.expose_secret())
}

/// In the order that the key of a Python `dict` keeps.
#[derive(Serialize)]
struct Written<'a> {
    #[serde(serialize_with = "cookies_as_map")]
    cookies: &'a Cookies,
    base_url: &'a str,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

/// Unknown members are ignored: another writer may know more than we do. It may also call something
/// else a subject or a label.
#[derive(Deserialize)]
struct Read {
    cookies: CookieMap,
    base_url: String,
    created_at: String,
    #[serde(default)]
    subject: serde_json::Value,
    #[serde(default)]
    label: serde_json::Value,
}

pub(crate) fn encode(session: &Session) -> Vec<u8> {
    let record = Written {
        cookies: &session.cookies,
        base_url: session.base_url.as_str(),
        created_at: isoformat(session.created_at),
        subject: session.subject.as_ref().map(Subject::as_str),
        label: session.label.as_ref().map(Label::as_str),
    };
    let mut value = Vec::with_capacity(256);
    let mut serializer = serde_json::Serializer::with_formatter(&mut value, PythonFormatter);
    #[expect(clippy::expect_used, reason = "maps of strings into a Vec cannot fail")]
    record
        .serialize(&mut serializer)
        .expect("strings serialize");
    value
}

pub(crate) fn decode(value: &[u8]) -> Result<Session, CorruptRecord> {
    if value.len() > MAX_RECORD_LEN {
        return Err(CorruptRecord::TooLong {
            limit: MAX_RECORD_LEN,
        });
    }
    let record: Read = serde_json::from_slice(value).map_err(|_| CorruptRecord::NotASession)?;
    let created_at = OffsetDateTime::parse(&record.created_at, &Rfc3339)
        .ok()
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        // What RFC 3339 cannot write again.
        .filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)?;
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    Ok(Session {
        cookies: Cookies::from_stored(&record.cookies.0).map_err(control)?,
        base_url: BaseUrl::from_stored(record.base_url).map_err(control)?,
        created_at,
        absolute_end: None,
        subject: read_leniently(record.subject.as_str())?,
        label: read_leniently(record.label.as_str())?,
    })
}

/// `datetime.isoformat()` of a UTC time: six digits of microseconds, none when they are zero.
fn isoformat(time: OffsetDateTime) -> String {
    let time = time.to_offset(UtcOffset::UTC);
    let (date, (hour, minute, second, micros)) = (time.date(), time.to_hms_micro());
    let fraction = if micros == 0 {
        String::new()
    } else {
        format!(".{micros:06}")
    };
    format!("{date}T{hour:02}:{minute:02}:{second:02}{fraction}+00:00")
}

fn cookies_as_map<S: Serializer>(cookies: &Cookies, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_map(cookies.iter())
}

/// Names and values in the order of the record.
struct CookieMap(Vec<(String, Zeroizing<String>)>);

impl<'de> Deserialize<'de> for CookieMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = CookieMap;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings to strings")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<CookieMap, A::Error> {
                let mut cookies = Vec::new();
                while let Some((name, value)) = map.next_entry::<_, String>()? {
                    cookies.push((name, Zeroizing::new(value)));
                }
                Ok(CookieMap(cookies))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests;
