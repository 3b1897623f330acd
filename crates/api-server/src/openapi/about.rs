//! This description, and the page that shows it.

use utoipa::openapi::{
    Content, HttpMethod, Object, Required, Type,
    path::{Parameter, ParameterBuilder, ParameterIn},
    schema::ObjectBuilder,
};

use super::{
    Description,
    answer::{Answer, header},
    call::{Call, Tag},
};
use crate::routes;

const ETAG: &str = "\"gnYsrPLpX2Io0f9fXW8RFpWHqCUmpzHRpmdbAExqSGk\"";

pub(super) fn describe(api: &mut Description) {
    let description = file("getDescription", "This description", |answer| {
        answer.content("application/json", of_type(Type::Object))
    });
    api.add(routes::OPENAPI, HttpMethod::Get, description);
    let page = file("getPage", "A page to try the API", |answer| {
        let policy =
            "What the page may do: run its own files, and talk to nobody but this service.";
        answer
            .header("Content-Security-Policy", header(policy, None, true))
            .header(
                "Referrer-Policy",
                header("The page is named to nobody.", Some("no-referrer"), true),
            )
            .content("text/html", of_type(Type::String))
    });
    api.add(routes::DOCS, HttpMethod::Get, page);
}

fn of_type(schema_type: Type) -> Content {
    Content::new(Some(Object::with_type(schema_type)))
}

/// A file that is the same for as long as the process runs.
fn file(id: &str, summary: &str, content: impl FnOnce(Answer) -> Answer) -> Call {
    let answer = |description| {
        let etag = header("Names this version.", Some(ETAG), true);
        let revalidated = header("Caches ask each time.", Some("no-cache"), true);
        Answer::cacheable(description)
            .header("ETag", etag)
            .header("Cache-Control", revalidated)
    };
    Call::new(Tag::About, id, summary)
        .parameter(if_none_match())
        .answer("200", content(answer("The file.")))
        .answer("304", answer("The version at hand is the current one."))
}

fn if_none_match() -> Parameter {
    ParameterBuilder::new()
        .name("If-None-Match")
        .parameter_in(ParameterIn::Header)
        .required(Required::False)
        .description(Some("The version at hand."))
        .schema(Some(ObjectBuilder::new().schema_type(Type::String)))
        .example(Some(ETAG.into()))
        .build()
}
