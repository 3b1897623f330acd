//! OpenAPI schemas of single values, and of problem details. The schemas of request and response
//! bodies refer to the schemas of single values.

use serde_json::json;
use tee_session_auth_middleware::ProblemCode;
use tee_session_domain::{BaseUrl, Cookies, Subject};
use tee_session_upstream::Outcome;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        RefOr, Schema, SchemaFormat, Type,
        schema::{Array, ArrayBuilder, KnownFormat, Object, ObjectBuilder, SchemaType},
    },
};

use crate::routes::sessions_query::{DEFAULT_LIMIT, MAX_LIMIT};

/// Declares a type for each request parameter, because `#[utoipa::path]` reads the schema of a
/// parameter from a type.
macro_rules! parameters {
    ($($name:ident = $schema:expr;)+) => {$(
        pub(crate) enum $name {}

        impl PartialSchema for $name {
            fn schema() -> RefOr<Schema> {
                $schema.into()
            }
        }

        impl ToSchema for $name {}
    )+};
}

parameters! {
    AttributesRequested = attributes_requested();
    EntityTags = entity_tags();
    IdempotencyKeyField = idempotency_key();
    Limit = limit();
    ListCursor = cursor();
    SessionIdOfACall = session_id_of_a_call();
    SubjectText = subject();
}

// Values in the examples of the OpenAPI description. All of them belong to one session.
pub(crate) const TOKEN: &str = "8d79c7b4-f5f1-47d3-b950-001441809b90";
pub(crate) const SESSION_ID: &str = "k88fXCPKK0gU1YooURbm9Q";
pub(crate) const LOCATION: &str = "/v1/sessions/k88fXCPKK0gU1YooURbm9Q";
pub(crate) const BASE_URL: &str = "https://golf.example/members";
pub(crate) const CREATED_AT: &str = "2026-01-15T10:30:00.123456Z";
pub(crate) const LAST_SEEN: &str = "2026-01-15T10:30:00.123456Z";
pub(crate) const SUBJECT: &str = "member-4711";
pub(super) const ENCODED_SUBJECT: &str = "J%C3%B6rg%20M%C3%BCller";
pub(crate) const LABEL: &str = "telephone";
pub(crate) const CURSOR: &str = "AAZIRv2B0TuTzx9cI8orSBTVijlRvOb1";
pub(crate) const ENTITY_TAG: &str = "\"xVrVhIkVhrZwMDhKNlLoJw\"";
pub(crate) const FILE_TAG: &str = "\"gnYsrPLpX2Io0f9fXW8RFpWHqCUmpzHRpmdbAExqSGk\"";
pub(crate) const EXPIRES_AT: &str = "2026-01-15T11:00:00.123456Z";

pub(super) fn text(description: &str) -> ObjectBuilder {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(description))
}

/// Describes a string that equals one of `words`.
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
    text("Public id of the session, derived from its token. It grants no access.")
        .pattern(Some("^[A-Za-z0-9_-]{22}$"))
        .examples([SESSION_ID])
        .build()
}

/// Describes the id of an existing session. The custom format `session-id` lets tools that generate
/// test requests insert the id of a session that exists.
fn session_id_of_a_call() -> Object {
    ObjectBuilder::from(session_id())
        .format(Some(SchemaFormat::Custom("session-id".to_owned())))
        .build()
}

fn time(description: &str) -> ObjectBuilder {
    text(description).format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime)))
}

pub(crate) fn created_at() -> Object {
    let schema = time("Time at which the session was created.");
    schema.examples([CREATED_AT]).build()
}

pub(crate) fn expires_at() -> Object {
    let schema = time("Earliest time at which the session expires if it is not accessed.");
    schema.examples([EXPIRES_AT]).build()
}

pub(crate) fn last_seen() -> Object {
    let schema = time("Time of the last access that restarted the idle timeout.");
    schema.examples([LAST_SEEN]).build()
}

/// Regular expression for a subject and for a new label. It rejects control characters, and
/// characters that reverse the order of display.
pub(crate) const DISPLAYABLE: &str =
    "^[^\\u0000-\\u001f\\u007f-\\u009f\\u202a-\\u202e\\u2066-\\u2069]+$";

/// Describes a text of 1 to 256 bytes. The custom format `short-text` shows that the length is
/// limited in bytes, not in characters.
pub(crate) fn short_text(description: &str, max_len: usize, pattern: &str) -> ObjectBuilder {
    text(description)
        .format(Some(SchemaFormat::Custom("short-text".to_owned())))
        .min_length(Some(1))
        .max_length(Some(max_len))
        .pattern(Some(pattern))
}

