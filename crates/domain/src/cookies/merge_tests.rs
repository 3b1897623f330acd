use rstest::rstest;
use time::Duration;
use time::OffsetDateTime;

use super::*;
use crate::BaseUrl;

pub(super) const NOW: OffsetDateTime =
    OffsetDateTime::UNIX_EPOCH.saturating_add(Duration::days(20_000));

pub(super) const LOGIN_URL: &str = "https://www.golf.example/members/login.php?x=1";

pub(super) fn base_url() -> BaseUrl {
    BaseUrl::new("https://www.golf.example/members").unwrap()
}

fn flat(cookies: &[(&str, &str)]) -> Cookies {
    let cookies = cookies.iter();
    Cookies::new(cookies.map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))).unwrap()
}

pub(super) fn set_cookie(url: &str, lines: &[&str]) -> SetCookieLines {
    let url = CookieUrl::parse(url).unwrap();
    SetCookieLines::new(url, lines.iter().map(|line| (*line).to_owned()))
}

/// Merges the `Set-Cookie` lines of an answer from [`LOGIN_URL`]. Panics if a line is ignored.
pub(super) fn merge(cookies: &Cookies, lines: &[&str]) -> Cookies {
    let merged = cookies.merged(&set_cookie(LOGIN_URL, lines), &base_url(), NOW);
    assert!(merged.ignored.is_empty(), "{:?}", merged.ignored);
    merged.cookies.unwrap_or_else(|| cookies.clone())
}

pub(super) fn pairs(cookies: &Cookies) -> Vec<(&str, &str)> {
    let cookies = cookies.iter();
    cookies
        .map(|(name, value)| (name, value.unwrap()))
        .collect()
}

pub(super) fn others(cookies: &Cookies) -> Vec<(&str, &str, &str)> {
    let others = cookies.others().iter();
    others
        .map(|other| {
            (
                other.name.as_str(),
                other.value.as_str(),
                other.attributes.path.as_str(),
            )
        })
        .collect()
}

fn header(cookies: &Cookies, url: &str) -> Option<String> {
    let url = CookieUrl::parse(url).unwrap();
    let header = cookies.header_for(&url, &base_url(), NOW).unwrap();
    header.map(|header| header.to_string())
}

#[test]
fn set_cookie_line_replaces_the_cookie_without_attributes_at_the_same_position() {
    let login = flat(&[("PHPSESSID", "old"), ("lang", "en")]);
    let merged = merge(
        &login,
        &[
            "PHPSESSID=new; Path=/; HttpOnly; Secure",
            "csrf=t; Path=/members",
        ],
    );
    assert_eq!(
        pairs(&merged),
        [("PHPSESSID", "new"), ("lang", "en"), ("csrf", "t")]
    );
    assert!(merged.others().is_empty());
}

/// A client creates a session with a map of cookie names and values, so the paths of these cookies
/// are unknown. A cookie that the site sets later must replace the cookie of the same name in the
/// map, although its path is not `/`.
#[rstest]
#[case::root("sid=new; Path=/")]
#[case::domain("sid=new; Path=/; Domain=golf.example")]
#[case::folder_of_the_base_url("sid=new; Path=/members")]
#[case::folder_of_the_request("sid=new; Path=/members/login.php")]
fn cookie_without_attributes_is_replaced_by_the_cookie_that_the_site_sets(#[case] line: &str) {
    let merged = merge(&flat(&[("sid", "old")]), &[line]);
    assert_eq!(pairs(&merged), [("sid", "new")]);
    assert!(merged.others().is_empty());
    let removal = format!("{line}; Max-Age=0");
    assert!(merge(&flat(&[("sid", "old")]), &[&removal]).is_empty());
}

