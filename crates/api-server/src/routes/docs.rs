//! `/openapi.json` and `/docs`: the description of the API, and a page to try it.

use std::sync::LazyLock;

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{CONTENT_SECURITY_POLICY, HeaderValue, REFERRER_POLICY},
    web::Path,
};

use crate::{openapi, problem::ApiError, static_file::StaticFile};

/// The page may run its own files, and talk to nobody but this service.
const POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; \
     connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

const JAVASCRIPT: &str = "text/javascript; charset=utf-8";

static DESCRIPTION: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new("application/json", openapi::json()));

static PAGE: LazyLock<StaticFile> = LazyLock::new(|| {
    StaticFile::new(
        "text/html; charset=utf-8",
        include_str!("../docs/page.html"),
    )
});

static START: LazyLock<StaticFile> =
    LazyLock::new(|| StaticFile::new(JAVASCRIPT, include_str!("../docs/page.js")));

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

/// `GET /openapi.json`: made once, when first asked for.
pub(super) async fn description(request: HttpRequest) -> HttpResponse {
    DESCRIPTION.answer(&request)
}

/// `GET /docs`.
pub(super) async fn page(request: HttpRequest) -> HttpResponse {
    guarded(&PAGE, &request)
}

/// `GET /docs/...`: what the page is made of.
pub(super) async fn part(
    request: HttpRequest,
    name: Path<String>,
) -> Result<HttpResponse, ApiError> {
    let file = match name.as_str() {
        "page.js" => &START,
        "swagger-ui-bundle.js" => &SWAGGER_UI,
        "swagger-ui.css" => &STYLE,
        "LICENSE" => &LICENSE,
        _ => return Err(ApiError::NotFound),
    };
    Ok(guarded(file, &request))
}

fn guarded(file: &StaticFile, request: &HttpRequest) -> HttpResponse {
    let mut response = file.answer(request);
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, POLICY);
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}
