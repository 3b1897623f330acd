use tee_session_domain::{
    BaseUrl, CookieUrl, Cookies, IgnoreReason, MergedCookies, SetCookieLines,
};
use time::{Duration, OffsetDateTime};

use crate::line_start::starts_a_line;

/// Fuzz target for the parser of `Set-Cookie` lines and for their merge into a session. Each line
/// of the input is one `Set-Cookie` line.
///
/// The merged cookies must respect all limits. The `Cookie` header field of a request must contain
/// no control characters. A second merge of the same lines must change nothing.
pub fn merge_cookies(input: &[u8]) {
    let Ok(text) = str::from_utf8(input) else {
        return;
    };
    for url in [
        "https://www.golf.example/members/x",
        "http://127.0.0.1:8080/",
    ] {
        check(url, text);
    }
}

fn check(url: &str, text: &str) {
    let base_url = BaseUrl::new(url).expect("a valid base URL");
    let url = CookieUrl::parse(url).expect("a URL");
    let now = OffsetDateTime::UNIX_EPOCH + Duration::days(20_000);
    let lines = text.split('\n').map(str::to_owned);
    let update = SetCookieLines::new(url.clone(), lines);
    let MergedCookies { cookies, ignored } = cookies().merged(&update, &base_url, now);
    let cookies = cookies.unwrap_or_else(self::cookies);
    let all = cookies.iter().chain(cookies.others().iter().map(|other| {
        let value: &str = &other.value;
        (other.name.as_str(), Some(value))
    }));
    let (mut count, mut total) = (0, 0);
    for (name, value) in all {
        count += 1;
        total += name.len() + value.map_or(0, str::len);
        assert!(!name.contains([';', '=']) && !starts_a_line(name));
        assert!(!value.is_some_and(starts_a_line));
    }
    assert!(count <= Cookies::MAX_COUNT && total <= Cookies::MAX_TOTAL_LEN);
    let others = cookies.others().iter().map(|other| &other.attributes);
    let attributes = cookies.with_attributes().filter_map(|(_, _, own)| own);
    let lengths = attributes
        .chain(others)
        .map(|own| own.domain.len() + own.path.len());
    assert!(lengths.sum::<usize>() <= Cookies::MAX_ATTRIBUTES_LEN);
    if let Ok(Some(header)) = cookies.header_for(&url, &base_url, now) {
        assert!(!starts_a_line(&header));
    }
    // In the first merge, a line may be ignored because the session is full, and a later line may
    // remove a cookie. In the second merge, the session then has room for the ignored line.
    let is_full = |reason: IgnoreReason| reason == IgnoreReason::Full;
    if !ignored.iter().any(|line| is_full(line.reason)) {
        let again = cookies.merged(&update, &base_url, now);
        assert!(again.cookies.is_none());
    }
}

fn cookies() -> Cookies {
    let cookies = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    Cookies::new(cookies).expect("valid cookies")
}