#[test]
fn cookie_without_attributes_is_kept_if_the_site_sets_its_namesake_for_another_path() {
    let login = flat(&[("sid", "login")]);
    let merged = merge(&login, &["sid=forum; Path=/forum"]);
    assert_eq!(pairs(&merged), [("sid", "login")]);
    assert_eq!(others(&merged), [("sid", "forum", "/forum")]);
    let url = "https://www.golf.example/forum/7";
    assert_eq!(header(&merged, url).unwrap(), "sid=forum; sid=login");
    let removed = merge(&merged, &["sid=; Path=/forum; Max-Age=0"]);
    assert_eq!(removed, login);
}

#[rstest]
#[case::from_the_folder_of_the_removed_cookie("https://www.golf.example/forum/7", true)]
#[case::from_elsewhere("https://www.golf.example/members/login.php", false)]
fn cookie_without_attributes_may_have_the_path_of_the_request_so_a_removal_for_it_counts(
    #[case] url: &str,
    #[case] is_removed: bool,
) {
    let lines = set_cookie(url, &["sid=; Path=/forum; Max-Age=0"]);
    let merged = flat(&[("sid", "login")]).merged(&lines, &base_url(), NOW);
    assert_eq!(merged.cookies.is_some(), is_removed);
}

/// If several cookies have the same name, the flat map contains the one that is sent to the base
/// URL first. With the new base URL, this is `sid=forum`. The cookie `sid=login` is then outside
/// the flat map, where each cookie must have attributes. It gets the host of the base URL and the
/// path `/`.
#[test]
fn cookie_without_attributes_gets_the_root_path_if_a_namesake_replaces_it_in_the_flat_map() {
    let merged = merge(&flat(&[("sid", "login")]), &["sid=forum; Path=/forum"]);
    let forum = BaseUrl::new("https://www.golf.example/forum").unwrap();
    let moved = merged.changed([], &forum);
    assert_eq!(pairs(&moved), [("sid", "forum")]);
    assert_eq!(others(&moved), [("sid", "login", "/")]);
    assert_eq!(moved.others()[0].attributes.domain, "www.golf.example");
}

#[test]
fn merged_cookie_is_stored_with_the_attributes_of_its_set_cookie_line() {
    let line = "id=1; Domain=.Golf.Example; Secure; Max-Age=60; SameSite=Lax";
    let merged = merge(&Cookies::default(), &[line]);
    let expected = CookieAttributes {
        domain: "golf.example".to_owned(),
        host_only: false,
        path: "/members".to_owned(),
        secure: true,
        expires: Some(NOW + Duration::minutes(1)),
    };
    let all: Vec<_> = merged.with_attributes().collect();
    assert_eq!(all, [("id", Some("1"), Some(&expected))]);
}

#[rstest]
#[case::max_age("sid=x; Max-Age=0")]
#[case::negative_max_age("sid=; Max-Age=-1")]
#[case::php("sid=deleted; expires=Thu, 01-Jan-1970 00:00:01 GMT; Max-Age=0; path=/members")]
#[case::django("sid=\"\"; expires=Thu, 01 Jan 1970 00:00:00 GMT; Max-Age=0; Path=/members")]
#[case::one_digit_day("sid=; Expires=Thu, 1 Jan 1970 0:00:00 GMT")]
fn expired_set_cookie_line_removes_the_stored_cookie(#[case] line: &str) {
    let stored = merge(&Cookies::default(), &["sid=1", "b=2"]);
    assert_eq!(pairs(&merge(&stored, &[line])), [("b", "2")]);
    assert!(merge(&flat(&[("sid", "1")]), &[line]).is_empty());
}

#[test]
fn set_cookie_line_that_removes_a_cookie_of_another_path_changes_nothing() {
    let stored = merge(&Cookies::default(), &["sid=1; Path=/members"]);
    let merged = stored.merged(
        &set_cookie(LOGIN_URL, &["sid=; Path=/; Max-Age=0"]),
        &base_url(),
        NOW,
    );
    assert!(merged.cookies.is_none());
}

