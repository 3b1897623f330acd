//! `/v1/session`.

use serde_json::json;
use utoipa::openapi::{
    HttpMethod, Required,
    path::{Parameter, ParameterBuilder, ParameterIn},
};

use super::{
    Description,
    answer::Answer,
    call::{Call, Tag},
    problems::{self, Problem},
    schemas::{self, BASE_URL, CREATED_AT, EXPIRES_AT, LABEL, Patch, SESSION_ID, SUBJECT, TOKEN},
};
use crate::{
    body::{CreatedSession, SessionBody, TtlBody},
    problem::ApiError,
    request_body, routes,
};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::SESSION, HttpMethod::Get, show());
    api.add(routes::SESSION, HttpMethod::Patch, update());
    api.add(routes::SESSION, HttpMethod::Delete, delete());
    api.add(routes::SESSION_ROTATE, HttpMethod::Post, rotate());
    api.add(routes::SESSION_TTL, HttpMethod::Get, ttl());
}

/// A call that guesses at tokens make as well.
fn call(id: &str, summary: &str) -> Call {
    Call::new(Tag::Session, id, summary)
        .bearer()
        .problem(problems::of_guesses())
        .problem(problems::of_the_store())
}

fn show() -> Call {
    call("getSession", "Get the session")
        .description("The idle timeout starts anew.")
        .parameter(condition(
            "If-Match",
            "the session is in one of these states",
        ))
        .parameter(condition(
            "If-None-Match",
            "the session is in none of these states",
        ))
        .json::<SessionBody<'_>>(
            "200",
            Answer::new("The session.").entity_tag(),
            json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "a1b2c3"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
                "subject": SUBJECT,
                "label": LABEL,
            }),
        )
        .answer(
            "304",
            Answer::new("The session is in the state that the client has.").entity_tag(),
        )
        .problem(malformed_condition())
        .problem(ApiError::PreconditionFailed.into())
}

fn update() -> Call {
    call("updateSession", "Change the session")
        .description(
            "A JSON Merge Patch (RFC 7396). What it does not name stays as it is, and no change that \
             others make at the same time is lost. The idle timeout starts anew.",
        )
        .parameter(condition("If-Match", "the session is in one of these states"))
        .parameter(condition("If-None-Match", "the session is in none of these states"))
        .body::<Patch>(
            &request_body::MERGE_PATCH,
            "The request body is not valid JSON (line 1, column 1)",
            json!({"cookies": {"SESSIONID": "d4e5f6", "lang": null}}),
        )
        .json::<SessionBody<'_>>(
            "200",
            Answer::new("The session as it is now.").entity_tag(),
            json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "d4e5f6"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
                "subject": SUBJECT,
                "label": LABEL,
            }),
        )
        .problem(malformed_condition())
        .problem(ApiError::PreconditionFailed.into())
        .problem(problems::of_sessions())
        .problem(problems::of_a_full_store())
}

fn rotate() -> Call {
    call("rotateSession", "Give the session a new token")
        .description(
            "The session goes on under a new token; from the answer on, the old one opens nothing on any \
             instance. The idle timeout starts anew; the absolute end, subject and label stay. Whoever \
             loses the answer logs in again.",
        )
        .json::<CreatedSession<'_>>(
            "200",
            Answer::new("The session and its new token, which is told once.").entity_tag(),
            json!({
                "access_token": TOKEN,
                "token_type": "Bearer",
                "expires_in": 1800,
                "expires_at": EXPIRES_AT,
                "session_id": SESSION_ID,
            }),
        )
        .problem(problems::of_a_full_store())
}

/// A field of entity tags. It has no example, which a page would send with each call that is tried.
fn condition(name: &str, holds_if: &str) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some(format!(
            "The call is made if {holds_if}: `*` or entity tags (RFC 9110)."
        )))
        .schema(Some(schemas::entity_tags()))
        .build()
}

fn malformed_condition() -> Problem {
    let detail = "If-Match must be * or a list of at most 100 entity tags";
    let error = ApiError::InvalidRequest(detail.to_owned());
    Problem::named("malformed_condition", error)
}

fn delete() -> Call {
    call("deleteSession", "End the session")
        .description("From the answer on, the token opens nothing on any instance.")
        .answer("204", Answer::new("The session has ended."))
}

fn ttl() -> Call {
    call("getSessionTtl", "Ask how long the session has left")
        .description("The idle timeout does not start anew.")
        .json::<TtlBody>(
            "200",
            Answer::new("What is left of the session."),
            json!({"ttl": 1799, "expires_at": EXPIRES_AT}),
        )
}
