//! Introspection and revocation.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::{
    Description,
    answer::Answer,
    call::{Call, Tag},
    problems,
    schemas::{SUBJECT, TOKEN},
};
use crate::{
    body::{IntrospectedBody, TokenForm},
    request_body, routes,
    service_client::Scope,
};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::INTROSPECT, HttpMethod::Post, introspect());
    api.add(routes::REVOKE, HttpMethod::Post, revoke());
}

/// A call of an OAuth 2.0 client about a token.
fn call(id: &str, summary: &str, scope: Scope) -> Call {
    Call::new(Tag::Tokens, id, summary)
        .service_client(scope)
        .body::<TokenForm>(
            &request_body::FORM,
            "The parameter token is required",
            json!({"token": TOKEN, "token_type_hint": "access_token"}),
        )
        .problem(problems::of_the_store())
        .oauth()
}

fn introspect() -> Call {
    call(
        "introspect",
        "Does a token open a session?",
        Scope::Introspect,
    )
    .description("RFC 7662. The idle timeout does not start anew.")
    .json::<IntrospectedBody>(
        "200",
        Answer::new("What there is to tell. Of a token that opens nothing: `{\"active\": false}`."),
        json!({
            "active": true,
            "token_type": "Bearer",
            "exp": 1_768_474_800,
            "iat": 1_768_473_000,
            "sub": SUBJECT,
        }),
    )
}

fn revoke() -> Call {
    call("revoke", "End the session of a token", Scope::Revoke)
        .description("RFC 7009.")
        .answer(
            "200",
            Answer::new("The token opens nothing, whether or not it did before."),
        )
}
