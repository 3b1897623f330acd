//! One call: an operation as the description holds it.

use serde_json::Value;
use utoipa::{
    ToSchema,
    openapi::{
        Components, Content, ContentBuilder, Ref, RefOr, Required, Response, Schema,
        path::{Operation, OperationBuilder, Parameter},
        request_body::RequestBodyBuilder,
        security::SecurityRequirement,
    },
};

use super::{
    SERVICE_CLIENT, SESSION_TOKEN,
    answer::Answer,
    problems::{self, Problem},
};
use crate::{request_body::BodyType, service_client::Scope};

/// A group of calls.
#[derive(Clone, Copy)]
pub(super) enum Tag {
    Sessions,
    Session,
    Gateways,
    Tokens,
    Health,
    About,
}

impl Tag {
    pub(super) const ALL: [Self; 6] = [
        Self::Sessions,
        Self::Session,
        Self::Gateways,
        Self::Tokens,
        Self::Health,
        Self::About,
    ];

    /// Its name and what it is about.
    pub(super) fn text(self) -> (&'static str, &'static str) {
        match self {
            Self::Sessions => ("Sessions", "For service clients: sessions of others."),
            Self::Session => ("Session", "The session that the bearer token opens."),
            Self::Gateways => ("Gateways", "Forward authentication."),
            Self::Tokens => ("Tokens", "OAuth 2.0 introspection and revocation."),
            Self::Health => ("Health", "Probes. The store is never asked."),
            Self::About => ("About", "This description."),
        }
    }
}

/// An operation while it is written.
pub(super) struct Call {
    operation: OperationBuilder,
    schemas: Vec<(String, RefOr<Schema>)>,
    answers: Vec<(&'static str, Response)>,
    problems: Vec<Problem>,
}

impl Call {
    /// `id` is unique; every call may meet the problems that any may meet.
    pub(super) fn new(tag: Tag, id: impl Into<String>, summary: &str) -> Self {
        let (tag, _) = tag.text();
        Self {
            operation: OperationBuilder::new()
                .tag(tag)
                .operation_id(Some(id))
                .summary(Some(summary)),
            schemas: Vec::new(),
            answers: Vec::new(),
            problems: problems::of_any_call(),
        }
    }

    pub(super) fn description(mut self, text: impl Into<String>) -> Self {
        self.operation = self.operation.description(Some(text));
        self
    }

    pub(super) fn parameter(mut self, parameter: Parameter) -> Self {
        self.operation = self.operation.parameter(parameter);
        self
    }

    /// It takes a session's bearer token.
    pub(super) fn bearer(mut self) -> Self {
        self.operation = self.operation.security(requirement(SESSION_TOKEN, &[]));
        self.problems(problems::of_bearer_tokens())
    }

    /// It takes the credentials of a service client with this scope.
    pub(super) fn service_client(mut self, scope: Scope) -> Self {
        self.operation = self
            .operation
            .security(requirement(SERVICE_CLIENT, &[scope.as_str()]));
        self.problems(problems::of_service_clients())
    }

    /// It takes a body of this type; `malformed` is what may be said of one that is not.
    pub(super) fn body<T: ToSchema>(
        mut self,
        body_type: &BodyType,
        malformed: &str,
        example: Value,
    ) -> Self {
        let body = RequestBodyBuilder::new()
            .content(body_type.media_type, self.content::<T>(example))
            .required(Some(Required::True));
        self.operation = self.operation.request_body(Some(body.build()));
        self.problems(problems::of_bodies(body_type, malformed))
    }

    /// It is answered with this JSON.
    pub(super) fn json<T: ToSchema>(
        mut self,
        status: &'static str,
        answer: Answer,
        example: Value,
    ) -> Self {
        let content = self.content::<T>(example);
        let response = answer.content("application/json", content);
        self.answers.push((status, response.build()));
        self
    }

    /// It is answered with what is no JSON, or with nothing.
    pub(super) fn answer(mut self, status: &'static str, answer: Answer) -> Self {
        self.answers.push((status, answer.build()));
        self
    }

    /// It may meet this problem as well.
    pub(super) fn problem(mut self, problem: Problem) -> Self {
        self.problems.push(problem);
        self
    }

    fn problems(mut self, problems: Vec<Problem>) -> Self {
        self.problems.extend(problems);
        self
    }

    /// Problems come as OAuth 2.0 clients read them.
    pub(super) fn oauth(mut self) -> Self {
        self.problems = self.problems.into_iter().map(Problem::oauth).collect();
        self
    }

    /// It never meets the problem of this name.
    pub(super) fn except(mut self, name: &str) -> Self {
        self.problems.retain(|problem| !problem.is_called(name));
        self
    }

    /// The operation; what it shares with others goes to `components`.
    pub(super) fn operation(self, components: &mut Components) -> Operation {
        components.schemas.extend(self.schemas);
        let mut operation = self.operation;
        for (status, name, response) in problems::responses(self.problems) {
            operation = operation.response(status, Ref::from_response_name(&name));
            let response = RefOr::T(response);
            let known = components.responses.insert(name, response.clone());
            debug_assert!(
                known.is_none_or(|known| known == response),
                "two responses of one name"
            );
        }
        for (status, response) in self.answers {
            operation = operation.response(status, response);
        }
        operation.build()
    }

    fn content<T: ToSchema>(&mut self, example: Value) -> Content {
        T::schemas(&mut self.schemas);
        self.schemas.push((T::name().into_owned(), T::schema()));
        ContentBuilder::new()
            .schema(Some(Ref::from_schema_name(T::name())))
            .example(Some(example))
            .build()
    }
}

/// Of schemes other than OAuth's, too, the standard lets this list roles.
fn requirement(scheme: &str, roles: &[&str]) -> SecurityRequirement {
    SecurityRequirement::new(scheme, roles.iter().copied())
}
