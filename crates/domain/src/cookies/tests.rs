use proptest::{collection::hash_map, prelude::*};
use rstest::rstest;

use super::*;

fn validate_single_cookie(name: &str, value: &str) -> Result<Cookies, CookiesError> {
    Cookies::new([(name.to_owned(), value.to_owned())])
}

fn broken_rules(result: Result<Cookies, CookiesError>) -> Vec<CookieRule> {
    result
        .unwrap_err()
        .problems
        .into_iter()
        .map(|problem| problem.rule)
        .collect()
}

/// Names and values that can occur in the cookie jars of requests, httpx, aiohttp and browsers.
#[rstest]
#[case::plain("SESSIONID", "a1b2c3")]
#[case::empty_value("SESSIONID", "")]
#[case::semicolon("a", "x;y; z")]
#[case::quotes_and_backslash("a", r#""quo\ted""#)]
#[case::unicode("a", "grün ⛳ 日本")]
#[case::secure_prefix("__Host-id", "1")]
#[case::dollar_name("$Version", "1")]
#[case::reserved_word("Path", "/")]
#[case::brackets_in_name("gdpr[allowed_cookies]", "1")]
#[case::colon_in_name("user:id", "1")]
#[case::slash_in_name("a/b", "1")]
#[case::at_sign_in_name("ID@x", "1")]
#[case::space_in_name("my cookie", "1")]
#[case::comma_in_name("a,b", "1")]
#[case::parentheses_in_name("a(b)", "1")]
#[case::braces_in_name("{x}", "1")]
#[case::quote_in_name("a\"b", "1")]
#[case::other_separators_in_name("a<b>?\\c", "1")]
#[case::unicode_name("größe", "1")]
#[case::latin_1_control_in_name("a\u{85}b", "1")]
#[case::no_break_space_around_name("\u{a0}a\u{a0}", "1")]
#[case::tab_in_value("a", "x\ty")]
#[case::spaces_around_value("a", "  x  ")]
#[case::latin_1_control_in_value("a", "x\u{80}\u{9f}")]
#[case::empty_name("", "token")]
#[case::empty_name_and_prefix_inside("", "x__Host-")]
#[case::longest_name(&"n".repeat(8_191), "1")]
#[case::longest_value("a", &"v".repeat(8_191))]
fn valid_cookie_is_kept_exactly_as_given(#[case] name: &str, #[case] value: &str) {
    let cookies = validate_single_cookie(name, value).unwrap();
    assert_eq!(cookies.iter().collect::<Vec<_>>(), [(name, Some(value))]);
}

#[rstest]
#[case::leading_space_in_name(" a", "1", CookieRule::Name)]
#[case::trailing_space_in_name("a ", "1", CookieRule::Name)]
#[case::equals_in_name("a=b", "1", CookieRule::Name)]
#[case::semicolon_in_name("a;b", "1", CookieRule::Name)]
#[case::tab_in_name("a\tb", "1", CookieRule::Name)]
#[case::line_feed_in_name("a\nb", "1", CookieRule::Name)]
#[case::delete_in_name("a\u{7f}", "1", CookieRule::Name)]
#[case::control_in_name("a\u{1}", "1", CookieRule::Name)]
#[case::too_long("a", &"v".repeat(8_192), CookieRule::Length)]
#[case::name_too_long(&"n".repeat(8_193), "", CookieRule::Length)]
#[case::line_feed_in_value("a", "x\ny", CookieRule::Value)]
#[case::carriage_return_in_value("a", "x\ry", CookieRule::Value)]
#[case::nul_in_value("a", "x\0", CookieRule::Value)]
#[case::mark_of_a_missing_value("a", "\u{1}", CookieRule::Value)]
#[case::delete_in_value("a", "x\u{7f}", CookieRule::Value)]
#[case::nothing("", "", CookieRule::NamelessValue)]
#[case::pair_in_a_nameless_value("", "SESSIONID=x", CookieRule::NamelessValue)]
#[case::host_prefix_in_a_nameless_value("", "__Host-id", CookieRule::NamelessPrefix)]
#[case::prefix_in_another_case("", "__sEcure-id", CookieRule::NamelessPrefix)]
fn invalid_cookie_is_rejected_with_an_error_that_names_the_broken_rule(
    #[case] name: &str,
    #[case] value: &str,
    #[case] rule: CookieRule,
) {
    assert_eq!(broken_rules(validate_single_cookie(name, value)), [rule]);
}

#[test]
fn cookie_without_a_value_differs_from_a_cookie_with_an_empty_value() {
    let of =
        |value: Option<&str>| Cookies::new([("a".to_owned(), value.map(str::to_owned))]).unwrap();
    let (without, empty) = (of(None), of(Some("")));
    assert_ne!(without, empty);
    assert_eq!(without.iter().next(), Some(("a", None)));
    assert_eq!((without.get("a"), empty.get("a")), (None, Some("")));
    let nameless = Cookies::new([(String::new(), None)]);
    assert_eq!(broken_rules(nameless), [CookieRule::NamelessValue]);
}

#[test]
fn set_of_0_to_180_cookies_is_accepted() {
    let many = |count: usize| Cookies::new((0..count).map(|n| (format!("c{n}"), "v".to_owned())));
    assert_eq!(many(0).unwrap(), Cookies::default());
    assert_eq!(many(180).unwrap().len(), 180);
    let error = many(182).unwrap_err();
    let named: Vec<_> = error.problems.iter().map(|p| p.cookie.as_str()).collect();
    assert_eq!(named, ["c180", "c181"]);
    assert_eq!(error.problems[0].rule, CookieRule::Count);
}