pub(crate) fn subject() -> Object {
    let description = "Owner of the session: an opaque name, such as a user id, of 1 to 256 bytes \
                       of UTF-8.";
    short_text(description, Subject::MAX_LEN, DISPLAYABLE)
        .examples([SUBJECT])
        .build()
}

/// Describes a subject in a header field.
pub(super) fn subject_in_a_header() -> Object {
    text("Subject, if it consists of visible ASCII characters only.")
        .pattern(Some("^[!-~]+$"))
        .examples([SUBJECT])
        .build()
}

/// Describes the percent-encoded form of a subject in a header field.
pub(super) fn encoded_subject() -> Object {
    text(
        "Subject, if it contains other characters than visible ASCII: UTF-8, percent-encoded except \
         for letters, digits and `-._~`.",
    )
    .pattern(Some("^([A-Za-z0-9._~-]|%[0-9A-F]{2})+$"))
    .examples([ENCODED_SUBJECT])
    .build()
}

/// Describes the maximum number of sessions on a page.
fn limit() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MAX_LIMIT))
        .default(Some(DEFAULT_LIMIT.into()))
        .build()
}

/// Describes a list of entity tags. The schema has the custom format `entity-tags` instead of a
/// pattern, because a pattern for such a list would be hard to read.
fn entity_tags() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .format(Some(SchemaFormat::Custom("entity-tags".to_owned())))
        .build()
}

fn idempotency_key() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .min_length(Some(16))
        .max_length(Some(255))
        .pattern(Some("^[!-~]+$"))
        .build()
}

pub(crate) fn cursor() -> Object {
    text("Cursor of the next page, for the parameter `after`. Absent on the last page.")
        .pattern(Some("^[A-Za-z0-9_-]{32}$"))
        .examples([CURSOR])
        .build()
}

fn string_or_null() -> ObjectBuilder {
    ObjectBuilder::new().schema_type(SchemaType::from_iter([Type::String, Type::Null]))
}

fn custom_format(name: &str) -> Option<SchemaFormat> {
    Some(SchemaFormat::Custom(name.to_owned()))
}

/// Describes the cookies of a stored session. The schema has no limits, because cookies that
/// another program stored may exceed the limits of this service.
pub(crate) fn cookies() -> Object {
    ObjectBuilder::new()
        .description(Some(
            "Cookies of the upstream site: values by name; null for a cookie without a value.",
        ))
        .additional_properties(Some(string_or_null()))
        .examples([json!({"SESSIONID": "a1b2c3"})])
        .build()
}

/// Describes the cookies of a session to create. The limits are stated only in the description,
/// because the service accepts a request with invalid cookies and leaves these cookies out. With
/// the custom formats `cookie-name` and `cookie-value`, tools that generate test requests can
/// generate valid cookies.
pub(crate) fn cookies_to_store() -> Object {
    let description = format!(
        "Cookies of the upstream site: values by name; null for a cookie without a value. A session \
         holds at most {} cookies, with {} bytes of UTF-8 in the name and the value of each, and {} \
         bytes in total. Names must not contain control characters, `;` or `=`, nor begin or end \
         with a space. Values must not contain control characters other than TAB. Cookies that \
         break a rule are left out.",
        Cookies::MAX_COUNT,
        Cookies::MAX_LEN,
        Cookies::MAX_TOTAL_LEN,
    );
    let name = ObjectBuilder::new()
        .schema_type(Type::String)
        .format(custom_format("cookie-name"));
    ObjectBuilder::new()
        .description(Some(description))
        .property_names(Some(name))
        .additional_properties(Some(string_or_null().format(custom_format("cookie-value"))))
        .examples([json!({"SESSIONID": "a1b2c3", "gdpr[allowed]": null})])
        .build()
}

/// Describes the cookies in a patch of a session. A string sets the cookie, and null removes the
/// cookie.
pub(crate) fn cookies_to_change() -> Object {
    let Object {
        property_names,
        additional_properties,
        ..
    } = cookies_to_store();
    let mut schema = ObjectBuilder::new()
        .description(Some(
            "New values by name; null removes the cookie. Other cookies are kept. New values must \
             follow the rules for cookies of a new session.",
        ))
        .examples([json!({"SESSIONID": "d4e5f6", "lang": null})])
        .build();
    schema.property_names = property_names;
    schema.additional_properties = additional_properties;
    schema
}

