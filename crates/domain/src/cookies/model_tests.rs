//! Compares merges with a simple model of a browser. The model applies RFC 6265bis without a flat
//! map and without records.

use proptest::prelude::*;
use time::{Duration, OffsetDateTime};

use super::*;
use crate::BaseUrl;

const HOST: &str = "www.golf.example";

const PARENT: &str = "golf.example";

const PATHS: [&str; 4] = ["/", "/a", "/a/b", "/c"];

/// A cookie of the model. The model keeps cookies in the order of their creation.
#[derive(Clone)]
struct ModelCookie {
    name: &'static str,
    value: &'static str,
    domain: &'static str,
    host_only: bool,
    path: &'static str,
    expires: Option<OffsetDateTime>,
}

/// A random `Set-Cookie` line: name, value, and the values of its attributes.
#[derive(Debug, Clone)]
struct Line {
    name: &'static str,
    value: &'static str,
    domain: Option<&'static str>,
    path: Option<&'static str>,
    max_age: Option<i64>,
}

impl Line {
    fn text(&self) -> String {
        let attribute = |name: &str, value: Option<String>| {
            value.map_or_else(String::new, |value| format!("; {name}={value}"))
        };
        [
            format!("{}={}", self.name, self.value),
            attribute("Domain", self.domain.map(str::to_owned)),
            attribute("Path", self.path.map(str::to_owned)),
            attribute("Max-Age", self.max_age.map(|age| age.to_string())),
        ]
        .concat()
    }
}