#[rstest]
#[case::value_that_was_sent(&[("sid", "new")], &[])]
#[case::value_of_an_older_request(&[("sid", "old")], &[("sid", "new")])]
#[case::name_that_was_not_sent(&[("other", "x")], &[("sid", "new")])]
#[case::nothing_was_sent(&[], &[("sid", "new")])]
fn cookie_is_removed_only_if_the_request_carried_its_value(
    #[case] sent: &[(&str, &str)],
    #[case] expected: &[(&str, &str)],
) {
    let stored = flat(&[("sid", "new")]);
    let sent = sent.iter();
    let sent = sent.map(|(name, value)| ((*name).to_owned(), Some((*value).to_owned())));
    let update = set_cookie(LOGIN_URL, &["sid=; Max-Age=0"]).sent(sent);
    let merged = stored.merged(&update, &base_url(), NOW).cookies;
    assert_eq!(pairs(&merged.unwrap_or(stored)), expected);
}

#[rstest]
#[case::value_that_was_sent(&[("sid", "sent")], &[], &[("sid", "late")])]
#[case::newer_value(&[("sid", "newer")], &[], &[("sid", "newer")])]
#[case::newer_removal(&[], &[], &[])]
#[case::value_of_an_earlier_late_answer(&[("sid", "earlier")], &["sid=earlier"], &[("sid", "late")])]
#[case::removal_by_an_earlier_late_answer(&[], &["sid=; Max-Age=0"], &[("sid", "late")])]
#[case::value_with_expires(
    &[("sid", "earlier")],
    &["sid=earlier; Expires=1 Jan 2100 00:00:00 GMT"],
    &[("sid", "late")]
)]
#[case::newer_removal_of_a_value_with_expires(
    &[],
    &["sid=earlier; Expires=1 Jan 2100 00:00:00 GMT"],
    &[]
)]
#[case::removal_with_expires(
    &[],
    &["sid=; Expires=1 Jan 1970 00:00:00 GMT"],
    &[("sid", "late")]
)]
fn late_merge_does_not_replace_a_newer_cookie(
    #[case] stored: &[(&str, &str)],
    #[case] earlier: &[&str],
    #[case] expected: &[(&str, &str)],
) {
    let stored = flat(stored);
    let earlier = set_cookie(LOGIN_URL, earlier);
    // Some sites remove a cookie before they set it.
    let lines = ["sid=; Path=/members; Max-Age=0", "sid=late; Path=/members"];
    let sent = [("sid".to_owned(), Some("sent".to_owned()))];
    let update = set_cookie(LOGIN_URL, &lines).sent(sent).late(&[earlier]);
    let merged = stored.merged(&update, &base_url(), NOW).cookies;
    assert_eq!(pairs(&merged.unwrap_or(stored)), expected);
}

#[test]
fn late_merge_adds_a_cookie_that_the_request_did_not_carry() {
    let sent = [("sid".to_owned(), Some("1".to_owned()))];
    let update = set_cookie(LOGIN_URL, &["theme=dark"]).sent(sent).late(&[]);
    let merged = flat(&[("sid", "2")]).merged(&update, &base_url(), NOW);
    let expected = [("sid", "2"), ("theme", "dark")];
    assert_eq!(pairs(&merged.cookies.unwrap()), expected);
}

/// One line of an answer sets a cookie, and a later line of the same answer removes it. The cookie
/// is removed, although the request cannot have carried it.
#[test]
fn answer_can_remove_a_cookie_that_an_earlier_line_of_the_answer_has_set() {
    let lines = ["sid=new; Path=/members", "sid=; Path=/members; Max-Age=0"];
    let sent = [("sid".to_owned(), Some("old".to_owned()))];
    let update = set_cookie(LOGIN_URL, &lines).sent(sent);
    let merged = flat(&[("sid", "old")]).merged(&update, &base_url(), NOW);
    assert!(merged.cookies.unwrap().is_empty());
}

#[test]
fn set_cookie_line_replaces_a_stored_value_that_differs_from_the_value_in_the_request() {
    let update = set_cookie(LOGIN_URL, &["sid=3"]).sent([("sid".to_owned(), Some("1".to_owned()))]);
    let merged = flat(&[("sid", "2")]).merged(&update, &base_url(), NOW);
    assert_eq!(pairs(&merged.cookies.unwrap()), [("sid", "3")]);
}

