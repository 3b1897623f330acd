//! `/openapi.json` and `/docs`: the OpenAPI description, and a page to try the API.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, LOCATION, REFERRER_POLICY},
    web::{Data, Path},
};

use crate::{
    openapi::{problems::Problems, schemas::FILE_TAG},
    problem::ApiError,
    routes::static_file::StaticFile,
};

pub(super) const OPENAPI: &str = "/openapi.json";
pub(super) const DOCS: &str = "/docs";

/// Content security policy of the page `/docs`. The page may load scripts and styles from this
/// service only, and may connect to this service only.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static PAGE: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("text/html; charset=utf-8", include_str!("docs/page.html")));

static PAGE_STYLE: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("text/css; charset=utf-8", include_str!("docs/page.css")));

static START: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new(JAVASCRIPT, include_str!("docs/page.js")));

static SWAGGER_UI: LazyLock<StaticFile> = LazyLock::new(|| {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui-bundle.js.gz"));
    StaticFile::gzip(JAVASCRIPT, packed)
});

static STYLE: LazyLock<StaticFile> = LazyLock::new(|| {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/swagger-ui.css.gz"));
    StaticFile::gzip("text/css; charset=utf-8", packed)
});

static LICENSE: LazyLock<StaticFile> = LazyLock::new(|| {
    let packed = include_bytes!(concat!(env!("OUT_DIR"), "/LICENSE.gz"));
    StaticFile::gzip("text/plain; charset=utf-8", packed)
});

/// Answers `GET /openapi.json` with the OpenAPI description.
#[utoipa::path(
    get,
    path = OPENAPI,
    tag = "About",
    operation_id = "getDescription",
    summary = "Get this description",
    params((
        "If-None-Match" = Option<String>,
        Header,
        nullable = false,
        description = "The entity tag of the version that the client has.",
        example = json!(FILE_TAG),
    )),
    responses(
        (
            status = 200,
            description = "The file.",
            headers(
                ("ETag", description = "Identifies this version of the file."),
                ("Cache-Control", description = "Caches must revalidate the file before each use."),
            ),
            content_type = "application/json",
            body = Object,
        ),
        (
            status = 304,
            description = "The file has not changed: the client has the current version.",
            headers(
                ("ETag", description = "Identifies this version of the file."),
                ("Cache-Control", description = "Caches must revalidate the file before each use."),
            ),
        ),
        Problems<()>,
    ),
)]
pub(super) async fn description(
    request: HttpRequest,
    description: Data<&'static LazyLock<StaticFile>>,
) -> HttpResponse {
    description.respond(&request)
}

/// Answers `GET /docs` with the HTML page for trying the API.
#[utoipa::path(
    get,
    path = DOCS,
    tag = "About",
    operation_id = "getPage",
    summary = "Get a page to try the API",
    params((
        "If-None-Match" = Option<String>,
        Header,
        nullable = false,
        description = "The entity tag of the version that the client has.",
        example = json!(FILE_TAG),
    )),
    responses(
        (
            status = 200,
            description = "The file.",
            headers(
                ("ETag", description = "Identifies this version of the file."),
                ("Cache-Control", description = "Caches must revalidate the file before each use."),
                ("Content-Security-Policy"),
                ("Referrer-Policy"),
            ),
            content_type = "text/html",
            body = String,
        ),
        (
            status = 304,
            description = "The file has not changed: the client has the current version.",
            headers(
                ("ETag", description = "Identifies this version of the file."),
                ("Cache-Control", description = "Caches must revalidate the file before each use."),
            ),
        ),
        Problems<()>,
    ),
)]
pub(super) async fn page(request: HttpRequest) -> HttpResponse {
    respond_with_policy(&PAGE, &request)
}

/// Answers `GET /docs/{name}` with a file that the page `/docs` loads, or with 404 if there is no
/// file with this name. Redirects `/docs/` to the page.
pub(super) async fn file(
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let file = match name.as_str() {
        // The location is relative, so that it is right behind a proxy with a path prefix as well.
        "" => {
            let mut redirect = HttpResponse::PermanentRedirect();
            return Ok(redirect.insert_header((LOCATION, "../docs")).finish());
        }
        "page.css" => &PAGE_STYLE,
        "page.js" => &START,
        "swagger-ui-bundle.js" => &SWAGGER_UI,
        "swagger-ui.css" => &STYLE,
        "LICENSE" => &LICENSE,
        _ => return Err(ApiError::NotFound),
    };
    Ok(respond_with_policy(file, &request))
}

fn respond_with_policy(file: &StaticFile, request: &HttpRequest) -> HttpResponse {
    let mut response = file.respond(request);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
