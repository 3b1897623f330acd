//! Error responses (problem details, RFC 9457) of the operations in the OpenAPI description. The
//! error responses are built from the same errors that the handlers return.

use std::{collections::BTreeMap, marker::PhantomData};

use actix_web::{
    HttpResponse,
    body::MessageBody,
    http::{StatusCode, header::HeaderMap},
};
use serde_json::Value;
use tee_session_auth_middleware::{AuthError, ProblemCode};
use tee_session_domain::{RepositoryError, SessionError};
use tee_session_upstream::{Busy, ConnectError, FailedReason, InvalidTarget, UpstreamError};
use utoipa::{
    IntoResponses, ToSchema,
    openapi::{
        Components, ContentBuilder, Ref, RefOr, Response, example::ExampleBuilder, header::Header,
    },
};

use super::{
    headers::{self, header},
    schemas::{Problem as Shape, text},
};
use crate::{
    problem::{ApiError, problem_of_status},
    request::{body, scope::Scope},
    routes::oauth_error::OAuthError,
    upstream::not_callable::NotCallable,
    wire::fault,
};

const MEDIA_TYPE: &str = "application/problem+json";

/// An error that an operation may return as problem details (RFC 9457), and the name of its example
/// in the OpenAPI description.
pub(crate) struct Problem {
    name: String,
    kind: Kind,
}

enum Kind {
    Api(ApiError),
    OAuth(OAuthError),
    Status(StatusCode),
}

impl Problem {
    /// Creates a problem with the example name `name`. Used if several problems have the same
    /// problem code and therefore need different example names.
    fn named(name: impl Into<String>, error: impl Into<ApiError>) -> Self {
        Self {
            name: name.into(),
            kind: Kind::Api(error.into()),
        }
    }

    /// Converts the problem to the format of OAuth 2.0, which has the additional member `error`.
    fn oauth(self) -> Self {
        match self.kind {
            Kind::Api(error) => Self {
                name: self.name,
                kind: Kind::OAuth(error.into()),
            },
            Kind::OAuth(_) | Kind::Status(_) => self,
        }
    }

    fn response(&self) -> HttpResponse {
        match &self.kind {
            Kind::Api(error) => error.problem().response(),
            Kind::OAuth(error) => error.problem().response(),
            Kind::Status(status) => problem_of_status(*status).response(),
        }
    }
}

/// Creates a problem from an error of the API. Its example in the description has the problem code
/// as its name.
impl<E: Into<ApiError>> From<E> for Problem {
    fn from(error: E) -> Self {
        let error = error.into();
        Self::named(code_of(&error.problem().response()), error)
    }
}

/// A set of errors with a common cause, such as the JSON request body of an operation. The API
/// description of an operation names all sets of errors that the operation can return.
pub(crate) trait ProblemSet {
    fn problems() -> Vec<Problem>;
}

