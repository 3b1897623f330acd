//! This description, and the page that shows it.

use utoipa::openapi::{
    HttpMethod, Required, Type,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
};

use super::{
    Description,
    answer::{Answer, header},
    call::{Call, Tag},
};
use crate::routes;

pub(super) fn describe(api: &mut Description) {
    let description = file("getDescription", "This description", "application/json");
    api.add(routes::OPENAPI, HttpMethod::Get, description);
    let page = file("getPage", "A page to try the API", "text/html");
    api.add(routes::DOCS, HttpMethod::Get, page);
}

/// A file that is the same for as long as the process runs.
fn file(id: &str, summary: &str, media_type: &str) -> Call {
    let answer = |description| {
        let etag = header(
            "Names this version.",
            Some("\"kLwq6oTvr3rFMb8X0oGm3UQ3yVbQ0cJj0X0dTt1m5vE\""),
            true,
        );
        let revalidated = header("Caches ask each time.", Some("no-cache"), true);
        Answer::cacheable(description)
            .header("ETag", etag)
            .header("Cache-Control", revalidated)
    };
    Call::new(Tag::About, id, summary)
        .parameter(if_none_match())
        .answer("200", answer("The file.").text(media_type))
        .answer("304", answer("The version at hand is the current one."))
}

fn if_none_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The version at hand."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .build()
}
