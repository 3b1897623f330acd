//! Header fields of responses in the OpenAPI description.

use serde_json::Value;
use utoipa::openapi::{
    Components, Object, Ref, RefOr, Response,
    extensions::Extensions,
    header::{Header, HeaderBuilder},
    schema::ObjectBuilder,
};

use super::schemas::{
    self, BASE_URL, ENCODED_SUBJECT, ENTITY_TAG, EXPIRES_AT, FILE_TAG, LOCATION, SESSION_ID,
    SUBJECT, text,
};

/// Header fields that every response has: name, description and example.
const COMMON: [(&str, &str, &str); 2] = [
    (
        "X-Request-Id",
        "Id of the request in the logs of the service.",
        "0193a1b2-5d3c-7e4f-8a9b-0c1d2e3f4a5b",
    ),
    (
        "X-Content-Type-Options",
        "Browsers must not assume a type other than `Content-Type`.",
        "nosniff",
    ),
];

/// Adds to `components` the header fields that every response has.
pub(super) fn add_common(components: &mut Components) {
    for (name, description, example) in COMMON {
        let header = header(text(description).build(), Some(example), true);
        components.headers.insert(name.to_owned(), header.into());
    }
}

/// Completes the header fields of `response`. Adds the schema of each field that `#[utoipa::path]`
/// names, and adds the fields that every response has.
pub(super) fn complete(response: &mut Response) {
    let headers = &mut response.headers;
    let cache_control = headers.entry("Cache-Control".to_owned());
    cache_control.or_insert_with(|| Header::default().into());
    for (name, field) in headers.iter_mut() {
        if let RefOr::T(named) = field
            && let Some(described) = described(name, named.description.as_deref())
        {
            *named = described;
        }
    }
    for (name, ..) in COMMON {
        let reference = Ref::new(format!("#/components/headers/{name}"));
        headers.insert(name.to_owned(), RefOr::Ref(reference));
    }
}

/// Returns the header field `name` from the table in this function. The table describes some fields
/// several times, such as `Cache-Control`. If `description` is `Some`, only the entry with this
/// description is returned. Returns `None` if no entry matches. Header fields that only error
/// responses have, such as `Retry-After`, are described in `openapi/problems.rs`.
fn described(name: &str, description: Option<&str>) -> Option<Header> {
    let text = |description| text(description).build();
    // Name, schema, example, and whether each response has the field for which it is described.
    let fields = [
        (
            "Cache-Control",
            text("Caches must not store the response."),
            Some("no-store"),
            true,
        ),
        (
            "Cache-Control",
            text("Caches must revalidate the file before each use."),
            Some("no-cache"),
            true,
        ),
        (
            "Content-Security-Policy",
            text("The page may load files from, and connect to, this service only."),
            None,
            true,
        ),
        (
            "ETag",
            text(
                "Strong validator (RFC 9110) for cookies, base URL and creation time of the session.",
            ),
            Some(ENTITY_TAG),
            true,
        ),
        (
            "ETag",
            text("Identifies this version of the file."),
            Some(FILE_TAG),
            true,
        ),
        (
            "Idempotency-Replayed",
            text(
                "`true` if an earlier request with the same `Idempotency-Key` has begun the \
                 operation.",
            ),
            Some("true"),
            false,
        ),
        (
            "Location",
            text("Path of the session with its public id."),
            Some(LOCATION),
            true,
        ),
        (
            "Referrer-Policy",
            text("Browsers do not send the address of the page to other sites."),
            Some("no-referrer"),
            true,
        ),
        (
            "X-Session-Base-Url",
            text(
                "Base URL of the upstream site, in ASCII. Absent if another program stored the \
                 session with a base URL that is not a valid URL.",
            ),
            Some(BASE_URL),
            false,
        ),
        (
            "X-Session-Expires-At",
            schemas::expires_at(),
            Some(EXPIRES_AT),
            true,
        ),
        (
            "X-Session-Id",
            schemas::session_id(),
            Some(SESSION_ID),
            true,
        ),
        (
            "X-Session-Subject",
            schemas::subject_in_a_header(),
            Some(SUBJECT),
            false,
        ),
        (
            "X-Session-Subject-Encoded",
            schemas::encoded_subject(),
            Some(ENCODED_SUBJECT),
            false,
        ),
    ];
    let field = fields.into_iter().find(|(known, schema, ..)| {
        *known == name && (description.is_none() || schema.description.as_deref() == description)
    });
    field.map(|(_, schema, example, is_required)| header(schema, example, is_required))
}

/// Describes a header field whose value has the schema `schema`. The description of the field is
/// taken from the schema.
pub(super) fn header(schema: Object, example: Option<&str>, is_required: bool) -> Header {
    // `HeaderBuilder` has no method for the member `required` of OpenAPI.
    let required = Extensions::from_iter([("required", is_required)]);
    HeaderBuilder::new()
        .description(schema.description.clone())
        .schema(Some(
            ObjectBuilder::from(schema).description(None::<String>),
        ))
        .example(example.map(Value::from))
        .extensions(is_required.then_some(required))
        .build()
}
