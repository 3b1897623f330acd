//! `/v1/sessions`.

use serde_json::json;
use utoipa::openapi::{
    HttpMethod, Object, Required, Type,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
};

use super::{
    Description,
    answer::{Answer, header},
    call::{Call, Tag},
    problems::{self, Problem},
    schemas::{
        self, BASE_URL, CREATED_AT, CURSOR, EXPIRES_AT, LABEL, LAST_SEEN, SESSION_ID, SUBJECT,
        TOKEN,
    },
};
use crate::{
    body::{CreateSession, CreatedSession, ListedSessions, RevokedSessions},
    problem::ApiError,
    request_body, routes,
    service_client::Scope,
    sessions_query::{DEFAULT_LIMIT, MAX_LIMIT},
};

pub(super) fn describe(api: &mut Description) {
    api.add(routes::SESSIONS, HttpMethod::Post, create());
    api.add(routes::SESSIONS, HttpMethod::Get, list());
    api.add(routes::SESSIONS, HttpMethod::Delete, revoke_all());
    api.add(routes::SESSION_BY_ID, HttpMethod::Delete, revoke());
}

fn create() -> Call {
    let location = format!("{}/{SESSION_ID}", routes::SESSIONS);
    let answer = Answer::new("The session and its token, which is told once.").header(
        "Location",
        header("The session, by its public name.", Some(&location), true),
    );
    let answer = answer.entity_tag();
    Call::new(Tag::Sessions, "createSession", "Create a session")
        .description("Puts an upstream login behind a new token.")
        .service_client(Scope::Create)
        .body::<CreateSession>(
            &request_body::JSON,
            "The request body is not valid JSON (line 1, column 1)",
            json!({
                "cookies": {"SESSIONID": "a1b2c3"},
                "base_url": BASE_URL,
                "subject": SUBJECT,
                "label": LABEL,
            }),
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
        .problem(ApiError::TooManySessions.into())
        .problem(problems::of_the_store())
        .problem(problems::of_a_full_store())
}

/// A call of a service client that manages the sessions of others.
fn call(id: &str, summary: &str) -> Call {
    Call::new(Tag::Sessions, id, summary)
        .service_client(Scope::Admin)
        .problem(problems::of_the_store())
}

fn list() -> Call {
    let limit = ObjectBuilder::new()
        .schema_type(Type::Integer)
        .minimum(Some(1))
        .maximum(Some(MAX_LIMIT))
        .default(Some(DEFAULT_LIMIT.into()));
    call("listSessions", "List the sessions of a subject")
        .description("The oldest first, without tokens and cookies. A page that is not the last may be short.")
        .parameter(subject())
        .parameter(query("limit", "Most sessions on a page.", limit.build(), 10))
        .parameter(query("after", "`next` of the page before.", schemas::cursor(), CURSOR))
        .json::<ListedSessions<'_>>(
            "200",
            Answer::new("A page of them."),
            json!({
                "sessions": [{
                    "session_id": SESSION_ID,
                    "created_at": CREATED_AT,
                    "last_seen": LAST_SEEN,
                    "expires_at": EXPIRES_AT,
                    "label": LABEL,
                }],
                "next": CURSOR,
            }),
        )
        .problem(malformed_query())
}

fn revoke_all() -> Call {
    call("revokeSessions", "End all sessions of a subject")
        .description(
            "From the answer on, none of them opens anything on any instance; one that is created at the \
             same moment is either ended, or wholly new. It may be repeated, and has to be after a 503.",
        )
        .parameter(subject())
        .json::<RevokedSessions>(
            "200",
            Answer::new("They have ended."),
            json!({"revoked": 3}),
        )
        .problem(malformed_query())
        .problem(problems::of_a_full_store())
}

fn revoke() -> Call {
    let id = ParameterBuilder::new()
        .name("session_id")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some("The session's public name."))
        .schema(Some(schemas::session_id_of_a_call()))
        .example(Some(SESSION_ID.into()));
    call("revokeSession", "End a session")
        .description(
            "By its public name. Where records are stored plain, only sessions of a subject are found.",
        )
        .parameter(id.build())
        .answer("204", Answer::new("The session has ended."))
        .problem(ApiError::NotFound.into())
}

fn subject() -> Parameter {
    let parameter = query("subject", "Whose sessions.", schemas::subject(), SUBJECT);
    ParameterBuilder::from(parameter)
        .required(Required::True)
        .build()
}

fn query(
    name: &str,
    description: &str,
    schema: Object,
    example: impl Into<serde_json::Value>,
) -> Parameter {
    ParameterBuilder::new()
        .name(name)
        .parameter_in(ParameterIn::Query)
        .required(Required::False)
        .description(Some(description))
        .schema(Some(schema))
        .example(Some(example.into()))
        .build()
}

fn malformed_query() -> Problem {
    let detail = "The parameter subject is required".to_owned();
    Problem::named("malformed_query", ApiError::InvalidRequest(detail))
}