#[test]
fn namesakes_with_other_paths_are_kept_and_the_flat_map_has_the_cookie_for_the_base_url() {
    let merged = merge(
        &Cookies::default(),
        &[
            "sid=root; Path=/",
            "sid=members; Path=/members",
            "sid=admin; Path=/admin",
        ],
    );
    assert_eq!(pairs(&merged), [("sid", "members")]);
    assert_eq!(
        others(&merged),
        [("sid", "root", "/"), ("sid", "admin", "/admin")]
    );
    let url = "https://www.golf.example/members/7";
    assert_eq!(header(&merged, url).unwrap(), "sid=members; sid=root");
    let url = "https://www.golf.example/admin";
    assert_eq!(header(&merged, url).unwrap(), "sid=admin; sid=root");
}

#[test]
fn flat_map_has_the_newest_cookie_if_no_cookie_is_sent_to_the_base_url() {
    let merged = merge(&Cookies::default(), &["sid=1; Path=/a", "sid=2; Path=/b"]);
    assert_eq!(pairs(&merged), [("sid", "2")]);
    let merged = merge(&merged, &["sid=3; Path=/a"]);
    assert_eq!(pairs(&merged), [("sid", "3")]);
    assert_eq!(others(&merged), [("sid", "2", "/b")]);
}

#[rstest]
#[case::control_character("a=1\u{0}", IgnoreReason::Syntax)]
#[case::nothing("; Path=/", IgnoreReason::Syntax)]
#[case::tab_in_the_name("a\tb=1", IgnoreReason::Syntax)]
#[case::nameless_pair("=a=b", IgnoreReason::Syntax)]
#[case::nameless_prefix("__Host-a", IgnoreReason::Prefix)]
#[case::other_domain("a=1; Domain=tennis.example", IgnoreReason::Domain)]
#[case::subdomain("a=1; Domain=x.www.golf.example", IgnoreReason::Domain)]
#[case::public_suffix("a=1; Domain=example", IgnoreReason::Domain)]
#[case::trailing_dot("a=1; Domain=golf.example.", IgnoreReason::Domain)]
#[case::unicode_domain("a=1; Domain=gölf.example", IgnoreReason::Domain)]
#[case::host_prefix_without_path("__Host-a=1; Secure", IgnoreReason::Prefix)]
#[case::host_prefix_with_domain(
    "__Host-a=1; Secure; Path=/; Domain=golf.example",
    IgnoreReason::Prefix
)]
#[case::host_prefix_not_secure("__host-a=1; Path=/", IgnoreReason::Prefix)]
#[case::secure_prefix_not_secure("__SECURE-a=1", IgnoreReason::Prefix)]
#[case::too_large(&format!("a={}", "v".repeat(8_192)), IgnoreReason::TooLarge)]
fn line_that_browsers_ignore_is_reported_with_its_reason(
    #[case] line: &str,
    #[case] reason: IgnoreReason,
) {
    let update = set_cookie(LOGIN_URL, &["b=2", line]);
    let merged = Cookies::default().merged(&update, &base_url(), NOW);
    assert_eq!(merged.ignored, [IgnoredLine { index: 1, reason }]);
    assert_eq!(pairs(&merged.cookies.unwrap()), [("b", "2")]);
}

#[rstest]
#[case::host_prefix("__Host-a=1; Secure; Path=/")]
#[case::secure_prefix("__Secure-a=1; Secure; Domain=golf.example")]
#[case::nameless("token")]
#[case::parent_domain("a=1; Domain=golf.example")]
#[case::long_attribute(&format!("a=1; Domain={}", "x".repeat(1_025)))]
fn set_cookie_line_that_browsers_accept_is_stored(#[case] line: &str) {
    assert_eq!(merge(&Cookies::default(), &[line]).len(), 1);
}

