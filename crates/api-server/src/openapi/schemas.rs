//! Shapes of single values, for the wire shapes that hold them, and of problem details.

use serde_json::json;
use tee_session_domain::{BaseUrl, Cookies, Label, Subject};
use utoipa::{
    ToSchema,
    openapi::{
        SchemaFormat, Type,
        schema::{KnownFormat, Object, ObjectBuilder, SchemaType},
    },
};

/// Values that examples show: they belong together.
pub(crate) const TOKEN: &str = "8d79c7b4-f5f1-47d3-b950-001441809b90";
pub(crate) const SESSION_ID: &str = "k88fXCPKK0gU1YooURbm9Q";
pub(crate) const BASE_URL: &str = "https://golf.example/members";
pub(crate) const CREATED_AT: &str = "2026-01-15T10:30:00.123456Z";
pub(crate) const LAST_SEEN: &str = "2026-01-15T10:30:00.123456Z";
pub(crate) const SUBJECT: &str = "member-4711";
pub(crate) const LABEL: &str = "telephone";
pub(crate) const CURSOR: &str = "AAZIRv2B0TuTzx9cI8orSBTVijlRvOb1";
pub(crate) const ENTITY_TAG: &str = "\"xVrVhIkVhrZwMDhKNlLoJw\"";
pub(crate) const EXPIRES_AT: &str = "2026-01-15T11:00:00.123456Z";

fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

/// One of a few words.
pub(crate) fn one_of(words: &[&str]) -> Object {
    let schema = ObjectBuilder::new().schema_type(Type::String);
    schema.enum_values(Some(words.to_vec())).build()
}

pub(crate) fn token() -> Object {
    text("The bearer token, a secret: a UUID or 256 random bits in base64url.")
        .pattern(Some(
            "^([0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[A-Za-z0-9_-]{43})$",
        ))
        .examples([TOKEN])
        .build()
}

pub(crate) fn token_type() -> Object {
    one_of(&["Bearer"])
}

pub(crate) fn session_id() -> Object {
    text("The session's public name, derived from its token. It opens nothing.")
        .pattern(Some("^[A-Za-z0-9_-]{22}$"))
        .examples([SESSION_ID])
        .build()
}

/// The format has a name of its own, so that whoever makes up calls can name a session that there is.
pub(crate) fn session_id_of_a_call() -> Object {
    ObjectBuilder::from(session_id())
        .format(Some(SchemaFormat::Custom("session-id".to_owned())))
        .build()
}

fn time(description: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

pub(crate) fn created_at() -> Object {
    let schema = time("When the session was created.");
    schema.examples([CREATED_AT]).build()
}

pub(crate) fn expires_at() -> Object {
    let schema = time("When the session ends if it is not used: the earliest moment.");
    schema.examples([EXPIRES_AT]).build()
}

pub(crate) fn last_seen() -> Object {
    let schema =
        time("When the session was last used, as far as that started its idle timeout anew.");
    schema.examples([LAST_SEEN]).build()
}

pub(crate) fn subject() -> Object {
    text("Whose session it is: an opaque name, such as a user's id.")
        .min_length(Some(1))
        .max_length(Some(Subject::MAX_LEN))
        .pattern(Some("^[!-~]+$"))
        .examples([SUBJECT])
        .build()
}

/// The format has a name of its own: its length is in bytes.
pub(crate) fn label() -> Object {
    text("What the session is called where sessions are listed: 1 to 256 bytes of UTF-8.")
        .format(Some(SchemaFormat::Custom("label".to_owned())))
        .min_length(Some(1))
        .max_length(Some(Label::MAX_LEN))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]+$"))
        .examples([LABEL])
        .build()
}

/// The format has a name of its own: a list of quoted texts is more than a pattern says well.
pub(crate) fn entity_tags() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("entity-tags".to_owned())))
        .build()
}

pub(crate) fn cursor() -> Object {
    text("Where the next page begins, for `after`. It is not there on the last page.")
        .pattern(Some("^[A-Za-z0-9_-]{32}$"))
        .examples([CURSOR])
        .build()
}