#[test]
fn cookies_longer_than_32_kib_in_total_are_rejected() {
    let of_total = |total: usize| {
        let last = total - 4 * 8_001 - 1;
        Cookies::new((0..5).map(|n| (n.to_string(), "v".repeat(if n == 4 { last } else { 8_000 }))))
    };
    assert!(of_total(32 * 1_024).is_ok());
    assert_eq!(
        broken_rules(of_total(32 * 1_024 + 1)),
        [CookieRule::TotalLength]
    );
}

#[test]
fn cookies_that_break_a_rule_are_left_out_and_returned_in_order() {
    let large = "v".repeat(8_000);
    let given = [
        ("good", "1"),
        ("bad\nname", "1"),
        ("twice", "1"),
        ("twice", "2"),
        ("large 1", &large),
        ("large 2", &large),
        ("large 3", &large),
        ("large 4", &large),
        ("large 5", &large),
        ("last", "1"),
    ];
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (kept, problems) = Cookies::keep_valid(given);
    let names: Vec<_> = kept.iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "good", "twice", "large 1", "large 2", "large 3", "large 4", "last"
        ]
    );
    let problems: Vec<_> = problems
        .iter()
        .map(|problem| (problem.cookie.as_str(), problem.rule, problem.rule.reason()))
        .collect();
    assert_eq!(
        problems,
        [
            ("bad\nname", CookieRule::Name, "syntax"),
            ("twice", CookieRule::Unique, "syntax"),
            ("large 5", CookieRule::TotalLength, "full"),
        ]
    );
    assert_eq!(kept.get("twice"), Some("1"));
}

#[test]
fn cookie_names_are_case_sensitive() {
    let cookies = Cookies::new([("a", "1"), ("A", "2")].map(|(n, v)| (n.to_owned(), v.to_owned())));
    assert_eq!(cookies.unwrap().len(), 2);
}

/// Creates cookies as from a stored record. Each cookie has a value.
fn stored(cookies: &[(&str, &str)]) -> Result<Cookies, ControlCharacter> {
    Cookies::from_stored(cookies.iter().map(|(name, value)| (name, Some(value))))
}

#[test]
fn stored_cookies_are_checked_only_for_control_characters() {
    let long = "v".repeat(10_000);
    let found = stored(&[
        ("a=b", "1"),
        ("tab\t", "\t"),
        ("a", &long),
        ("a", "last wins"),
    ])
    .unwrap();
    assert_eq!(found.get("a"), Some("last wins"));
    assert_eq!(found.len(), 3);
    assert!(stored(&[]).unwrap().is_empty());
    assert!(stored(&[("a", "x\r\n")]).is_err());
    assert!(stored(&[("a\n", "x")]).is_err());
}

#[rstest]
#[case::few(50)]
#[case::many(5_000)]
fn repeated_cookie_name_in_a_stored_session_keeps_the_first_position_and_last_value(
    #[case] count: usize,
) {
    let mut stored: Vec<_> = (0..count).map(|n| (n.to_string(), "old")).collect();
    stored.push(("1".to_owned(), "new"));
    let pairs = stored.iter().map(|(name, value)| (name, Some(value)));
    let stored = Cookies::from_stored(pairs).unwrap();
    assert_eq!(stored.len(), count);
    assert_eq!(stored.iter().nth(1), Some(("1", Some("new"))));
    assert_eq!(
        stored
            .iter()
            .filter(|(_, value)| *value == Some("old"))
            .count(),
        count - 1
    );
}

#[test]
fn debug_output_of_cookies_shows_neither_names_nor_values() {
    assert_eq!(
        format!(
            "{:?}",
            validate_single_cookie("SESSIONID", "s3cret").unwrap()
        ),
        "Cookies(1 redacted)"
    );
    let error = validate_single_cookie("s3cret", "\n").unwrap_err();
    assert!(
        !format!("{error:?} {error}").contains("s3cret"),
        "{error:?}"
    );
}

/// Generates cookies whose names are RFC 6265 tokens and whose values consist of RFC 6265
/// `cookie-octet` characters.
fn header_cookies() -> impl Strategy<Value = Vec<(String, String)>> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,40}";
    let value = "[!#-+./0-9:<-Z\\[\\]^_`a-z{|}~-]{0,80}";
    hash_map(name, value, 1..20).prop_map(|cookies| cookies.into_iter().collect())
}

proptest! {
    #[test]
    fn cookies_written_to_a_cookie_header_are_parsed_back_unchanged(given in header_cookies()) {
        let cookies = Cookies::new(given.clone()).unwrap();
        let pairs: Vec<_> =
            cookies.iter().map(|(name, value)| format!("{name}={}", value.unwrap())).collect();
        let header = pairs.join("; ");
        prop_assert!(header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()));
        let read: Vec<_> = header
            .split("; ")
            .map(|pair| pair.split_once('=').unwrap())
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(read, given);
    }

    #[test]
    fn validating_arbitrary_cookies_never_panics_and_loses_no_cookie(
        given in proptest::collection::vec((any::<String>(), any::<Option<String>>()), 0..60),
    ) {
        let (kept, problems) = Cookies::keep_valid(given.clone());
        prop_assert_eq!(kept.len() + problems.len(), given.len());
        let stored = Cookies::from_stored(kept.iter());
        prop_assert_eq!(stored, Ok(kept));
    }
}