macro_rules! problem_sets {
    ($($(#[$doc:meta])+ $name:ident = $problems:expr;)+) => {$(
        $(#[$doc])+
        pub(crate) enum $name {}

        impl ProblemSet for $name {
            fn problems() -> Vec<Problem> {
                $problems
            }
        }
    )+};
}

problem_sets! {
    /// Errors that every operation may return.
    Always = vec![
        Problem::named("invalid_host", ApiError::InvalidHost),
        ApiError::UriTooLong.into(),
        ApiError::HeaderFieldsTooLarge.into(),
        Problem {
            name: "internal_error".to_owned(),
            kind: Kind::Status(StatusCode::INTERNAL_SERVER_ERROR),
        },
    ];
    /// Error of every operation except the health endpoints. Health endpoints are served regardless
    /// of the number of requests in flight.
    Overloaded = vec![ApiError::Overloaded.into()];
    /// Errors of operations that require a bearer token.
    BearerToken = vec![
        AuthError::MissingToken.into(),
        AuthError::InvalidToken.into(),
        Problem::named(
            "malformed_credentials",
            AuthError::InvalidRequest("The Authorization header field is repeated; send it once"),
        ),
    ];
    /// Error if a client has sent too many invalid tokens.
    TooManyInvalidTokens = vec![AuthError::TooManyInvalidTokens.into()];
    /// Errors of operations that require a service client with the scope `create`.
    CreateScope = service_client(Scope::Create);
    /// Errors of operations that require a service client with the scope `introspect`.
    IntrospectScope = service_client(Scope::Introspect);
    /// Errors of operations that require a service client with the scope `revoke`.
    RevokeScope = service_client(Scope::Revoke);
    /// Errors of operations that require a service client with the scope `admin`.
    AdminScope = service_client(Scope::Admin);
    /// Errors of operations whose request body is JSON.
    JsonBody = request_body(
        ApiError::UnsupportedMediaType(body::JSON.rejection).into(),
        "The request body is not valid JSON (line 1, column 1)",
    );
    /// Errors of operations whose request body is a JSON Merge Patch.
    MergePatchBody = request_body(
        Problem::named(
            "unsupported_patch_type",
            ApiError::UnsupportedPatch(body::MERGE_PATCH.rejection),
        ),
        "The request body is not valid JSON (line 1, column 1)",
    );
    /// Errors of operations whose request body is a form.
    FormBody = request_body(
        ApiError::UnsupportedMediaType(body::FORM.rejection).into(),
        "The parameter token is required",
    );
    /// Error of operations that have query parameters.
    MalformedQuery = vec![malformed("malformed_query", "The parameter subject is required")];
    /// Errors of operations that evaluate preconditions such as `If-Match`.
    Preconditions = vec![
        malformed(
            "malformed_condition",
            "If-Match must be * or a list of at most 100 entity tags in quotation marks; send the ETag \
             as it was received",
        ),
        ApiError::PreconditionFailed.into(),
    ];
    /// Error if the request body is not a valid session.
    InvalidSession = vec![
        ApiError::InvalidSession(vec![
            fault("/cookies/SESSIONID", "must be a string"),
            fault("/base_url", "the base URL must not contain credentials"),
        ])
        .into(),
    ];
    /// Error if no session has the requested id.
    NotFound = vec![ApiError::NotFound.into()];
    /// Error if the subject already has the maximum number of sessions.
    SessionLimit = vec![store_problem(SessionError::TooManySessions)];
    /// Errors of operations that accept an `Idempotency-Key`.
    Idempotency = vec![
        malformed(
            "malformed_idempotency_key",
            "Idempotency-Key must be sent once, with 16 to 255 visible ASCII characters",
        ),
        store_problem(SessionError::OperationInProgress),
        store_problem(SessionError::IdempotencyKeyReused),
    ];
    /// Errors of operations that access the session store, if the store is unavailable or refuses
    /// the operation.
    StoreUnavailable = vec![
        store_problem(RepositoryError::unavailable("unavailable")),
        store_problem(RepositoryError::misconfigured("misconfigured")),
    ];
    /// Error of operations that write to the session store, if the store is full.
    StoreFull = vec![store_problem(RepositoryError::full("full"))];
    /// Errors of requests to the site of a session.
    Upstream = vec![
        ApiError::from(InvalidTarget::DotSegment).not_sent().into(),
        ApiError::from(NotCallable::Host).not_sent().into(),
        ApiError::UpstreamSessionExpired.unsaved().into(),
        ApiError::NotFound.into(),
        Problem::named("late_body", ApiError::RequestTimeout.not_sent()),
        Problem::named(
            "large_body",
            ApiError::PayloadForSiteTooLarge { limit: 1_048_576 }.not_sent(),
        ),
        Problem::named(
            "unsendable_cookie",
            ApiError::UnsendableCookie(vec![fault(
                "/cookies/SESSIONID",
                "must not contain a semicolon",
            )])
            .not_sent(),
        ),
        ApiError::WebSocket.not_sent().into(),
        ApiError::Upstream(ConnectError::NoAddress.into()).into(),
        ApiError::Upstream(FailedReason::ProtocolChange.into())
            .unsaved()
            .into(),
        ApiError::Upstream(Busy::Session.into()).into(),
        Problem::named(
            "connect_timeout",
            ApiError::Upstream(UpstreamError::ConnectTimeout),
        ),
        Problem::named(
            "response_timeout",
            ApiError::Upstream(UpstreamError::ResponseTimeout),
        ),
    ];
    /// Errors of requests that match no operation, or that the framework rejects.
    Unmatched = vec![
        ApiError::NotFound.into(),
        ApiError::MethodNotAllowed { allow: "GET, HEAD" }.into(),
        Problem {
            name: "length_required".to_owned(),
            kind: Kind::Status(StatusCode::LENGTH_REQUIRED),
        },
    ];
}

/// Returns the errors of operations that require a service client with the scope `scope`.
fn service_client(scope: Scope) -> Vec<Problem> {
    vec![
        ApiError::InvalidClient.into(),
        Problem::named("too_many_wrong_secrets", ApiError::TooManyWrongSecrets),
        Problem::named(
            format!("insufficient_scope_{}", scope.as_str()),
            ApiError::InsufficientScope(scope),
        ),
        Problem::named(
            "proxy_without_service_clients",
            ApiError::ProxiedWithoutClients,
        ),
    ]
}

/// Returns the errors of operations with a request body. `unsupported` is the error for an
/// unsupported media type. `detail` is an example of the error detail for a malformed body.
fn request_body(unsupported: Problem, detail: &str) -> Vec<Problem> {
    vec![
        malformed("malformed_body", detail),
        ApiError::RequestTimeout.into(),
        ApiError::PayloadTooLarge { limit: 65_536 }.into(),
        unsupported,
    ]
}

fn store_problem(error: impl Into<SessionError>) -> Problem {
    error.into().into()
}

fn malformed(name: &str, detail: &str) -> Problem {
    Problem::named(name, ApiError::InvalidRequest(detail.to_owned()))
}

macro_rules! tuple_of_problem_sets {
    ($($set:ident)+) => {
        impl<$($set: ProblemSet),+> ProblemSet for ($($set,)+) {
            fn problems() -> Vec<Problem> {
                [$($set::problems()),+].into_iter().flatten().collect()
            }
        }
    };
}

impl ProblemSet for () {
    fn problems() -> Vec<Problem> {
        Vec::new()
    }
}

tuple_of_problem_sets!(A B);
tuple_of_problem_sets!(A B C);
tuple_of_problem_sets!(A B C D);
tuple_of_problem_sets!(A B C D E);
tuple_of_problem_sets!(A B C D E F);
tuple_of_problem_sets!(A B C D E F G);

/// Error responses of an operation, for `responses(...)` in `#[utoipa::path]`. Contains the error
/// responses that every operation has, and those of the sets in the tuple `S`.
pub(crate) struct Problems<S>(PhantomData<S>);

impl<S: ProblemSet> IntoResponses for Problems<S> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(<(Always, Overloaded, S)>::problems())
    }
}

