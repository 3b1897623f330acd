//! The plain (unencrypted) storage format: JSON, byte for byte as `json.dumps` of Python writes it.

mod cookie_details;
mod python_json;

use serde::{Deserialize, Serialize, Serializer};
use tee_session_domain::{BaseUrl, ControlCharacter, Cookies, Session, SessionToken};
use time::{OffsetDateTime, UtcOffset, format_description::well_known::Rfc3339};
use zeroize::Zeroizing;

use self::{cookie_details::PlainDetails, python_json::PythonFormatter};
use super::{attributes::AttributeTexts, key::Key};
use crate::CorruptRecord;

/// Maximum length of a plain record that is parsed, in bytes. The longest record that this service
/// writes takes less than a tenth of this maximum.
const MAX_RECORD_LEN: usize = 1024 * 1024;

pub(super) fn key(token: &SessionToken) -> Key {
    Key::named(token.expose_secret())
}

/// The JSON members of a plain record, in the order in which the project's first service (in
/// Python) writes them.
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
    #[serde(flatten)]
    details: PlainDetails,
}

/// The JSON members that are read from a plain record.
///
/// Unknown members are ignored, because another program may write more members than this service.
/// Another program may also use `subject` and `label` for something else, so these members may have
/// any type.
#[derive(Deserialize)]
struct Read {
    cookies: CookieMap,
    base_url: String,
    created_at: String,
    #[serde(default)]
    subject: serde_json::Value,
    #[serde(default)]
    label: serde_json::Value,
    #[serde(default)]
    cookie_attributes: serde_json::Value,
    #[serde(default)]
    other_cookies: serde_json::Value,
    #[serde(default)]
    cookies_digest: serde_json::Value,
}

impl Read {
    /// Returns the members `cookie_attributes`, `other_cookies` and `cookies_digest`. Returns empty
    /// details if one of these members has another form, because another program may use the same
    /// name for something else.
    fn details(&mut self) -> PlainDetails {
        let members = [
            ("cookie_attributes", self.cookie_attributes.take()),
            ("other_cookies", self.other_cookies.take()),
            ("cookies_digest", self.cookies_digest.take()),
        ];
        let given = members.into_iter().filter(|(_, value)| !value.is_null());
        let members: serde_json::Map<_, _> = given
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        serde_json::from_value(members.into()).unwrap_or_default()
    }
}

pub(crate) fn encode(session: &Session) -> Vec<u8> {
    let AttributeTexts { subject, label } = AttributeTexts::of(&session.attributes);
    let record = Written {
        cookies: &session.cookies,
        base_url: session.base_url.as_str(),
        created_at: isoformat(session.created_at),
        subject,
        label,
        details: PlainDetails::of(&session.cookies),
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
    let mut record: Read = serde_json::from_slice(value).map_err(|_| CorruptRecord::NotASession)?;
    let created_at = OffsetDateTime::parse(&record.created_at, &Rfc3339)
        .ok()
        .and_then(|time| time.checked_to_offset(UtcOffset::UTC))
        // RFC 3339 cannot express years before 0.
        .filter(|time| time.year() >= 0)
        .ok_or(CorruptRecord::CreatedAt)?;
    let details = record.details();
    let attributes = AttributeTexts {
        subject: record.subject.as_str(),
        label: record.label.as_str(),
    };
    let control = |_: ControlCharacter| CorruptRecord::ControlCharacter;
    let cookies = Cookies::from_stored(record.cookies.iter()).map_err(control)?;
    Ok(Session {
        cookies: details.add_to(cookies),
        base_url: BaseUrl::from_stored(record.base_url).map_err(control)?,
        created_at,
        absolute_end: None,
        attributes: attributes.parse()?,
    })
}

/// Formats a time in UTC, as `datetime.isoformat()` of Python does. The fraction of the second has
/// six digits. If the fraction is zero, it is left out.
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

/// Names and values of the cookies, in the order in which they are stored in the record. The value
/// `null` belongs to a cookie without a value.
struct CookieMap(Vec<(String, Option<Zeroizing<String>>)>);

impl CookieMap {
    fn iter(&self) -> impl ExactSizeIterator<Item = (&str, Option<&str>)> + Clone {
        let cookies = self.0.iter();
        cookies.map(|(name, value)| (name.as_str(), value.as_ref().map(|value| value.as_str())))
    }
}

impl<'de> Deserialize<'de> for CookieMap {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> serde::de::Visitor<'de> for Visitor {
            type Value = CookieMap;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a map of strings to strings or null")
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(
                self,
                mut map: A,
            ) -> Result<CookieMap, A::Error> {
                let mut cookies = Vec::new();
                while let Some((name, value)) = map.next_entry::<_, Option<String>>()? {
                    cookies.push((name, value.map(Zeroizing::new)));
                }
                Ok(CookieMap(cookies))
            }
        }

        deserializer.deserialize_map(Visitor)
    }
}

#[cfg(test)]
mod tests;
