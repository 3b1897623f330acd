//! The storage state of Playwright (`context.storageState()`): a JSON object with the cookies and
//! the local storage of a browser.

use std::io;

use serde::{Deserialize, Deserializer, Serialize, de::IgnoredAny};
use serde_json::Number;
use tee_session_client::Cookies;
use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::file_cookie::{FileCookie, Malformed, Positioned, len_of_all, parse_expiry};

/// Maximum length of the name and the value of a cookie together in Chromium, in bytes.
const MAX_LEN: usize = 4_096;

#[derive(Deserialize)]
struct ParsedState {
    cookies: Vec<ParsedCookie>,
    #[serde(default)]
    origins: Vec<IgnoredAny>,
}

#[derive(Deserialize)]
struct ParsedCookie {
    name: String,
    #[serde(deserialize_with = "wiped")]
    value: Zeroizing<String>,
    domain: String,
    path: String,
    expires: Option<Number>,
    #[serde(default)]
    secure: bool,
}

fn wiped<'de, D: Deserializer<'de>>(from: D) -> Result<Zeroizing<String>, D::Error> {
    String::deserialize(from).map(Zeroizing::new)
}

/// Parses the storage state of a browser, as Playwright saves it. Returns each cookie with its
/// position in the list `cookies` (from 1), and the number of sites with local storage.
///
/// # Errors
/// Fails if the text is not JSON, or is not a storage state.
pub(super) fn parse(text: &str) -> Result<(Vec<Positioned>, usize), Malformed> {
    let state: ParsedState = serde_json::from_str(text).map_err(|error| Malformed {
        what: format!(
            "line {}, column {}: the file is not the storage state of a browser",
            error.line(),
            error.column()
        ),
        advice: "save it with context.storageState of Playwright: an object with the list \
                 \"cookies\", whose items have name, value, domain and path",
    })?;
    let cookies = state.cookies.into_iter().enumerate();
    let cookies = cookies.map(|(index, cookie)| {
        let position = index + 1;
        let cookie = cookie.check().map_err(|what| Malformed {
            what: format!("cookie {position}: {what}"),
            advice: "correct the cookie, or remove it from the list",
        })?;
        Ok((position, cookie))
    });
    Ok((cookies.collect::<Result<_, _>>()?, state.origins.len()))
}

impl ParsedCookie {
    fn check(self) -> Result<FileCookie, &'static str> {
        // If a cookie is also sent to subdomains, its domain begins with a dot.
        let with_subdomains = self.domain.strip_prefix('.');
        let domain = with_subdomains.unwrap_or(&self.domain);
        if domain.is_empty() {
            return Err("the domain is empty");
        }
        if !self.path.starts_with('/') {
            return Err("the path must begin with /");
        }
        let expires = self
            .expires
            .map_or_else(String::new, |time| time.to_string());
        Ok(FileCookie {
            domain: domain.to_ascii_lowercase(),
            host_only: with_subdomains.is_none(),
            name: self.name,
            value: self.value,
            path: self.path,
            secure: self.secure,
            expires: parse_expiry(&expires)
                .ok_or("expires must be a number of seconds since 1970, or -1")?,
        })
    }
}

#[derive(Serialize)]
struct WrittenState<'a> {
    cookies: Vec<WrittenCookie<'a>>,
    origins: [(); 0],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct WrittenCookie<'a> {
    name: &'a str,
    value: &'a str,
    domain: String,
    path: &'a str,
    expires: i64,
    http_only: bool,
    secure: bool,
    same_site: &'static str,
}

impl<'a> WrittenCookie<'a> {
    fn of(cookie: &'a FileCookie) -> Self {
        let dot = if cookie.host_only { "" } else { "." };
        Self {
            name: &cookie.name,
            value: &cookie.value,
            domain: format!("{dot}{}", cookie.domain),
            path: &cookie.path,
            expires: cookie.expires.map_or(-1, OffsetDateTime::unix_timestamp),
            // Browsers require `HttpOnly` for cookies with these names. Sessions do not store this
            // attribute.
            http_only: begins_with(&cookie.name, "__Http-")
                || begins_with(&cookie.name, "__Host-Http-"),
            secure: cookie.secure,
            // Playwright writes `Lax` for a cookie without the attribute `SameSite`.
            same_site: "Lax",
        }
    }
}

/// Returns a storage state with these cookies and without local storage.
pub(super) fn write(cookies: &[FileCookie]) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = Zeroizing::new(Vec::with_capacity(len_of_all(cookies)));
    let state = WrittenState {
        cookies: cookies.iter().map(WrittenCookie::of).collect(),
        origins: [],
    };
    serde_json::to_writer_pretty(&mut *file, &state)?;
    file.push(b'\n');
    Ok(file)
}

/// Returns the reason why a storage state cannot contain the cookie. Returns `None` if the storage
/// state can contain the cookie. A cookie that Chromium refuses must be left out, because Chromium
/// would refuse the whole storage state.
pub(super) fn cannot_hold(cookie: &FileCookie) -> Option<&'static str> {
    let value = &cookie.value;
    if value.contains('\t') || cookie.path.contains('\t') {
        Some("it contains a TAB, with which browsers do not store it")
    } else if value.trim_matches(' ').len() < value.len() {
        Some("its value begins or ends with a space, with which browsers do not store it")
    } else if cookie.name.len() + value.len() > MAX_LEN {
        Some("its name and value have more than 4096 bytes together, which browsers do not store")
    } else if !keeps_promise_of_its_name(cookie) {
        Some(
            "its name begins with __Host-, __Secure- or __Http-, without the attributes that browsers \
             require",
        )
    } else if cookie.name.is_empty() && has_prefix(value) {
        Some(
            "it is written without a name, and its value begins with __Host-, __Secure- or __Http-, \
             with which browsers do not store it",
        )
    } else if Cookies::check(&cookie.name, Some(value)).is_err() {
        Some("browsers do not store a cookie with such a name and value")
    } else {
        None
    }
}

