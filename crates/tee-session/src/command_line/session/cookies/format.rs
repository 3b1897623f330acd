//! Formats of cookie files.

use std::{io, path::Path};

use clap::ArgMatches;
use zeroize::Zeroizing;

use super::{
    file_cookie::{FileCookie, Malformed, Positioned},
    netscape, storage_state,
};

/// Name of the flag that selects the format of the exported file.
pub(super) const FORMAT: &str = "format";

const NETSCAPE: &str = "netscape";
const STORAGE_STATE: &str = "storage-state";

/// Names of the cookie file formats on the command line.
pub(super) const NAMES: [&str; 2] = [NETSCAPE, STORAGE_STATE];

/// Format of a cookie file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    /// The format `cookies.txt` of curl and wget.
    Netscape,
    /// The storage state of Playwright, a JSON object.
    StorageState,
}

impl Format {
    /// Returns the format of the file to export, which the flag `--format` selects. Without this
    /// flag, a file name that ends with `.json` selects the storage state, and any other file name
    /// selects `cookies.txt`.
    pub(super) fn to_export(flags: &ArgMatches, file: &Path) -> Self {
        match flags.get_one::<String>(FORMAT).map(String::as_str) {
            Some(STORAGE_STATE) => Self::StorageState,
            Some(_) => Self::Netscape,
            None if file.extension().is_some_and(|end| end == "json") => Self::StorageState,
            None => Self::Netscape,
        }
    }

    /// Returns the format of a cookie file with the content `text`. Content that begins with a
    /// bracket is a storage state, because only this format is JSON.
    fn of_content(text: &str) -> Self {
        if text.trim_start().starts_with(['{', '[']) {
            Self::StorageState
        } else {
            Self::Netscape
        }
    }

    /// Returns the content of a cookie file with `cookies`. The caller must pass only cookies for
    /// which [`cannot_hold`](Self::cannot_hold) returns `None`.
    pub(super) fn write(self, cookies: &[FileCookie]) -> io::Result<Zeroizing<Vec<u8>>> {
        match self {
            Self::Netscape => netscape::write(cookies),
            Self::StorageState => storage_state::write(cookies),
        }
    }

    /// Returns the reason why a file of this format cannot contain the cookie. Returns `None` if
    /// the file can contain the cookie.
    pub(super) fn cannot_hold(self, cookie: &FileCookie) -> Option<&'static str> {
        if cookie.value.contains(';') {
            return Some("its value contains ;, which cannot be sent");
        }
        match self {
            Self::Netscape => netscape::cannot_hold(cookie),
            Self::StorageState => storage_state::cannot_hold(cookie),
        }
    }
}

/// Parsed content of a cookie file: its cookies, and further data for the report on an import.
#[derive(Debug)]
pub(super) struct Parsed {
    pub(super) cookies: Vec<Positioned>,
    /// Noun for the positions of `cookies` in messages: `line` or `cookie`.
    pub(super) unit: &'static str,
    /// Number of sites with local storage in the cookie file. Local storage is not imported,
    /// because a session cannot contain it.
    pub(super) local_storages: usize,
}

/// Parses the content of a cookie file.
///
/// # Errors
/// Fails if the content is malformed or is not UTF-8 text. The error contains the number of the
/// line.
pub(super) fn parse(content: &[u8]) -> Result<Parsed, Malformed> {
    let text = std::str::from_utf8(content).map_err(|error| {
        let valid = content.get(..error.valid_up_to()).unwrap_or_default();
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        Malformed {
            what: format!("line {line} is not UTF-8 text"),
            advice: "export the file again, or remove this line",
        }
    })?;
    // Some editors on Windows begin a file with a byte order mark.
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    match Format::of_content(text) {
        Format::Netscape => Ok(Parsed {
            cookies: netscape::parse(text)?,
            unit: "line",
            local_storages: 0,
        }),
        Format::StorageState => {
            let (cookies, local_storages) = storage_state::parse(text)?;
            Ok(Parsed {
                cookies,
                unit: "cookie",
                local_storages,
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;
    use time::{Duration, OffsetDateTime};

    use super::*;

    /// Generates any cookie that a session can contain.
    fn any_cookie() -> impl Strategy<Value = FileCookie> {
        let texts = (
            "[^\\x00-\\x1f\\x7f;=]{0,12}",
            "[^\\x00-\\x08\\x0a-\\x1f\\x7f]{0,24}",
            "/[^\\x00-\\x1f\\x7f;]{0,8}",
        );
        let expires = proptest::option::of(1_i64..4_000_000_000);
        let rest = (any::<bool>(), any::<bool>(), expires);
        (texts, rest).prop_map(
            |((name, value, path), (host_only, secure, expires))| FileCookie {
                name,
                value: Zeroizing::new(value),
                domain: "golf.example".to_owned(),
                host_only,
                path,
                secure,
                expires: expires
                    .map(|seconds| OffsetDateTime::UNIX_EPOCH + Duration::seconds(seconds)),
            },
        )
    }

    proptest! {
        #[test]
        fn cookies_that_a_cookie_file_can_contain_are_written_and_parsed_unchanged(
            cookies in proptest::collection::vec(any_cookie(), 0..5),
            format in prop_oneof![Just(Format::Netscape), Just(Format::StorageState)],
        ) {
            let can_hold = |cookie: &FileCookie| format.cannot_hold(cookie).is_none();
            let cookies: Vec<_> = cookies.into_iter().filter(can_hold).collect();
            let parsed = parse(&format.write(&cookies).unwrap()).unwrap().cookies;
            let parsed: Vec<_> = parsed.into_iter().map(|(_, cookie)| cookie).collect();
            prop_assert_eq!(parsed, cookies);
        }

        #[test]
        fn parsing_arbitrary_cookie_file_content_does_not_panic(
            bytes in any::<Vec<u8>>(),
            fields in "[a#.\t\nTRUEFALSE/0-9{}\\[\\]\",:]{0,80}",
        ) {
            let _ = (parse(&bytes), parse(fields.as_bytes()));
        }
    }

    #[rstest]
    #[case::netscape("# comment\n", "line", 0)]
    #[case::empty("", "line", 0)]
    #[case::byte_order_mark("\u{feff}golf.example\tFALSE\t/\tFALSE\t0\ta\t1", "line", 1)]
    #[case::storage_state(" {\"cookies\": []}", "cookie", 0)]
    fn format_of_a_cookie_file_is_recognized_by_its_content(
        #[case] content: &str,
        #[case] unit: &str,
        #[case] count: usize,
    ) {
        let parsed = parse(content.as_bytes()).unwrap();
        assert_eq!((parsed.unit, parsed.cookies.len()), (unit, count));
    }

    #[test]
    fn error_for_a_cookie_file_that_is_not_utf_8_names_the_line() {
        let error = parse(b"# comment\n\ngolf.example\tFALSE\t/\tFALSE\t0\ta\ts3cret\xfc\n");
        assert_eq!(error.unwrap_err().what, "line 3 is not UTF-8 text");
    }
}