/// Cookies as a session may hold them, whoever stored it.
pub(crate) fn cookies() -> Object {
    ObjectBuilder::new()
        .description(Some("The upstream site's cookies, value by name."))
        .additional_properties(Some(ObjectBuilder::new().schema_type(Type::String)))
        .examples([json!({"SESSIONID": "a1b2c3"})])
        .build()
}

/// Cookies as they are taken.
pub(crate) fn cookies_to_store() -> Object {
    let limits = format!(
        "The upstream site's cookies, value by name: {} bytes in all. A value may hold {} bytes of UTF-8.",
        Cookies::MAX_TOTAL_LEN,
        Cookies::MAX_VALUE_LEN,
    );
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(Cookies::MAX_NAME_LEN))
        .pattern(Some("^[!#$%&'*+.^_`|~0-9A-Za-z-]+$"));
    let value = ObjectBuilder::new()
        .schema_type(Type::String)
        .max_length(Some(Cookies::MAX_VALUE_LEN))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$"));
    ObjectBuilder::new()
        .description(Some(limits))
        .property_names(Some(name))
        .additional_properties(Some(value))
        .min_properties(Some(1))
        .max_properties(Some(Cookies::MAX_COUNT))
        .examples([json!({"SESSIONID": "a1b2c3"})])
        .build()
}

/// New values of cookies; null removes one.
fn cookies_to_change() -> Object {
    let Object { property_names, .. } = cookies_to_store();
    let value = ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::String, Type::Null]))
        .max_length(Some(Cookies::MAX_VALUE_LEN))
        .pattern(Some("^[^\\u0000-\\u001f\\u007f-\\u009f]*$"));
    let mut schema = ObjectBuilder::new()
        .description(Some(
            "New values by name; null removes the cookie. The others stay; one at least has to.",
        ))
        .additional_properties(Some(value))
        .max_properties(Some(Cookies::MAX_COUNT))
        .examples([json!({"SESSIONID": "d4e5f6", "lang": null})])
        .build();
    schema.property_names = property_names;
    schema
}

pub(crate) fn base_url() -> Object {
    let schema = text("The upstream site, as it was given.");
    schema.examples([BASE_URL]).build()
}

/// A base URL as it is taken. The pattern is necessary and not sufficient, which is why the format has a
/// name of its own.
pub(crate) fn base_url_to_store() -> Object {
    text(
        "The upstream site: an absolute http or https URL with a valid host, without credentials, \
         without a fragment.",
    )
    .format(Some(SchemaFormat::Custom("base-url".to_owned())))
    .max_length(Some(BaseUrl::MAX_LEN))
    .pattern(Some("^[Hh][Tt][Tt][Pp][Ss]?://[^\\s\\\\#]+$"))
    .examples([BASE_URL])
    .build()
}

/// A JSON Merge Patch (RFC 7396).
#[derive(ToSchema)]
#[schema(as = SessionPatch)]
#[serde(deny_unknown_fields)]
#[expect(dead_code, reason = "the shape of what another crate applies")]
pub(super) struct Patch {
    #[schema(schema_with = cookies_to_change, required = false)]
    cookies: (),
    #[schema(schema_with = base_url_to_store, required = false)]
    base_url: (),
}

/// Problem details (RFC 9457).
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what another crate writes")]
pub(super) struct Problem {
    /// Nothing more specific than the status.
    #[schema(pattern = "^about:blank$")]
    r#type: String,
    /// The name of the status.
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// A sentence for people.
    detail: String,
    /// The stable name of the problem.
    code: String,
    /// What OAuth 2.0 clients read (RFC 6749): of introspection and revocation only.
    #[schema(required = false)]
    error: String,
    /// The members of the body that are at fault.
    #[schema(required = false)]
    errors: Vec<Fault>,
}

/// One member of a body that is at fault.
#[derive(ToSchema)]
#[expect(dead_code, reason = "the shape of what another crate writes")]
struct Fault {
    /// Where it stands: a JSON Pointer (RFC 6901).
    pointer: String,
    /// What is allowed there.
    detail: String,
}
