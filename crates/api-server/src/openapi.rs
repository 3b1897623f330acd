//! OpenAPI 3.1 description of the API, generated from the handlers and their types in `routes`.
//!
//! The error responses (problem details, RFC 9457) of an operation are built from the same errors
//! that the handler returns. The statuses, headers and problem codes in the description are
//! therefore those that the service sends.

mod headers;
pub(crate) mod problems;
pub(crate) mod schemas;

use indexmap::IndexMap;
use serde::Serialize;
use utoipa::{
    PartialSchema, ToSchema,
    openapi::{
        Components, HttpMethod, Info, OpenApi, OpenApiVersion, PathItem, Tag,
        path::Operation,
        security::{HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};

use self::{
    problems::{ProblemSet, Unmatched},
    schemas::Problem,
};
use crate::{routes::route::Route, wire::AttributeMembers};

pub(crate) const INTRODUCTION: &str = include_str!("openapi/introduction.md");

/// HTTP methods, in the order in which the description lists the operations of a path.
const METHODS: [HttpMethod; 4] = [
    HttpMethod::Post,
    HttpMethod::Get,
    HttpMethod::Patch,
    HttpMethod::Delete,
];

/// Adds the parts that all operations share to the description `api`, which is generated from the
/// handlers. Returns the description as JSON, with the paths in the order of `routes`.
pub(crate) fn json(api: OpenApi, routes: &[Route]) -> String {
    let api = complete(api);
    let paths = routes.iter().map(|route| {
        let operations = METHODS.into_iter().filter_map(|method| {
            let operation = api.paths.get_path_operation(route.path, method.clone())?;
            Some((method, operation))
        });
        (route.path, operations.collect())
    });
    let ordered = Ordered {
        openapi: &api.openapi,
        info: &api.info,
        tags: api.tags.as_deref().unwrap_or_default(),
        paths: paths.collect(),
        components: api.components.as_ref(),
    };
    // Serialization cannot fail: every key of the description is a string, and every value can be
    // serialized.
    serde_json::to_string_pretty(&ordered).unwrap_or_default()
}

/// An OpenAPI description with paths and methods in a chosen order. `OpenApi` is not serialized
/// directly, because it sorts the paths by name and would list `/docs` first.
#[derive(Serialize)]
struct Ordered<'a> {
    openapi: &'a OpenApiVersion,
    info: &'a Info,
    tags: &'a [Tag],
    paths: IndexMap<&'a str, IndexMap<HttpMethod, &'a Operation>>,
    components: Option<&'a Components>,
}

/// Adds the security schemes, the common header fields, the session attributes and the schema of
/// problem details to the description. Moves the error responses to the components, so that
/// operations can share them.
fn complete(mut api: OpenApi) -> OpenApi {
    let components = api.components.get_or_insert_default();
    let token = HttpBuilder::new()
        .scheme(HttpAuthScheme::Bearer)
        .description(Some(
            "The `access_token` from `POST /v1/sessions` or `POST /v1/session/rotate`.",
        ));
    let client = HttpBuilder::new()
        .scheme(HttpAuthScheme::Basic)
        .description(Some(
            "Id and secret of a service client. Not required if the service listens on a loopback \
         address and has no service clients.",
        ));
    components.add_security_scheme("session_token", SecurityScheme::Http(token.build()));
    components.add_security_scheme("service_client", SecurityScheme::Http(client.build()));
    headers::add_common(components);
    AttributeMembers::add_to_schemas(components);
    let mut schemas = vec![(Problem::name().into_owned(), Problem::schema())];
    Problem::schemas(&mut schemas);
    components.schemas.extend(schemas);
    for mut response in problems::responses(Unmatched::problems()).into_values() {
        problems::share(&mut response, components);
    }
    let operations = api.paths.paths.values_mut().flat_map(operations_of);
    for response in operations.flat_map(|operation| operation.responses.responses.values_mut()) {
        if let Some(response) = problems::share(response, components) {
            headers::complete(response);
        }
    }
    api
}

fn operations_of(item: &mut PathItem) -> impl Iterator<Item = &mut Operation> {
    [
        &mut item.get,
        &mut item.post,
        &mut item.patch,
        &mut item.delete,
    ]
    .into_iter()
    .flatten()
}

#[cfg(test)]
mod tests;
