//! The problems that calls may meet, each made as it is made when it is met.

use std::collections::BTreeMap;

use actix_web::{
    HttpResponse,
    body::MessageBody,
    http::{StatusCode, header::HeaderMap},
};
use serde_json::Value;
use tee_session_auth_middleware::{AuthError, InvalidMember, ProblemCode};
use tee_session_domain::RepositoryError;
use utoipa::{
    ToSchema,
    openapi::{
        AllOfBuilder, ContentBuilder, Ref, Response, Schema, Type, example::ExampleBuilder,
        header::Header, schema::ObjectBuilder,
    },
};

use super::{
    answer::{Answer, header},
    schemas::{self, Problem as Shape},
};
use crate::{
    oauth_error::OAuthError,
    problem::{ApiError, problem_of_status},
    request_body::BodyType,
};

const MEDIA_TYPE: &str = "application/problem+json";

/// A problem under the name that its example has.
pub(super) struct Problem {
    name: String,
    kind: Kind,
}

enum Kind {
    Api(ApiError),
    OAuth(OAuthError),
    Status(StatusCode),
}

impl Problem {
    /// One called otherwise than by its code, which others have as well.
    pub(super) fn named(name: impl Into<String>, error: impl Into<ApiError>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Api(error.into()),
        }
    }

    /// As OAuth 2.0 clients read it.
    pub(super) fn oauth(self) -> Self {
        match self.kind {
            Kind::Api(error) => Self {
                name: self.name,
                kind: Kind::OAuth(error.into()),
            },
            Kind::OAuth(_) | Kind::Status(_) => self,
        }
    }

    pub(super) fn is_called(&self, name: &str) -> bool {
        self.name == name
    }

    fn response(&self) -> HttpResponse {
        match &self.kind {
            Kind::Api(error) => error.problem().response(),
            Kind::OAuth(error) => error.problem().response(),
            Kind::Status(status) => problem_of_status(*status).response(),
        }
    }
}

/// One called by its code.
impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        Self::named(code_of(&error.problem().response()), error)
    }
}

/// What any call may meet.
pub(super) fn of_any_call() -> Vec<Problem> {
    vec![
        ApiError::UriTooLong.into(),
        ApiError::HeaderFieldsTooLarge.into(),
        ApiError::Overloaded.into(),
        Problem {
            name: "internal_error".to_owned(),
            kind: Kind::Status(StatusCode::INTERNAL_SERVER_ERROR),
        },
    ]
}

/// What calls with a bearer token may meet.
pub(super) fn of_bearer_tokens() -> Vec<Problem> {
    vec![
        AuthError::MissingToken.into(),
        AuthError::InvalidToken.into(),
        Problem::named(
            "malformed_credentials",
            AuthError::InvalidRequest("The Authorization header field stands twice"),
        ),
    ]
}

/// What calls meet that come with too many invalid tokens.
pub(super) fn of_guesses() -> Problem {
    AuthError::TooManyInvalidTokens.into()
}

/// What calls for service clients may meet.
pub(super) fn of_service_clients() -> Vec<Problem> {
    vec![
        ApiError::InvalidClient.into(),
        ApiError::InsufficientScope.into(),
        Problem::named(
            "proxy_without_service_clients",
            ApiError::ProxiedWithoutClients,
        ),
    ]
}

/// What calls with a body of this type may meet; `malformed` is what may be wrong with one.
pub(super) fn of_bodies(body_type: &BodyType, malformed: &str) -> Vec<Problem> {
    let unsupported = if body_type.media_type == ApiError::PATCH_TYPE {
        let error = ApiError::UnsupportedPatch(body_type.refusal);
        Problem::named("unsupported_patch_type", error)
    } else {
        ApiError::UnsupportedMediaType(body_type.refusal).into()
    };
    vec![
        Problem::named(
            "malformed_body",
            ApiError::InvalidRequest(malformed.to_owned()),
        ),
        ApiError::RequestTimeout.into(),
        ApiError::PayloadTooLarge { limit: 65_536 }.into(),
        unsupported,
    ]
}

