//! `/v1/sessions`.

use serde_json::json;
use utoipa::openapi::HttpMethod;

use super::{
    Description,
    answer::{Answer, header},
    call::{Call, Tag},
    problems,
    schemas::{BASE_URL, EXPIRES_AT, SESSION_ID, TOKEN},
};
use crate::{
    body::{CreateSession, CreatedSession},
    request_body, routes,
    service_client::Scope,
};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::SESSIONS, HttpMethod::Post, create());
}

fn create() -> Call {
    let location = format!("{}/{SESSION_ID}", routes::SESSIONS);
    let answer = Answer::new("The session and its token, which is told once.").header(
        "Location",
        header("The session, by its public name.", Some(&location), true),
    );
    Call::new(Tag::Sessions, "createSession", "Create a session")
        .description("Puts an upstream login behind a new token.")
        .service_client(Scope::Create)
        .body::<CreateSession>(
            &request_body::JSON,
            "The request body is not valid JSON (line 1, column 1)",
            json!({"cookies": {"SESSIONID": "a1b2c3"}, "base_url": BASE_URL}),
        )
        .json::<CreatedSession<'_>>(
            "201",
            answer,
            json!({
                "access_token": TOKEN,
                "token_type": "Bearer",
                "expires_in": 1800,
                "expires_at": EXPIRES_AT,
                "session_id": SESSION_ID,
            }),
        )
        .problem(problems::of_sessions())
        .problem(problems::of_the_store())
        .problem(problems::of_a_full_store())
}