/// An answer of the site: the path of the request, the `Set-Cookie` lines, and the time since the
/// previous answer in seconds.
type AnswerOfSite = (&'static str, Vec<Line>, i64);

fn answers() -> impl Strategy<Value = Vec<AnswerOfSite>> {
    let line = (
        prop::sample::select(vec!["x", "y"]),
        prop::sample::select(vec!["1", "2", "3"]),
        prop::option::of(prop::sample::select(vec![PARENT, HOST])),
        prop::option::of(prop::sample::select(PATHS.to_vec())),
        // A cookie is not written again if its remaining lifetime differs by less than a factor of
        // two. The lifetimes in this list and the times between the answers are chosen so that this
        // rule has no visible effect.
        prop::option::of(prop::sample::select(vec![0, 10, 1_000])),
    );
    let line = line.prop_map(|(name, value, domain, path, max_age)| Line {
        name,
        value,
        domain,
        path,
        max_age,
    });
    let lines = prop::collection::vec(line, 0..4);
    let time = prop::sample::select(vec![0, 20]);
    let answer = (prop::sample::select(PATHS.to_vec()), lines, time);
    prop::collection::vec(answer, 1..8)
}

/// Applies a `Set-Cookie` line as RFC 6265bis, section 5.7, defines.
fn apply(cookies: &mut Vec<ModelCookie>, line: &Line, request: &'static str, now: OffsetDateTime) {
    let default = match request {
        "/a/b" => "/a",
        _ => "/",
    };
    let new = ModelCookie {
        name: line.name,
        value: line.value,
        domain: line.domain.unwrap_or(HOST),
        host_only: line.domain.is_none(),
        path: line.path.unwrap_or(default),
        expires: line.max_age.map(|age| now + Duration::seconds(age)),
    };
    let same = cookies
        .iter()
        .position(|old| (old.name, old.domain, old.path) == (new.name, new.domain, new.path));
    match (same, line.max_age) {
        (Some(position), Some(0)) => drop(cookies.remove(position)),
        (None, Some(0)) => {}
        (Some(position), _) => cookies[position] = new,
        (None, _) => cookies.push(new),
    }
}

/// Applies all lines of an answer. If the browser has the same cookies afterwards, but in another
/// order, restores the old order, because the service does not write the session for such an
/// answer.
fn apply_all(
    cookies: &mut Vec<ModelCookie>,
    lines: &[Line],
    request: &'static str,
    now: OffsetDateTime,
) {
    let before = cookies.clone();
    for line in lines {
        apply(cookies, line, request, now);
    }
    let is_kept = |new: &ModelCookie| before.iter().any(|old| is_unchanged(old, new, now));
    if cookies.len() == before.len() && cookies.iter().all(is_kept) {
        *cookies = before;
    }
}

fn is_unchanged(old: &ModelCookie, new: &ModelCookie, now: OffsetDateTime) -> bool {
    let is_same_lifetime = match (old.expires, new.expires) {
        (None, None) => true,
        (Some(old), Some(new)) => (old - now) * 2 >= new - now && (new - now) * 2 >= old - now,
        _ => false,
    };
    (old.name, old.value, old.domain, old.host_only, old.path)
        == (new.name, new.value, new.domain, new.host_only, new.path)
        && is_same_lifetime
}

/// Returns the `Cookie` header field of a request as RFC 6265bis, section 5.8.3, defines.
fn header(cookies: &[ModelCookie], host: &str, path: &str) -> Option<String> {
    let is_sent = |cookie: &&ModelCookie| {
        let is_subdomain = host.ends_with(&format!(".{}", cookie.domain));
        let is_host = cookie.domain == host || !cookie.host_only && is_subdomain;
        let cookie_path = cookie.path.trim_end_matches('/');
        is_host && (path == cookie.path || path.starts_with(&format!("{cookie_path}/")))
    };
    let mut sent: Vec<_> = cookies.iter().filter(is_sent).collect();
    sent.sort_by_key(|cookie| usize::MAX - cookie.path.len());
    let sent = sent
        .iter()
        .map(|cookie| format!("{}={}", cookie.name, cookie.value));
    let sent: Vec<_> = sent.collect();
    (!sent.is_empty()).then(|| sent.join("; "))
}

/// Encodes the cookies as a record, and decodes them again.
fn stored(cookies: &Cookies) -> Cookies {
    let flat = Cookies::from_stored(cookies.iter()).unwrap();
    flat.with_details_from_bytes(&cookies.details_to_bytes())
}

proptest! {
    #[test]
    fn session_sends_the_cookies_that_a_browser_sends(
        answers in answers(),
        base_path in prop::sample::select(PATHS.to_vec()),
    ) {
        let base_url: BaseUrl = format!("https://{HOST}{base_path}").parse().unwrap();
        let mut now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
        let (mut browser, mut cookies) = (Vec::new(), Cookies::default());
        for (path, lines, seconds) in answers {
            now += Duration::seconds(seconds);
            browser.retain(|cookie: &ModelCookie| cookie.expires.is_none_or(|end| end > now));
            apply_all(&mut browser, &lines, path, now);
            let url = CookieUrl::parse(&format!("https://{HOST}{path}")).unwrap();
            let lines = SetCookieLines::new(url, lines.iter().map(Line::text));
            let merged = cookies.merged(&lines, &base_url, now);
            prop_assert!(merged.ignored.is_empty());
            cookies = stored(&merged.cookies.unwrap_or(cookies));
            let shown = cookies.without_expired(&base_url, now);
            let shown = shown.as_ref().unwrap_or(&cookies);
            for (host, path) in PATHS.iter().flat_map(|path| [(HOST, path), (PARENT, path)]) {
                let url = CookieUrl::parse(&format!("https://{host}{path}")).unwrap();
                let sent = shown.header_for(&url, &base_url, now).unwrap();
                let sent = sent.map(|sent| sent.to_string());
                prop_assert_eq!(sent, header(&browser, host, path));
            }
            // The flat map contains each name once, with the value for the base URL.
            let names = ["x", "y"].map(|name| browser.iter().any(|cookie| cookie.name == name));
            prop_assert_eq!(names, ["x", "y"].map(|name| shown.get(name).is_some()));
            let sent = header(&browser, HOST, base_path).unwrap_or_default();
            for (name, value) in shown.iter() {
                let mut sent = sent.split("; ").filter_map(|pair| pair.split_once('='));
                let first = sent.find(|(sent, _)| *sent == name);
                prop_assert!(first.is_none_or(|(_, sent)| Some(sent) == value));
            }
        }
    }
}