/// Describes the URL of the request that the upstream site has answered.
pub(crate) fn request_url() -> Object {
    text(
        "URL of the request that the site has answered: an absolute http or https URL with the \
         origin (scheme, host and port) of the base URL.",
    )
    .format(custom_format("url-of-the-site"))
    .examples(["https://golf.example/members/login.php"])
    .build()
}

/// Describes the `Set-Cookie` lines of an answer.
pub(crate) fn set_cookie_lines() -> Array {
    let line = ObjectBuilder::new().schema_type(Type::String);
    ArrayBuilder::new()
        .items(line)
        .max_items(Some(Cookies::MAX_COUNT))
        .description(Some(
            "Values of the header fields `Set-Cookie` of the answer, without the name of the field, \
             in their order.",
        ))
        .examples([json!(["SESSIONID=d4e5f6; Path=/; Secure; HttpOnly"])])
        .build()
}

/// Describes the `Date` header field of a site's answer.
pub(crate) fn answer_date() -> Object {
    string_or_null()
        .description(Some(
            "Header field `Date` of the answer. Times of expiry are counted from it, so that a \
             wrong clock of the site makes no difference. A text that is no date is ignored.",
        ))
        .examples(["Thu, 15 Jan 2026 10:30:00 GMT"])
        .build()
}

/// Describes the cookies that a request to the site carried.
pub(crate) fn sent_cookies() -> Object {
    ObjectBuilder::new()
        .schema_type(SchemaType::from_iter([Type::Object, Type::Null]))
        .description(Some(
            "Cookies that the request carried: values by name. With this member, a cookie is removed \
             only if its stored value is the one that was sent.",
        ))
        .additional_properties(Some(string_or_null()))
        .examples([json!({"SESSIONID": "a1b2c3"})])
        .build()
}

pub(crate) fn cookie_expires() -> Object {
    let schema = time("Time at which the cookie expires.");
    schema.examples([EXPIRES_AT]).build()
}

/// Describes the query parameter that requests the attributes of cookies.
fn attributes_requested() -> Object {
    // Without a default value, because the page `/docs` would send it with each request.
    ObjectBuilder::new().schema_type(Type::Boolean).build()
}

pub(crate) fn base_url() -> Object {
    let schema = text("Base URL of the upstream site, as it was stored.");
    schema.examples([BASE_URL]).build()
}

/// Describes a base URL that this service accepts. The pattern does not express all rules for base
/// URLs. The custom format `base-url` shows that there are more rules.
pub(crate) fn base_url_to_store() -> Object {
    text(
        "Base URL of the upstream site: an absolute http or https URL with a valid host, without \
         credentials and without a fragment.",
    )
    .format(Some(SchemaFormat::Custom("base-url".to_owned())))
    .max_length(Some(BaseUrl::MAX_LEN))
    .pattern(Some("^[Hh][Tt][Tt][Pp][Ss]?://[^\\s\\\\#]+$"))
    .examples([BASE_URL])
    .build()
}

fn problem_code() -> Object {
    let codes: Vec<_> = ProblemCode::ALL.iter().map(|code| code.name()).collect();
    ObjectBuilder::from(one_of(&codes))
        .description(Some("Stable name of the problem, for programs."))
        .build()
}

fn outcome() -> Object {
    one_of(&[Outcome::NotSent.as_str(), Outcome::Unknown.as_str()])
}

/// Problem details (RFC 9457).
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "serves only as a schema; the auth-middleware crate writes problem details"
)]
pub(super) struct Problem {
    /// Always `about:blank`, because the member `code` identifies the problem.
    #[schema(pattern = "^about:blank$")]
    r#type: String,
    /// Name of the HTTP status.
    title: String,
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// Explanation for humans.
    detail: String,
    #[schema(schema_with = problem_code)]
    code: String,
    /// Error code of OAuth 2.0 (RFC 6749). Present only for introspection and revocation.
    #[schema(required = false)]
    error: String,
    /// `not_sent` if nothing of the request reached the site, and `unknown` if the site may have
    /// carried it out. Present only for requests to the site of a session.
    #[schema(required = false, schema_with = outcome)]
    outcome: String,
    /// Invalid members of the request body.
    #[schema(required = false)]
    errors: Vec<Fault>,
}

/// An invalid member of the request body.
#[derive(ToSchema)]
#[expect(
    dead_code,
    reason = "serves only as a schema; the auth-middleware crate writes problem details"
)]
struct Fault {
    /// JSON Pointer to the member (RFC 6901).
    pointer: String,
    /// The rule that the member must follow.
    detail: String,
}
