//! The description of the API (OpenAPI 3.1), from the wire shapes and the errors of this crate.
//!
//! Each group of endpoints says what is its own; the problems that a call may meet are made of the
//! errors that its handler gives, so that statuses, header fields and codes are those that are sent.

mod about;
mod answer;
mod authorize;
mod call;
mod health;
mod problems;
pub(crate) mod schemas;
mod session;
mod sessions;
mod tokens;

use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, HttpMethod, Info, License, OpenApi, OpenApiBuilder, Paths,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
        tag::TagBuilder,
    },
};

use self::{
    call::{Call, Tag},
    problems::Problem,
    schemas::Problem as ProblemShape,
};
use crate::problem::ApiError;

const INTRODUCTION: &str = include_str!("openapi/introduction.md");

/// Security schemes.
const SESSION_TOKEN: &str = "session_token";
const SERVICE_CLIENT: &str = "service_client";

/// The description as JSON.
pub(crate) fn json() -> String {
    // Never an error: every key is text, and nothing in it fails to serialize.
    serde_json::to_string_pretty(&description()).unwrap_or_default()
}

fn description() -> OpenApi {
    let mut api = Description::new();
    sessions::describe(&mut api);
    session::describe(&mut api);
    authorize::describe(&mut api);
    tokens::describe(&mut api);
    health::describe(&mut api);
    about::describe(&mut api);
    api.finish()
}

/// The description while it is written.
struct Description {
    paths: Paths,
    components: Components,
}

impl Description {
    fn new() -> Self {
        let mut components = Components::new();
        let token = HttpBuilder::new()
            .scheme(HttpAuthScheme::Bearer)
            .description(Some(
                "The `access_token` that `POST /v1/sessions` answered with.",
            ));
        let client = HttpBuilder::new().scheme(HttpAuthScheme::Basic).description(Some(
            "Id and secret of a service client. A service on a loopback address without service \
             clients asks for none.",
        ));
        components.add_security_scheme(SESSION_TOKEN, SecurityScheme::Http(token.build()));
        components.add_security_scheme(SERVICE_CLIENT, SecurityScheme::Http(client.build()));
        answer::add_headers(&mut components);
        let mut schemas = vec![(ProblemShape::name().into_owned(), ProblemShape::schema())];
        ProblemShape::schemas(&mut schemas);
        components.schemas.extend(schemas);
        let of_paths_and_methods = [
            Problem::from(ApiError::NotFound),
            Problem::from(ApiError::MethodNotAllowed { allow: "GET, HEAD" }),
        ];
        for (_, name, response) in problems::responses(of_paths_and_methods.into()) {
            components.responses.insert(name, response.into());
        }
        Self {
            paths: Paths::new(),
            components,
        }
    }

    fn add(&mut self, path: &str, method: HttpMethod, call: Call) {
        let operation = call.operation(&mut self.components);
        self.paths.add_path_operation(path, vec![method], operation);
    }

    fn finish(self) -> OpenApi {
        let mut license = License::new("MIT OR Apache-2.0");
        license.identifier = Some("MIT OR Apache-2.0".to_owned());
        let mut info = Info::new("Tee Session", env!("CARGO_PKG_VERSION"));
        info.description = Some(INTRODUCTION.to_owned());
        info.license = Some(license);
        let tags = Tag::ALL.map(|tag| {
            let (name, description) = tag.text();
            TagBuilder::new()
                .name(name)
                .description(Some(description))
                .build()
        });
        OpenApiBuilder::new()
            .info(info)
            .tags(Some(tags))
            .paths(self.paths)
            .components(Some(self.components))
            .build()
    }
}

#[cfg(test)]
mod tests;
