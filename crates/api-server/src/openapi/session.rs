//! `/v1/session`.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::{
    Description,
    answer::Answer,
    call::{Call, Tag},
    problems,
    schemas::{BASE_URL, CREATED_AT, EXPIRES_AT, SESSION_ID},
};
use crate::{
    body::{SessionBody, TtlBody},
    routes,
};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::SESSION, HttpMethod::Get, show());
    api.add(routes::SESSION, HttpMethod::Delete, delete());
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
        .json::<SessionBody<'_>>(
            "200",
            Answer::new("The session."),
            json!({
                "session_id": SESSION_ID,
                "cookies": {"SESSIONID": "a1b2c3"},
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
            }),
        )
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
