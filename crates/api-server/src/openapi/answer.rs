//! Answers when all is well, and the header fields that answers have in common.

use serde_json::Value;
use utoipa::openapi::{
    Components, Content, Object, Ref, RefOr, Response, Type,
    extensions::Extensions,
    header::{Header, HeaderBuilder},
    schema::ObjectBuilder,
};

use super::schemas::ENTITY_TAG;

/// Header fields that every answer has.
const EVERYWHERE: [(&str, &str, &str); 2] = [
    (
        "X-Request-Id",
        "The request's name in the log of the service.",
        "0193a1b2-5d3c-7e4f-8a9b-0c1d2e3f4a5b",
    ),
    (
        "X-Content-Type-Options",
        "The body is what `Content-Type` says.",
        "nosniff",
    ),
];

/// An answer while it is written.
pub(super) struct Answer(Response);

impl Answer {
    /// One that no cache keeps.
    pub(super) fn new(description: &str) -> Self {
        let no_store = header("No cache keeps it.", Some("no-store"), true);
        Self::cacheable(description).header("Cache-Control", no_store)
    }

    /// One that caches may keep.
    pub(super) fn cacheable(description: &str) -> Self {
        let mut response = Response::new(description);
        for (name, ..) in EVERYWHERE {
            let reference = Ref::new(format!("#/components/headers/{name}"));
            response
                .headers
                .insert(name.to_owned(), RefOr::Ref(reference));
        }
        Self(response)
    }

    pub(super) fn header(mut self, name: &str, header: Header) -> Self {
        self.0.headers.insert(name.to_owned(), header.into());
        self
    }

    /// One that names the state of the session that it tells of.
    pub(super) fn entity_tag(self) -> Self {
        let tag = header(
            "Names cookies, base URL and creation of the session: a strong validator (RFC 9110).",
            Some(ENTITY_TAG),
            true,
        );
        self.header("ETag", tag)
    }

    pub(super) fn content(mut self, media_type: &str, content: Content) -> Self {
        self.0.content.insert(media_type.to_owned(), content.into());
        self
    }

    pub(super) fn build(self) -> Response {
        self.0
    }
}

pub(super) fn add_headers(components: &mut Components) {
    for (name, description, example) in EVERYWHERE {
        let header = header(description, Some(example), true);
        components.headers.insert(name.to_owned(), header.into());
    }
}

/// A header field that is text.
pub(super) fn header(description: &str, example: Option<&str>, is_always_there: bool) -> Header {
    let text = ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description));
    typed_header(text.build(), example, is_always_there)
}

/// A header field of this shape, which says what the field is.
pub(super) fn typed_header(schema: Object, example: Option<&str>, is_always_there: bool) -> Header {
    // A field of the standard that the crate has no name for.
    let required = Extensions::from_iter([("required", is_always_there)]);
    HeaderBuilder::new()
        .description(schema.description.clone())
        .schema(Some(
            ObjectBuilder::from(schema).description(None::<String>),
        ))
        .example(example.map(Value::from))
        .extensions(is_always_there.then_some(required))
        .build()
}
