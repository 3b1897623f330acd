//! Header fields of requests to a site.

use http::{
    HeaderMap, HeaderName, HeaderValue, Method,
    header::{ACCEPT_ENCODING, CONTENT_LENGTH, COOKIE, HOST, ORIGIN, REFERER, USER_AGENT},
};
use url::Url;

use crate::{
    coding,
    fields::{connection_options, is_hop_by_hop, seen_name},
    request::SiteRequest,
    settings::ClientSettings,
    site::Site,
};

/// Header fields that are not sent to the site, because they are addressed to the gateway or to a
/// proxy in front of it.
const REMOVED: [&str; 11] = [
    "authorization",
    "cookie",
    "cookie2",
    "host",
    "forwarded",
    "x-real-ip",
    "x-request-id",
    "traceparent",
    "tracestate",
    "baggage",
    // RFC 9110, section 7.6.3 requires a proxy to send `Via`, but nginx does not compress answers
    // to requests with this field. `Via` also detects loops. That is not needed here: a loop ends
    // by itself, because the token is not passed on.
    "via",
];

const REMOVED_PREFIXES: [&str; 3] = ["x-forwarded-", "x-session-", "x-upstream-"];

/// Returns the header fields for the site. The client cannot replace or remove a field that this
/// function sets. The header field `Connection` of the client removes only fields that the client
/// has sent.
pub(crate) fn clean(site: &Site, request: &SiteRequest, settings: &ClientSettings) -> HeaderMap {
    let client = &request.fields;
    let options = connection_options(client);
    let mut fields = HeaderMap::with_capacity(client.len() + 4);
    insert(&mut fields, HOST, site.authority());
    for (name, value) in client {
        if options.contains(name) || is_removed(name) {
            continue;
        }
        match *name {
            ORIGIN | REFERER => {
                let translated = translate(name, value, site, request, settings.prefix);
                if let Some(value) = translated {
                    fields.append(name, value);
                }
            }
            USER_AGENT if settings.user_agent.is_some() => {}
            _ => {
                fields.append(name, value.clone());
            }
        }
    }
    // If the answer may be searched for markers, it must have a coding that this crate can decode.
    if settings.login.may_search(&request.method, &request.target) {
        fields.insert(ACCEPT_ENCODING, coding::narrowed(client));
    }
    if let Some(user_agent) = &settings.user_agent {
        insert(&mut fields, USER_AGENT, user_agent.clone());
    }
    if let Some(cookie) = &request.cookie
        && let Ok(mut value) = HeaderValue::from_bytes(cookie.as_bytes())
    {
        value.set_sensitive(true);
        fields.insert(COOKIE, value);
    }
    // A request with a method that usually has a body announces an empty body with `Content-Length:
    // 0` (RFC 9110, section 8.6).
    let expects_body = [Method::POST, Method::PUT, Method::PATCH].contains(&request.method);
    if expects_body || !request.body.is_empty() {
        fields.insert(CONTENT_LENGTH, HeaderValue::from(request.body.len()));
    }
    fields
}

fn is_removed(name: &HeaderName) -> bool {
    let name = seen_name(name);
    is_hop_by_hop(&name)
        || REMOVED.contains(&name.as_str())
        || REMOVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

fn insert(fields: &mut HeaderMap, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        fields.insert(name, value);
    }
}

/// Translates the value of `Origin` or `Referer`, which sites check to detect forged requests. If
/// the value names the gateway, returns the corresponding value for the site. If the value names
/// the site, returns the value unchanged. Otherwise returns `None`.
fn translate(
    name: &HeaderName,
    value: &HeaderValue,
    site: &Site,
    request: &SiteRequest,
    prefix: &str,
) -> Option<HeaderValue> {
    let text = value.to_str().ok()?;
    let url = Url::parse(text).ok()?;
    if Site::of(&url).as_ref() == Some(site) {
        return Some(value.clone());
    }
    let own_host = request.own_host.as_deref()?;
    // The scheme in the value is used for the comparison: behind a proxy that terminates TLS, the
    // gateway does not know the scheme of its own URL.
    let own = Url::parse(&format!("{}://{own_host}", url.scheme())).ok()?;
    if own.origin() != url.origin() || !url.origin().is_tuple() {
        return None;
    }
    if *name == ORIGIN {
        return HeaderValue::try_from(site.origin()).ok();
    }
    let path = url.path().strip_prefix(prefix)?;
    if !path.starts_with('/') {
        return None;
    }
    let query = url
        .query()
        .map(|query| format!("?{query}"))
        .unwrap_or_default();
    HeaderValue::try_from(format!("{}{path}{query}", site.origin())).ok()
}

#[cfg(test)]
mod tests;