#[test]
fn cookie_with_the_host_prefix_and_an_empty_path_is_ignored_even_at_the_root() {
    let lines = set_cookie("https://www.golf.example/", &["__Host-a=1; Secure; Path="]);
    let merged = Cookies::default().merged(&lines, &base_url(), NOW);
    assert_eq!(merged.ignored[0].reason, IgnoreReason::Prefix);
}

#[test]
fn secure_cookies_are_taken_from_https_only_and_not_replaced_over_http() {
    let http = "http://www.golf.example/members/";
    let update = set_cookie(http, &["a=1; Secure"]);
    let merged = Cookies::default().merged(&update, &base_url(), NOW);
    assert_eq!(merged.ignored[0].reason, IgnoreReason::Insecure);
    let stored = merge(
        &Cookies::default(),
        &["sid=1; Secure; Path=/members; Domain=golf.example"],
    );
    for line in [
        "sid=2; Path=/members",
        "sid=; Max-Age=0",
        "sid=2; Path=/members/x",
    ] {
        let merged = stored.merged(&set_cookie(http, &[line]), &base_url(), NOW);
        assert_eq!(merged.ignored[0].reason, IgnoreReason::Insecure, "{line}");
        assert!(merged.cookies.is_none());
    }
    assert_eq!(header(&stored, http), None);
}

#[test]
fn domain_attribute_may_equal_a_host_that_is_an_ip_address_or_a_public_suffix() {
    for host in ["127.0.0.1", "localhost", "[::1]"] {
        let url = format!("http://{host}:8080/");
        let update = set_cookie(&url, &[&format!("a=1; Domain={host}")]);
        let base_url = BaseUrl::new(url).unwrap();
        let merged = Cookies::default().merged(&update, &base_url, NOW);
        let merged = merged.cookies.unwrap();
        let (_, _, attributes) = merged.with_attributes().next().unwrap();
        assert!(attributes.unwrap().host_only, "{host}");
    }
}

#[test]
fn expires_is_relative_to_the_date_of_the_answer() {
    // The clock of the site is 10 days slow.
    let date = NOW - Duration::days(10);
    let expires = date + Duration::hours(1);
    let (day, month, year) = (expires.day(), expires.month(), expires.year());
    let time = expires.time();
    let line = format!(
        "a=1; Expires={day} {month} {year} {:02}:{:02}:{:02}",
        time.hour(),
        time.minute(),
        time.second()
    );
    let update = || set_cookie(LOGIN_URL, &[&line]);
    let with_date = Cookies::default().merged(&update().answered_at(date), &base_url(), NOW);
    let with_date = with_date.cookies.unwrap();
    let (_, _, attributes) = with_date.with_attributes().next().unwrap();
    assert_eq!(attributes.unwrap().expires, Some(NOW + Duration::hours(1)));
    let without_date = Cookies::default().merged(&update(), &base_url(), NOW);
    assert!(without_date.cookies.is_none());
}

#[test]
fn cookie_lifetime_is_limited_to_400_days() {
    for line in [
        "a=1; Max-Age=99999999999999999999",
        "a=1; Expires=1 Jan 9999 00:00:00",
    ] {
        let merged = merge(&Cookies::default(), &[line]);
        let (_, _, attributes) = merged.with_attributes().next().unwrap();
        let expected = Some(NOW + Duration::days(400));
        assert_eq!(attributes.unwrap().expires, expected, "{line}");
    }
}

/// If only the lifetime of a cookie changes, the change is worth a write if the lifetimes differ by
/// more than a factor of two.
#[rstest]
#[case::same_line("a=1; Max-Age=1000", false)]
#[case::slightly_longer("a=1; Max-Age=1999", false)]
#[case::more_than_twice_as_long("a=1; Max-Age=2001", true)]
#[case::less_than_half("a=1; Max-Age=499", true)]
#[case::no_expiry("a=1", true)]
#[case::other_value("a=2; Max-Age=1000", true)]
#[case::secure("a=1; Max-Age=1000; Secure", true)]
#[case::removal_of_another_cookie("b=; Max-Age=0", false)]
fn merge_reports_a_change_only_if_it_is_worth_a_write(#[case] line: &str, #[case] changes: bool) {
    let stored = merge(&Cookies::default(), &["a=1; Max-Age=1000"]);
    let merged = stored.merged(&set_cookie(LOGIN_URL, &[line]), &base_url(), NOW);
    assert_eq!(merged.cookies.is_some(), changes);
}

