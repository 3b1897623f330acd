//! JSON parser that rejects objects with a repeated member and keeps the order of members.

// If an object has several members with one name, serde_json keeps the last member. A gateway in
// front of this service may use the first member, so both would see different data.

use std::fmt;

use indexmap::IndexMap;
use serde::{
    Deserialize, Deserializer,
    de::{Error, MapAccess, SeqAccess, Visitor},
};
use serde_json::error::Category;

use crate::problem::ApiError;

/// A parsed JSON value. Every number and boolean becomes `Other`, without its value, because no
/// request body needs it.
#[derive(Debug, PartialEq)]
pub(crate) enum UniqueJson {
    String(String),
    Object(IndexMap<String, UniqueJson>),
    Array(Vec<UniqueJson>),
    Null,
    Other,
}

impl UniqueJson {
    /// Parses a complete JSON text. Fails with [`ApiError::InvalidRequest`] if the text is not
    /// valid JSON or if an object has a repeated member. `serde_json` limits the nesting to 128
    /// levels.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, ApiError> {
        serde_json::from_slice(text).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let what = match error.classify() {
                Category::Data => "A JSON object has a repeated member",
                _ => "The request body is not valid JSON",
            };
            ApiError::InvalidRequest(format!("{what} (line {line}, column {column})"))
        })
    }
}

impl<'de> Deserialize<'de> for UniqueJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(UniqueVisitor)
    }
}

struct UniqueVisitor;

impl<'de> Visitor<'de> for UniqueVisitor {
    type Value = UniqueJson;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_str<E>(self, text: &str) -> Result<UniqueJson, E> {
        Ok(UniqueJson::String(text.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<UniqueJson, A::Error> {
        let mut members = IndexMap::new();
        while let Some((name, value)) = map.next_entry::<String, UniqueJson>()? {
            if members.insert(name, value).is_some() {
                return Err(A::Error::custom("duplicate member"));
            }
        }
        Ok(UniqueJson::Object(members))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<UniqueJson, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(UniqueJson::Array(array))
    }

    fn visit_bool<E>(self, _: bool) -> Result<UniqueJson, E> {
        Ok(UniqueJson::Other)
    }

    fn visit_i64<E>(self, _: i64) -> Result<UniqueJson, E> {
        Ok(UniqueJson::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<UniqueJson, E> {
        Ok(UniqueJson::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<UniqueJson, E> {
        Ok(UniqueJson::Other)
    }

    fn visit_unit<E>(self) -> Result<UniqueJson, E> {
        Ok(UniqueJson::Null)
    }
}
