//! Response member for cookies of a request that the service did not store.

use serde::Serialize;
use tee_session_domain::{CookieProblem, IgnoredLine};
use utoipa::{
    ToSchema,
    openapi::{Object, Type, schema::ObjectBuilder},
};

use super::session_members::cookie_pointer;

/// A cookie of the request that was not stored, because a session cannot hold it.
#[derive(Serialize, ToSchema)]
pub(crate) struct IgnoredCookie {
    /// JSON Pointer (RFC 6901) to the cookie in the request body.
    pointer: String,
    #[schema(schema_with = reason)]
    reason: &'static str,
}

impl IgnoredCookie {
    /// Returns the response members for cookies that were left out of a session.
    pub(crate) fn all(problems: &[CookieProblem]) -> Vec<Self> {
        let ignored = problems.iter().map(|problem| Self {
            pointer: cookie_pointer(&problem.cookie),
            reason: problem.rule.reason(),
        });
        ignored.collect()
    }
}

/// A `Set-Cookie` line of the request that was ignored, because browsers would ignore it too, or
/// because the session has no room for the cookie.
#[derive(Serialize, ToSchema)]
#[schema(as = IgnoredLine)]
pub(crate) struct IgnoredLineBody {
    /// Position of the line in `set_cookie`, from 0.
    index: usize,
    #[schema(schema_with = reason_of_line)]
    reason: &'static str,
}

impl From<&IgnoredLine> for IgnoredLineBody {
    fn from(line: &IgnoredLine) -> Self {
        Self {
            index: line.index,
            reason: line.reason.as_str(),
        }
    }
}

fn reason_of_line() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "Reason: `syntax` (a character that browsers refuse), `domain` (`Domain` does not match \
             the URL, or is a public suffix), `insecure` (`Secure` over http, or a `Secure` cookie \
             would be replaced over http), `prefix` (`__Host-` or `__Secure-` without the \
             attributes that they require), `too_large` (name and value are too long) or `full` \
             (the session has no room left).",
        ))
        .examples(["domain"])
        .build()
}

/// Describes the reason. The schema is open, because later releases may have more reasons.
fn reason() -> Object {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .description(Some(
            "Reason: `syntax` (the name or the value has a character that browsers refuse), \
             `prefix` (a cookie without a name begins with `__Host-` or `__Secure-`), `too_large` \
             (name and value are too long) or `full` (the session has no room left).",
        ))
        .examples(["syntax"])
        .build()
}
