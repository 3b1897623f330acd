//! Parser for a JSON object with the cookies of a new session. Keeps the order of the cookies.

use std::fmt;

use serde::{
    Deserialize, Deserializer,
    de::{MapAccess, Visitor},
};
use tee_session_client::Cookies;
use tee_session_domain::{CookieProblem, CookieRule};

/// Parses cookies from a JSON object of cookie names and values. A value is a string, or null for a
/// cookie without a value. Returns the cookies that a session can hold, and the other cookies with
/// the rules that they break.
///
/// # Errors
/// Fails if `text` is no such object or repeats a name, or if a session can hold none of its cookies. The error
/// message does not repeat any part of `text`, because cookies are secret.
pub(super) fn parse(text: &str) -> Result<(Cookies, Vec<CookieProblem>), String> {
    let Pairs(pairs) = serde_json::from_str(text).map_err(|error| {
        format!(
            "the cookies must be a JSON object of names and string or null values (line {}, column {})",
            error.line(),
            error.column()
        )
    })?;
    let (cookies, left_out) = Cookies::keep_valid(pairs);
    if left_out
        .iter()
        .any(|problem| problem.rule == CookieRule::Unique)
    {
        return Err(format!(
            "the cookies cannot be used: {}",
            CookieRule::Unique
        ));
    }
    match left_out.first() {
        Some(problem) if cookies.is_empty() => {
            Err(format!("no cookie can be stored: {}", problem.rule))
        }
        _ => Ok((cookies, left_out)),
    }
}

struct Pairs(Vec<(String, Option<String>)>);

impl<'de> Deserialize<'de> for Pairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Pairs;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings and nulls")
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
    fn parsed_cookies_keep_the_order_of_the_json_object() {
        let text = r#"{"z": "1", "a [b]": "grün; ⛳", "flag": null}"#;
        let (cookies, left_out) = parse(text).unwrap();
        assert_eq!(left_out, []);
        let pairs: Vec<_> = cookies.iter().collect();
        let expected = [
            ("z", Some("1")),
            ("a [b]", Some("grün; ⛳")),
            ("flag", None),
        ];
        assert_eq!(pairs, expected);
    }

    #[rstest]
    #[case::not_json(r#"s3cret"#)]
    #[case::array(r#"["s3cret"]"#)]
    #[case::number_as_value(r#"{"a": 1, "b": "s3cret"}"#)]
    #[case::duplicate_name(r#"{"s3cret": "1", "s3cret": "2"}"#)]
    #[case::invalid_name(r#"{"s3cret;name": "1"}"#)]
    #[case::control_character("{\"a\": \"s3cret\\n\"}")]
    fn error_for_invalid_cookies_does_not_repeat_their_names_or_values(#[case] text: &str) {
        let error = parse(text).unwrap_err();
        assert!(!error.contains("s3cret"), "{error}");
    }
}