fn keeps_promise_of_its_name(cookie: &FileCookie) -> bool {
    if begins_with(&cookie.name, "__Host-") {
        cookie.secure && cookie.host_only && cookie.path == "/"
    } else if begins_with(&cookie.name, "__Secure-") || begins_with(&cookie.name, "__Http-") {
        cookie.secure
    } else {
        true
    }
}

/// Returns `true` if `text` begins with one of the prefixes for which browsers have rules.
fn has_prefix(text: &str) -> bool {
    ["__Host-", "__Secure-", "__Http-"]
        .iter()
        .any(|prefix| begins_with(text, prefix))
}

fn begins_with(text: &str, prefix: &str) -> bool {
    let beginning = text.get(..prefix.len());
    beginning.is_some_and(|beginning| beginning.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use super::*;

    fn state(cookies: &Value) -> String {
        json!({"cookies": cookies, "origins": [{"origin": "https://golf.example"}]}).to_string()
    }

    #[test]
    fn storage_state_of_a_browser_is_parsed() {
        let text = state(&json!([
            {"name": "a[b]", "value": "\"ü\"", "domain": "golf.example", "path": "/", "expires": -1,
             "httpOnly": true, "secure": true, "sameSite": "Lax", "partitionKey": "x"},
            {"name": "", "value": "flag", "domain": ".Golf.example", "path": "/x",
             "expires": 1_900_000_000.25},
        ]));
        let (cookies, local_storages) = parse(&text).unwrap();
        assert_eq!(local_storages, 1);
        let [(1, first), (2, second)] = &cookies[..] else {
            panic!("two cookies");
        };
        assert_eq!((&*first.name, &**first.value), ("a[b]", "\"ü\""));
        assert!(first.host_only && first.secure && first.expires.is_none());
        assert_eq!((&*second.name, &**second.value), ("", "flag"));
        assert_eq!((&*second.domain, &*second.path), ("golf.example", "/x"));
        let expires = second.expires.map(OffsetDateTime::unix_timestamp);
        assert_eq!(expires, Some(1_900_000_000));
        assert!(!second.host_only && !second.secure);

        let cookies: Vec<_> = cookies.into_iter().map(|(_, cookie)| cookie).collect();
        let written = write(&cookies).unwrap();
        let written = std::str::from_utf8(&written).unwrap();
        let (again, local_storages) = parse(written).unwrap();
        let again: Vec<_> = again.into_iter().map(|(_, cookie)| cookie).collect();
        assert_eq!((again, local_storages), (cookies, 0));
    }

    #[rstest]
    #[case::not_json("{\n s3cret", "line 2, column 2: ")]
    #[case::list("[]", "line 1, column 2: ")]
    #[case::no_cookies("{}", "line 1, column 2: ")]
    #[case::no_domain(&state(&json!([{"name": "a", "value": "s3cret", "path": "/"}])), "line 1, ")]
    #[case::number(&state(&json!([{"name": "a", "value": 1, "domain": "b", "path": "/"}])), "line 1, ")]
    #[case::empty_domain(
        &state(&json!([{"name": "a", "value": "s3cret", "domain": ".", "path": "/"}])),
        "cookie 1: the domain is empty"
    )]
    #[case::relative_path(
        &state(&json!([{"name": "a", "value": "s3cret", "domain": "b", "path": "x"}])),
        "cookie 1: the path must"
    )]
    #[case::expires(
        &state(&json!([{"name": "a", "value": "s3cret", "domain": "b", "path": "/", "expires": 1e300}])),
        "cookie 1: expires must"
    )]
    fn error_for_a_malformed_file_names_the_place_and_quotes_nothing(
        #[case] text: &str,
        #[case] expected: &str,
    ) {
        let Malformed { what, advice } = parse(text).unwrap_err();
        assert!(what.starts_with(expected), "{what}");
        assert!(!what.contains("s3cret") && !advice.contains("s3cret"));
    }

    #[rstest]
    #[case::plain("a", "1", true)]
    #[case::nameless("", "flag", true)]
    #[case::tab("a", "x\ty", false)]
    #[case::outer_space("a", " x", false)]
    #[case::long("a", &"x".repeat(4_096), false)]
    #[case::secure_prefix("__secure-a", "1", false)]
    #[case::host_prefix("__Host-a", "1", false)]
    #[case::host_prefix_without_a_name("", "__HOST-a", false)]
    #[case::secure_prefix_without_a_name("", "__Secure-a=1", false)]
    #[case::prefix_in_the_value_of_a_cookie_with_a_name("a", "__Host-b", true)]
    #[case::neither_name_nor_value("", "", false)]
    fn storage_state_cannot_contain_cookies_that_chromium_refuses(
        #[case] name: &str,
        #[case] value: &str,
        #[case] fits: bool,
    ) {
        let cookie = FileCookie {
            name: name.to_owned(),
            value: Zeroizing::new(value.to_owned()),
            domain: "golf.example".to_owned(),
            host_only: true,
            path: "/".to_owned(),
            secure: false,
            expires: None,
        };
        assert_eq!(cannot_hold(&cookie).is_none(), fits);
    }
}
