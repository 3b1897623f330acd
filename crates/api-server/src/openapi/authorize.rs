//! `/v1/authorize` and what is below it.

use serde_json::json;
use utoipa::openapi::{
    HttpMethod, Required, Type,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
};

use super::{
    Description,
    answer::{Answer, header, typed_header},
    call::{Call, Tag},
    problems, schemas,
    schemas::{BASE_URL, CREATED_AT, EXPIRES_AT, SESSION_ID, SUBJECT},
};
use crate::{body::AuthorizedBody, routes};

/// Every method that a description can name.
const METHODS: [(HttpMethod, &str); 8] = [
    (HttpMethod::Get, "get"),
    (HttpMethod::Head, "head"),
    (HttpMethod::Post, "post"),
    (HttpMethod::Put, "put"),
    (HttpMethod::Patch, "patch"),
    (HttpMethod::Delete, "delete"),
    (HttpMethod::Options, "options"),
    (HttpMethod::Trace, "trace"),
];

pub(super) fn describe(api: &mut Description) {
    let below = format!("{}/{{path}}", routes::AUTHORIZE);
    for (method, name) in METHODS {
        let id = format!("authorize_{name}");
        api.add(routes::AUTHORIZE, method.clone(), authorize(&id, name));
        let below_id = format!("authorize_below_{name}");
        let call = authorize(&below_id, name).parameter(path());
        api.add(&below, method, call);
    }
}

fn authorize(id: &str, method: &str) -> Call {
    let call = Call::new(Tag::Gateways, id, "Let a request through?")
        .description(
            "For gateways that ask before they pass a request on: 200 is a yes, anything else a no. The \
             method, the path below and the body are those of the request and make no difference. The \
             idle timeout starts anew.",
        )
        .bearer()
        .problem(problems::of_the_store());
    let answer = Answer::new("The token opens a session.")
        .header(
            "X-Session-Id",
            typed_header(schemas::session_id(), Some(SESSION_ID), true),
        )
        .header(
            "X-Session-Expires-At",
            typed_header(schemas::expires_at(), Some(EXPIRES_AT), true),
        )
        .header(
            "X-Session-Base-Url",
            header(
                "The upstream site in ASCII, unless its record was written by others and holds no URL.",
                Some(BASE_URL),
                false,
            ),
        )
        .header(
            "X-Session-Subject",
            typed_header(schemas::subject(), Some(SUBJECT), false),
        );
    if method == "head" {
        return call.answer("200", answer);
    }
    call.json::<AuthorizedBody<'_>>(
        "200",
        answer,
        json!({
            "sub": SUBJECT,
            "subject": SUBJECT,
            "extra": {
                "session_id": SESSION_ID,
                "base_url": BASE_URL,
                "created_at": CREATED_AT,
                "expires_at": EXPIRES_AT,
            },
        }),
    )
}

fn path() -> Parameter {
    ParameterBuilder::new()
        .name("path")
        .parameter_in(ParameterIn::Path)
        .required(Required::True)
        .description(Some(
            "Any path, slashes included: gateways append that of the request.",
        ))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(Some("members/42".into()))
        .build()
}