/// Error responses of a health endpoint.
pub(crate) enum ProbeProblems {}

impl IntoResponses for ProbeProblems {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        responses(Always::problems())
    }
}

/// Error responses of an operation in the format of OAuth 2.0. Contains the error responses that
/// every operation has, and those of the sets in the tuple `S`.
pub(crate) struct OAuthProblems<S>(PhantomData<S>);

impl<S: ProblemSet> IntoResponses for OAuthProblems<S> {
    fn responses() -> BTreeMap<String, RefOr<Response>> {
        let problems = <(Always, Overloaded, S)>::problems().into_iter();
        responses(problems.map(Problem::oauth).collect())
    }
}

/// Groups `problems` by HTTP status, and returns one response for each status. The `summary` of a
/// response temporarily contains the name under which [`share`] adds the response to the
/// components.
pub(super) fn responses(problems: Vec<Problem>) -> BTreeMap<String, RefOr<Response>> {
    let mut by_status = BTreeMap::<_, Vec<_>>::new();
    for problem in problems {
        let response = problem.response();
        let same_status = by_status.entry(response.status()).or_default();
        same_status.push((problem, response));
    }
    let responses = by_status.into_iter().map(|(status, problems)| {
        let is_oauth = |(problem, _): &(Problem, _)| matches!(problem.kind, Kind::OAuth(_));
        let prefix = if problems.iter().any(is_oauth) {
            "oauth_"
        } else {
            ""
        };
        let names: Vec<_> = problems.iter().map(|(p, _)| p.name.as_str()).collect();
        let name = format!("{prefix}{}_{}", status.as_str(), names.join("_or_"));
        let mut response = response(status, problems);
        response.summary = Some(name);
        (status.as_str().to_owned(), response.into())
    });
    responses.collect()
}

