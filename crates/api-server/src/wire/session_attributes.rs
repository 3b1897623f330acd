//! Session attributes (subject and label) as members of request and response bodies. If an
//! attribute is added, this file is the only file of the crate that must change.

use std::{fmt::Display, str::FromStr};

use indexmap::IndexMap;
use serde::Serialize;
use tee_session_auth_middleware::InvalidMember;
use tee_session_domain::{Label, SessionAttributes, Subject};
use utoipa::openapi::{
    Components, Object, RefOr, Schema, Type,
    schema::{ObjectBuilder, SchemaType},
};

use super::{session_members::fault, unique_json::UniqueJson};
use crate::openapi::schemas::{self, DISPLAYABLE, LABEL, short_text};

/// Names of all attributes, as the end of a list in an error text.
pub(super) const ATTRIBUTE_NAMES: &str = "subject and label";

/// Removes the attributes from the members of a request body, and parses them. The error lists all
/// invalid attributes.
pub(super) fn take_attributes(
    members: &mut IndexMap<String, UniqueJson>,
) -> Result<SessionAttributes, Vec<InvalidMember>> {
    let mut errors = Vec::new();
    let attributes = SessionAttributes {
        subject: take(members, "subject", &mut errors),
        label: take(members, "label", &mut errors),
    };
    if errors.is_empty() {
        Ok(attributes)
    } else {
        Err(errors)
    }
}

/// Removes the attribute `name` from `members` and parses it. Returns `None` if the attribute is
/// absent, null or invalid. If it is invalid, adds an error to `errors`.
fn take<T: FromStr<Err: Display>>(
    members: &mut IndexMap<String, UniqueJson>,
    name: &str,
    errors: &mut Vec<InvalidMember>,
) -> Option<T> {
    let detail = match members.shift_remove(name)? {
        UniqueJson::Null => return None,
        UniqueJson::String(text) => match text.parse::<T>() {
            Ok(value) => return Some(value),
            Err(error) => error.to_string(),
        },
        _ => "must be a string or null".to_owned(),
    };
    errors.push(fault(format!("/{name}"), detail));
    None
}

/// Attributes of a session as members of a response body. A body type has a field of this type with
/// `#[schema(ignore)]`, and [`add_to_schemas`](Self::add_to_schemas) adds the members to the schema
/// of the body.
#[derive(Clone, Copy, Default, Serialize)]
pub(crate) struct AttributeMembers<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    subject: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    label: Option<&'a str>,
}

impl<'a> AttributeMembers<'a> {
    pub(crate) fn of(attributes: &'a SessionAttributes) -> Self {
        Self {
            subject: attributes.subject.as_ref().map(Subject::as_str),
            label: attributes.label.as_ref().map(Label::as_str),
        }
    }

    /// Returns the attributes of a session of a subject that the request names. Leaves out the
    /// subject.
    pub(crate) fn of_listed(attributes: &'a SessionAttributes) -> Self {
        Self {
            subject: None,
            ..Self::of(attributes)
        }
    }

    /// Returns the text of each attribute, together with the JSON that precedes the text in an
    /// object with other members before it.
    pub(super) fn texts(&self) -> [(&'static [u8], Option<&'a str>); 2] {
        [
            (br#","subject":"#.as_slice(), self.subject),
            (br#","label":"#.as_slice(), self.label),
        ]
    }

    /// Adds the attributes to the schemas of the bodies that contain them.
    pub(crate) fn add_to_schemas(components: &mut Components) {
        let to_store = [
            ("subject", or_null(schemas::subject())),
            ("label", or_null(label(DISPLAYABLE))),
        ];
        let stored = [
            ("subject", schemas::subject()),
            ("label", label("^[^\\u0000-\\u001f\\u007f-\\u009f]+$")),
        ];
        add(components, "CreateSession", &to_store);
        add(components, "SessionBody", &stored);
        // The subject comes first. These bodies leave it out.
        add(components, "ListedSession", &stored[1..]);
        add(components, "SessionById", &stored[1..]);
    }
}

/// Adds `members` as optional members to the schema of `body`.
fn add(components: &mut Components, body: &str, members: &[(&str, Object)]) {
    if let Some(RefOr::T(Schema::Object(body))) = components.schemas.get_mut(body) {
        for (name, schema) in members {
            let name = (*name).to_owned();
            body.properties.insert(name, schema.clone().into());
        }
    }
}

fn label(pattern: &str) -> Object {
    let description = "Name of the session in lists of sessions: 1 to 256 bytes of UTF-8.";
    short_text(description, Label::MAX_LEN, pattern)
        .examples([LABEL])
        .build()
}

/// Adds null to the types that a schema allows. In a request, null means that the attribute is
/// absent.
fn or_null(schema: Object) -> Object {
    ObjectBuilder::from(schema)
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .build()
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn parse(body: &str) -> SessionAttributes {
        let Ok(UniqueJson::Object(mut members)) = UniqueJson::parse(body.as_bytes()) else {
            panic!("{body}")
        };
        let attributes = take_attributes(&mut members).unwrap();
        assert!(members.is_empty());
        attributes
    }

    #[test]
    fn optional_subject_and_label_are_parsed() {
        let attributes = parse(r#"{"label": "Jörgs Telefon", "subject": "member-4711"}"#);
        assert_eq!(attributes.subject, "member-4711".parse().ok());
        assert_eq!(attributes.label, "Jörgs Telefon".parse().ok());
    }

    #[rstest]
    #[case::absent("{}")]
    #[case::null(r#"{"subject": null, "label": null}"#)]
    fn absent_or_null_subject_and_label_are_not_set(#[case] body: &str) {
        assert_eq!(parse(body), SessionAttributes::default());
    }

    #[test]
    fn texts_with_the_preceding_json_equal_the_serialized_attributes() {
        let attributes = parse(r#"{"subject": "member-4711", "label": "telephone"}"#);
        let members = AttributeMembers::of(&attributes);
        let texts = members.texts().into_iter();
        let members_of_an_object: String = texts
            .map(|(name, text)| format!("{}\"{}\"", str::from_utf8(name).unwrap(), text.unwrap()))
            .collect();
        let serialized = serde_json::to_string(&members).unwrap();
        assert_eq!(format!("{{{}}}", &members_of_an_object[1..]), serialized);
    }
}
