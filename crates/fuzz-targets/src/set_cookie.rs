use std::fmt::Write;

use tee_session_domain::{
    BaseUrl, CookieAttributes, CookieUrl, Cookies, MergedCookies, SetCookieLines,
};
use time::{Duration, OffsetDateTime};

/// Fuzz target for the parser of `Set-Cookie` lines. The input is one line.
///
/// The attributes of a stored cookie must follow the rules of browsers: for example, no cookie
/// lives longer than 400 days. If the stored cookie is formatted as a `Set-Cookie` line and this
/// line is merged, the same cookie must be stored.
pub fn set_cookie(input: &[u8]) {
    let Ok(line) = str::from_utf8(input) else {
        return;
    };
    for url in [
        "https://www.golf.co.uk/members/login.php",
        "http://127.0.0.1:8080/a/b",
        "https://golf.example./",
    ] {
        let stored = store(url, line);
        let all: Vec<_> = stored.with_attributes().collect();
        let &[(name, Some(value), Some(attributes))] = all.as_slice() else {
            assert!(all.is_empty(), "a line stores at most one cookie");
            continue;
        };
        assert!(line.contains(name) && line.contains(value));
        check(url, attributes);
        let again = line_of(name, value, attributes);
        assert_eq!(store(url, &again), stored, "{again:?}");
    }
}

fn now() -> OffsetDateTime {
    OffsetDateTime::UNIX_EPOCH + Duration::days(20_000)
}

/// Merges one `Set-Cookie` line from an answer of `url` into an empty session. Returns the cookies.
fn store(url: &str, line: &str) -> Cookies {
    let base_url = BaseUrl::new(url).expect("a valid base URL");
    let url = CookieUrl::parse(url).expect("a URL");
    let lines = SetCookieLines::new(url, [line.to_owned()]);
    let MergedCookies { cookies, ignored } = Cookies::default().merged(&lines, &base_url, now());
    assert!(cookies.is_none() || ignored.is_empty());
    cookies.unwrap_or_default()
}

fn check(url: &str, attributes: &CookieAttributes) {
    let CookieAttributes {
        domain,
        host_only,
        path,
        secure,
        expires,
    } = attributes;
    let host = CookieUrl::parse(url).expect("a URL").host().to_owned();
    assert!(*domain == host || !host_only && host.ends_with(&format!(".{domain}")));
    assert!(!["co.uk", "uk", "example", "example."].contains(&domain.as_str()));
    assert!(path.starts_with('/'));
    assert!(!secure || url.starts_with("https:"));
    let lifetime = expires.map(|expires| expires - now());
    assert!(lifetime.is_none_or(|left| left > Duration::ZERO && left <= Duration::days(400)));
}

fn line_of(name: &str, value: &str, attributes: &CookieAttributes) -> String {
    let mut line = format!("{name}={value}; Path={}", attributes.path);
    if !attributes.host_only {
        line.push_str("; Domain=");
        line.push_str(&attributes.domain);
    }
    if attributes.secure {
        line.push_str("; Secure");
    }
    if let Some(expires) = attributes.expires {
        let seconds = (expires - now()).whole_seconds();
        let _ = write!(line, "; Max-Age={seconds}");
    }
    line
}
