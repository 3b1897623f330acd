//! Detection of requests that came through a proxy.

use std::net::{IpAddr, SocketAddr};

use actix_web::{
    dev::RequestHead,
    http::{Version, header::HOST, uri::Authority},
};

/// Headers that proxies and load balancers set, and that clients do not set.
const PROXY_HEADERS: [&str; 21] = [
    "cdn-loop",
    "client-ip",
    "forwarded",
    "front-end-https",
    "incap-client-ip",
    "proxy-client-ip",
    "true-client-ip",
    "via",
    "wl-proxy-client-ip",
    "x-client-ip",
    "x-cluster-client-ip",
    "x-nginx-proxy",
    "x-originating-ip",
    "x-proxyuser-ip",
    "x-real-ip",
    "x-remote-addr",
    "x-remote-ip",
    "x-scheme",
    "x-sucuri-clientip",
    "x-url-scheme",
    "x-varnish",
];

/// Prefixes of the names of further headers that only proxies and load balancers set.
const PROXY_HEADER_PREFIXES: [&str; 11] = [
    "cf-",
    "fastly-",
    "fly-",
    "x-appengine-",
    "x-arr-",
    "x-azure-",
    "x-envoy-",
    "x-forwarded-",
    "x-nf-",
    "x-original-",
    "x-vercel-",
];

/// Returns `true` if a request shows a sign of a proxy. The signs are a forwarding header, HTTP/1.0
/// (the default of nginx for upstream servers), and a host that is not a loopback address.
///
/// Without service clients, requests need no credentials. Anyone who can reach a proxy in front of
/// such a service could create and end sessions. A proxy without any of these signs is not
/// detected.
pub(crate) fn is_proxied(request: &RequestHead) -> bool {
    if request.version < Version::HTTP_11 {
        return true;
    }
    let forwarded = |name: &str| {
        let mut prefixes = PROXY_HEADER_PREFIXES.iter();
        PROXY_HEADERS.contains(&name) || prefixes.any(|prefix| name.starts_with(prefix))
    };
    request
        .headers()
        .keys()
        .any(|name| forwarded(name.as_str()))
        || !names_loopback(request)
}

/// Returns `true` if the host that a request names is a loopback address, or if the request names
/// no host.
pub(crate) fn names_loopback(request: &RequestHead) -> bool {
    let host = request.headers().get(HOST);
    let host = host.map(|host| host.to_str().unwrap_or_default());
    // The host in an absolute-form request target is checked as well (RFC 9112, section 3.2.2).
    let target = request.uri.authority().map(Authority::as_str);
    host.into_iter().chain(target).all(is_loopback_host)
}

fn is_loopback_host(host: &str) -> bool {
    if let Ok(address) = host.parse::<SocketAddr>() {
        return address.ip().is_loopback();
    }
    let name = host
        .rsplit_once(':')
        .filter(|_| !host.ends_with(']'))
        .map_or(host, |(n, _)| n);
    let name = name
        .strip_prefix('[')
        .and_then(|name| name.strip_suffix(']'))
        .unwrap_or(name);
    name.eq_ignore_ascii_case("localhost")
        || name
            .parse::<IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}