/// Some sites remove a cookie and set it again with each answer. Such an answer changes only the
/// order of the cookies, and must not count as a change.
#[test]
fn cookie_that_is_removed_and_set_again_with_the_same_value_is_unchanged() {
    let stored = merge(&Cookies::default(), &["a=1", "b=2"]);
    let lines = ["a=; Max-Age=0", "a=1"];
    let merged = stored.merged(&set_cookie(LOGIN_URL, &lines), &base_url(), NOW);
    assert!(merged.cookies.is_none());
}

/// Expired cookies are removed from the store by the next write, not by a write of their own.
#[rstest]
#[case::no_line(&[])]
#[case::unchanged_cookie(&["a=1"])]
#[case::removal_of_the_expired_cookie(&["old=; Max-Age=0"])]
fn expired_cookie_alone_is_no_reason_for_a_write(#[case] lines: &[&str]) {
    let stored = merge(&Cookies::default(), &["a=1", "old=1; Max-Age=10"]);
    let later = NOW + Duration::seconds(10);
    let merged = stored.merged(&set_cookie(LOGIN_URL, lines), &base_url(), later);
    assert!(merged.cookies.is_none());
}

#[test]
fn expired_cookie_that_is_set_again_with_the_same_value_is_written() {
    let stored = merge(&Cookies::default(), &["a=1", "old=1; Max-Age=10"]);
    let same = set_cookie(LOGIN_URL, &["old=1; Max-Age=10"]);
    let later = NOW + Duration::seconds(10);
    let again = stored.merged(&same, &base_url(), later).cookies.unwrap();
    assert_eq!(pairs(&again), [("a", "1"), ("old", "1")]);
}

#[test]
fn session_with_180_cookies_ignores_new_cookies_but_stores_new_values() {
    let many: Vec<_> = (0..Cookies::MAX_COUNT)
        .map(|n| (format!("c{n}"), "v".to_owned()))
        .collect();
    let full = Cookies::new(many).unwrap();
    let update = set_cookie(LOGIN_URL, &["new=1", "c7=w"]);
    let merged = full.merged(&update, &base_url(), NOW);
    let full = IgnoredLine {
        index: 0,
        reason: IgnoreReason::Full,
    };
    assert_eq!(merged.ignored, [full]);
    assert_eq!(merged.cookies.unwrap().get("c7"), Some("w"));
}

#[test]
fn merge_that_adds_a_cookie_removes_expired_cookies() {
    let stored = merge(&Cookies::default(), &["old=1; Max-Age=10"]);
    let later = NOW + Duration::seconds(11);
    let merged = stored.merged(&set_cookie(LOGIN_URL, &["new=1"]), &base_url(), later);
    assert_eq!(pairs(&merged.cookies.unwrap()), [("new", "1")]);
}

#[test]
fn expired_cookies_are_left_out_and_their_namesakes_enter_the_flat_map() {
    let lines = ["sid=1; Path=/members; Max-Age=10", "sid=2; Path=/", "b=3"];
    let stored = merge(&Cookies::default(), &lines);
    assert_eq!(pairs(&stored), [("sid", "1"), ("b", "3")]);
    assert!(stored.without_expired(&base_url(), NOW).is_none());
    let later = NOW + Duration::seconds(10);
    let left = stored.without_expired(&base_url(), later).unwrap();
    assert_eq!(pairs(&left), [("sid", "2"), ("b", "3")]);
    assert!(left.others().is_empty());
}

