//! Cookies as JSON, in the order in which they stand there.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use tee_session_client::Cookies;

/// Reads an object of names and values. What is wrong is told without what stands there.
pub(super) fn parse(text: &str) -> Result<Cookies, String> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| {
        format!(
            "the cookies must be a JSON object of names and texts (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    Cookies::new(pairs).map_err(|error| format!("the cookies cannot be used: {error}"))
}

struct Pairs(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of texts")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Pairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(pair) = map.next_entry()? {
                    pairs.push(pair);
                }
                Ok(Pairs(pairs))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[test]
    fn cookies_keep_their_order() {
        let cookies = parse(r#"{"z": "1", "a": "grün; ⛳"}"#).unwrap();
        let pairs: Vec<_> = cookies.iter().collect();
        assert_eq!(pairs, [("z", "1"), ("a", "grün; ⛳")]);
    }

    #[rstest]
    #[case::no_json(r#"s3cret"#)]
    #[case::a_list(r#"["s3cret"]"#)]
    #[case::a_number(r#"{"a": 1, "b": "s3cret"}"#)]
    #[case::twice(r#"{"s3cret": "1", "s3cret": "2"}"#)]
    #[case::no_token(r#"{"s3cret name": "1"}"#)]
    #[case::control_character("{\"a\": \"s3cret\\n\"}")]
    #[case::none("{}")]
    fn what_cannot_be_used_is_not_repeated(#[case] text: &str) {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