/// What calls with a session in their body may meet.
pub(super) fn of_sessions() -> Problem {
    let fault = |pointer: &str, detail: &str| InvalidMember {
        pointer: pointer.to_owned(),
        detail: detail.to_owned(),
    };
    let faults = vec![
        fault("/cookies/SESSIONID", "must be a string"),
        fault("/base_url", "must not hold credentials"),
    ];
    ApiError::InvalidSession(faults).into()
}

/// What calls meet while the store is away.
pub(super) fn of_the_store() -> Problem {
    AuthError::Store(RepositoryError::unavailable("away")).into()
}

/// What calls meet that write while the store is full.
pub(super) fn of_a_full_store() -> Problem {
    ApiError::StoreFull(RepositoryError::full("full")).into()
}

/// One response for each status: its name among the components, and what it looks like.
pub(super) fn responses(problems: Vec<Problem>) -> Vec<(String, String, Response)> {
    let mut by_status = BTreeMap::<_, Vec<_>>::new();
    for problem in problems {
        let response = problem.response();
        let of_status = by_status.entry(response.status()).or_default();
        of_status.push((problem, response));
    }
    let responses = by_status.into_iter().map(|(status, problems)| {
        let of_oauth = |(problem, _): &(Problem, _)| matches!(problem.kind, Kind::OAuth(_));
        let prefix = if problems.iter().any(of_oauth) {
            "oauth_"
        } else {
            ""
        };
        let names: Vec<_> = problems.iter().map(|(p, _)| p.name.as_str()).collect();
        let name = format!("{prefix}{}_{}", status.as_str(), names.join("_or_"));
        (status.as_str().to_owned(), name, response(status, problems))
    });
    responses.collect()
}

fn response(status: StatusCode, problems: Vec<(Problem, HttpResponse)>) -> Response {
    let mut codes: Vec<_> = problems.iter().map(|(_, told)| code_of(told)).collect();
    codes.dedup();
    let title = status.canonical_reason().unwrap_or("Error");
    let description = format!("{title}: `{}`.", codes.join("` or `"));
    let headers: Vec<_> = problems
        .iter()
        .map(|(_, told)| told.headers().clone())
        .collect();
    let examples = problems.into_iter().map(|(problem, told)| {
        let example = ExampleBuilder::new().value(Some(body_of(told)));
        (problem.name, example)
    });
    let content = ContentBuilder::new()
        .schema(Some(shape(status, &codes)))
        .examples_from_iter(examples);
    let answer = Answer::new(&description).content(MEDIA_TYPE, content.build());
    let fields = fields(&headers).into_iter();
    fields
        .fold(answer, |answer, (name, field)| answer.header(&name, field))
        .build()
}

/// Problem details that have this status and one of these codes.
fn shape(status: StatusCode, codes: &[&'static str]) -> Schema {
    let narrowed = ObjectBuilder::new()
        .property(
            "status",
            ObjectBuilder::new()
                .schema_type(Type::Integer)
                .enum_values(Some([status.as_u16()])),
        )
        .property("code", schemas::one_of(codes));
    AllOfBuilder::new()
        .item(Ref::from_schema_name(Shape::name()))
        .item(narrowed)
        .into()
}

/// The header fields that only some answers have: required where all these problems have them.
fn fields(headers: &[HeaderMap]) -> Vec<(String, Header)> {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers.iter().flatten() {
        let values = fields.entry(name.as_str()).or_default();
        values.extend(value.to_str());
    }
    let special = fields.into_iter().filter_map(|(name, values)| {
        let (name, description) = match name {
            "accept-patch" => ("Accept-Patch", "The type of patches that is taken."),
            "allow" => ("Allow", "The methods that this path takes."),
            "retry-after" => ("Retry-After", "Seconds after which to try again."),
            "www-authenticate" => ("WWW-Authenticate", "The credentials that are wanted."),
            _ => return None,
        };
        let is_always_there = values.len() == headers.len();
        let field = header(description, values.first().copied(), is_always_there);
        Some((name.to_owned(), field))
    });
    special.collect()
}

fn code_of(response: &HttpResponse) -> &'static str {
    let extensions = response.extensions();
    extensions.get().map_or("", |ProblemCode(code)| code)
}

fn body_of(response: HttpResponse) -> Value {
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}