/// All cookies have the same path, so they are sent in the order of their creation.
#[test]
fn cookies_are_sent_in_order_of_creation_even_if_some_are_outside_the_flat_map() {
    let lines = [
        "sid=1; Path=/x; Domain=golf.example",
        "a=1; Path=/x",
        "sid=2; Path=/x",
    ];
    let stored = merge(&Cookies::default(), &lines);
    assert_eq!(pairs(&stored), [("a", "1"), ("sid", "2")]);
    let url = "https://www.golf.example/x";
    assert_eq!(header(&stored, url).unwrap(), "sid=1; a=1; sid=2");
    let again = merge(
        &stored,
        &["sid=3; Path=/x; Domain=golf.example", "b=2; Path=/x"],
    );
    assert_eq!(header(&again, url).unwrap(), "sid=3; a=1; sid=2; b=2");
    let bytes = again.details_to_bytes();
    let flat = Cookies::from_stored(again.iter()).unwrap();
    assert_eq!(flat.with_details_from_bytes(&bytes), again);
}

#[rstest]
#[case::other_cookies(&[("a", "1")])]
#[case::fewer_cookies(&[])]
#[case::other_name(&[("other", "1"), ("a", "1")])]
fn cookie_attributes_encoded_for_another_flat_map_are_ignored(#[case] cookies: &[(&str, &str)]) {
    let lines = ["sid=1; Path=/x", "a=1", "sid=2; Path=/y"];
    let bytes = merge(&Cookies::default(), &lines).details_to_bytes();
    let cookies = flat(cookies);
    assert!(
        !cookies
            .clone()
            .with_details_from_bytes(&bytes)
            .has_details()
    );
    assert!(!cookies.with_details_from_bytes(&bytes[1..]).has_details());
}

#[test]
fn cookie_header_is_computed_as_browsers_do() {
    let merged = merge(
        &flat(&[("flat", "0")]),
        &[
            "root=1; Path=/",
            "deep=2; Path=/members/7",
            "other=3; Path=/admin",
            "domain=4; Path=/; Domain=golf.example",
            "short=5; Path=/; Max-Age=5",
            "token",
        ],
    );
    let url = "https://www.golf.example/members/7/edit";
    let expected = "deep=2; token; flat=0; root=1; domain=4; short=5";
    assert_eq!(header(&merged, url).as_deref(), Some(expected));
    let parent = header(&merged, "https://golf.example/");
    assert_eq!(parent.as_deref(), Some("domain=4"));
    assert_eq!(header(&merged, "https://tennis.example/"), None);
    let later = NOW + Duration::seconds(5);
    let url = CookieUrl::parse(url).unwrap();
    let header = merged
        .header_for(&url, &base_url(), later)
        .unwrap()
        .unwrap();
    assert!(!header.contains("short"));
}

#[test]
fn cookie_without_a_value_is_sent_as_its_name_and_a_value_with_a_semicolon_is_an_error() {
    let cookies = [("flag", None), ("empty", Some(String::new()))];
    let cookies = Cookies::new(cookies.map(|(name, value)| (name.to_owned(), value))).unwrap();
    let url = "https://www.golf.example/";
    assert_eq!(header(&cookies, url).as_deref(), Some("flag; empty="));
    let cookies = flat(&[("a", "1; b=2")]);
    let url = CookieUrl::parse(url).unwrap();
    assert_eq!(
        cookies.header_for(&url, &base_url(), NOW),
        Err(UnsendableCookie)
    );
}

#[test]
fn patch_sets_a_cookie_without_attributes_and_removes_its_namesakes() {
    let stored = merge(
        &Cookies::default(),
        &["sid=1; Path=/", "sid=2; Path=/admin", "b=1; Max-Age=60"],
    );
    let changed = stored.changed([("sid", Some("3"))], &base_url());
    assert_eq!(pairs(&changed), [("sid", "3"), ("b", "1")]);
    let attributes: Vec<_> = changed
        .with_attributes()
        .map(|(_, _, own)| own.is_some())
        .collect();
    assert_eq!(attributes, [false, true]);
    assert!(changed.others().is_empty());
    let removed = stored.changed([("sid", None)], &base_url());
    assert_eq!(pairs(&removed), [("b", "1")]);
    assert!(removed.others().is_empty());
}
