//! Header fields that the client of the gateway receives, from the header fields of a site's
//! answer.

use http::{
    HeaderMap, HeaderName, HeaderValue,
    header::{
        CACHE_CONTROL, CONTENT_LOCATION, CONTENT_SECURITY_POLICY, LOCATION, VIA, WWW_AUTHENTICATE,
        X_CONTENT_TYPE_OPTIONS,
    },
};

use crate::{
    fields::{connection_options, is_hop_by_hop, seen_name},
    location::{self, Mapped},
    settings::ClientSettings,
    site::Site,
    target::Target,
};

/// Name of the header field in which the client receives the target of a redirect to another site.
const UPSTREAM_LOCATION: HeaderName = HeaderName::from_static("x-upstream-location");

/// Header fields that are not passed on to the client. A browser would apply most of these fields
/// to the origin of the gateway instead of the origin of the site.
const REMOVED: [&str; 33] = [
    "set-cookie",
    "set-cookie2",
    "accept-ch",
    "alt-svc",
    "clear-site-data",
    "content-security-policy",
    "content-security-policy-report-only",
    "critical-ch",
    "expect-ct",
    "nel",
    "public-key-pins",
    "public-key-pins-report-only",
    "refresh",
    "report-to",
    "reporting-endpoints",
    "service-worker-allowed",
    "set-login",
    "speculation-rules",
    "strict-transport-security",
    "x-request-id",
    // The gateway sets `Cache-Control` itself.
    "cache-control",
    "x-content-type-options",
    // Some caches use these fields instead of `Cache-Control`.
    "cdn-cache-control",
    "surrogate-control",
    "expires",
    "pragma",
    // Commands to a proxy or web server in front of the gateway, such as to serve a file.
    "x-sendfile",
    "x-lighttpd-send-file",
    "x-lighttpd-send-tempfile",
    "x-reproxy-url",
    "x-litespeed-location",
    "x-litespeed-cache-control",
    "traceresponse",
];

const REMOVED_PREFIXES: [&str; 4] = ["access-control-", "x-accel-", "x-session-", "x-upstream-"];

/// Site and target of a request. They are needed to map the URLs in the header fields of the
/// answer, such as `Location`, to paths of the gateway.
#[derive(Debug)]
pub(crate) struct Exchange<'a> {
    site: &'a Site,
    target: Target,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(site: &'a Site, target: &Target) -> Self {
        let target = target.clone();
        Self { site, target }
    }

    pub(crate) fn site(&self) -> &Site {
        self.site
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }
}

/// Returns the header fields that the client receives. `answer` are the header fields of the site's
/// answer to the request `exchange`.
pub(crate) fn clean(
    exchange: &Exchange<'_>,
    answer: HeaderMap,
    settings: &ClientSettings,
) -> HeaderMap {
    let options = connection_options(&answer);
    let mut fields = HeaderMap::with_capacity(answer.len() + 4);
    for (name, value) in &answer {
        if options.contains(name) || is_removed(name) {
            continue;
        }
        match *name {
            LOCATION | CONTENT_LOCATION => {
                let mapped = location::map(value, exchange.site, &exchange.target, settings.prefix);
                match mapped {
                    Mapped::Site(value) => fields.append(name, value),
                    Mapped::Elsewhere(value) if *name == LOCATION => {
                        fields.insert(UPSTREAM_LOCATION, value).is_some()
                    }
                    Mapped::Elsewhere(_) => false,
                };
            }
            WWW_AUTHENTICATE => {
                if let Some(value) = without_connection_logins(value) {
                    fields.append(name, value);
                }
            }
            _ => {
                fields.append(name, value.clone());
            }
        }
    }
    let replaced = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, "default-src 'none'; sandbox"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    for (name, value) in replaced {
        fields.insert(name, HeaderValue::from_static(value));
    }
    fields.append(VIA, HeaderValue::from_static(settings.via));
    fields
}

fn is_removed(name: &HeaderName) -> bool {
    let name = seen_name(name);
    is_hop_by_hop(&name)
        || REMOVED.contains(&name.as_str())
        || name.ends_with("-cdn-cache-control")
        || REMOVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
}

/// Removes the challenges of the authentication schemes `Negotiate` and `NTLM`. These schemes
/// authenticate a connection, but several sessions share the connections to a site. Returns `None`
/// if no challenge remains.
fn without_connection_logins(value: &HeaderValue) -> Option<HeaderValue> {
    let text = String::from_utf8_lossy(value.as_bytes());
    let mut kept = Vec::new();
    let mut is_kept = true;
    for part in text.split(',') {
        let word = part.trim().split(' ').next().unwrap_or_default();
        // If a part of the list begins with a scheme, a new challenge begins. Every other part is a
        // parameter of the current challenge.
        if !word.is_empty() && !word.contains('=') && !word.contains('"') {
            let is_login = |scheme: &&str| word.eq_ignore_ascii_case(scheme);
            is_kept = !["negotiate", "ntlm"].iter().any(is_login);
        }
        if is_kept {
            kept.push(part.trim());
        }
    }
    if kept.len() == text.split(',').count() {
        return Some(value.clone());
    }
    let kept = kept.join(", ");
    HeaderValue::try_from(kept)
        .ok()
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests;