/// If `response` is an error response with problem details, moves it to `components` and leaves a
/// reference in its place. Several operations can then share it. Otherwise returns `response`, so
/// that the caller can change it.
pub(super) fn share<'r>(
    response: &'r mut RefOr<Response>,
    components: &mut Components,
) -> Option<&'r mut Response> {
    let name = match response {
        RefOr::T(response) => response.summary.take(),
        RefOr::Ref(_) => None,
    };
    if let Some(name) = name {
        let reference = RefOr::Ref(Ref::from_response_name(&name));
        let shared = std::mem::replace(response, reference);
        let known = components.responses.insert(name, shared.clone());
        debug_assert!(
            known.is_none_or(|known| known == shared),
            "two responses of one name"
        );
    }
    match response {
        RefOr::T(response) => Some(response),
        RefOr::Ref(_) => None,
    }
}

fn response(status: StatusCode, problems: Vec<(Problem, HttpResponse)>) -> Response {
    let mut codes: Vec<_> = problems.iter().map(|(_, sent)| code_of(sent)).collect();
    codes.dedup();
    let title = status.canonical_reason().unwrap_or("Error");
    let description = format!("{title}: `{}`.", codes.join("` or `"));
    let headers: Vec<_> = problems
        .iter()
        .map(|(_, sent)| sent.headers().clone())
        .collect();
    let examples = problems.into_iter().map(|(problem, sent)| {
        let example = ExampleBuilder::new().value(Some(body_of(sent)));
        (problem.name, example)
    });
    let content = ContentBuilder::new()
        .schema(Some(Ref::from_schema_name(Shape::name())))
        .examples_from_iter(examples);
    let mut response = Response::new(description);
    response
        .content
        .insert(MEDIA_TYPE.to_owned(), RefOr::T(content.build()));
    response.headers.extend(fields(&headers));
    headers::complete(&mut response);
    response
}

/// Describes the headers that only some error responses have, such as `Retry-After`. `headers`
/// contains one entry for each problem that has the status of the response. A header is required if
/// every entry contains it.
fn fields(headers: &[HeaderMap]) -> Vec<(String, RefOr<Header>)> {
    let mut fields = BTreeMap::<_, Vec<_>>::new();
    for (name, value) in headers.iter().flatten() {
        let values = fields.entry(name.as_str()).or_default();
        values.extend(value.to_str());
    }
    let special = fields.into_iter().filter_map(|(name, values)| {
        let (name, description) = match name {
            "accept-patch" => ("Accept-Patch", "The supported media types of patches."),
            "allow" => ("Allow", "The methods that this path supports."),
            "retry-after" => ("Retry-After", "Seconds to wait before the next attempt."),
            "www-authenticate" => ("WWW-Authenticate", "The required credentials."),
            "x-upstream-cookies" => (
                "X-Upstream-Cookies",
                "The cookies of the site's answer were not kept.",
            ),
            _ => return None,
        };
        let is_required = values.len() == headers.len();
        let field = header(
            text(description).build(),
            values.first().copied(),
            is_required,
        );
        Some((name.to_owned(), field.into()))
    });
    special.collect()
}

fn code_of(response: &HttpResponse) -> &'static str {
    let extensions = response.extensions();
    extensions
        .get()
        .map_or("", |code: &ProblemCode| code.name())
}

fn body_of(response: HttpResponse) -> Value {
    let body = response.into_body().try_into_bytes().unwrap_or_default();
    serde_json::from_slice(&body).unwrap_or_default()
}
