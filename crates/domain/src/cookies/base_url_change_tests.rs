//! Tests of the flat map after a change of the base URL.

use super::{
    Cookies,
    merge_tests::{merge, others, pairs},
};
use crate::BaseUrl;

fn golf(path: &str) -> BaseUrl {
    BaseUrl::new(format!("https://www.golf.example{path}")).unwrap()
}

#[test]
fn changed_base_url_selects_other_cookies_for_the_flat_map() {
    let stored = merge(
        &Cookies::default(),
        &["sid=1; Path=/members", "sid=2; Path=/admin"],
    );
    assert_eq!(pairs(&stored), [("sid", "1")]);
    let changed = stored.changed([], &golf("/admin/"));
    assert_eq!(pairs(&changed), [("sid", "2")]);
    assert_eq!(others(&changed), [("sid", "1", "/members")]);
}

/// The record does not contain the order in which cookies of the flat map and other cookies were
/// set.
#[test]
fn name_keeps_its_value_if_no_cookie_of_it_is_sent_to_the_new_base_url() {
    let stored = merge(
        &Cookies::default(),
        &["sid=1; Path=/members", "sid=2; Path=/admin"],
    );
    let changed = stored.changed([], &golf("/news"));
    assert_eq!(pairs(&changed), [("sid", "1")]);
    assert_eq!(others(&changed), [("sid", "2", "/admin")]);
}

#[test]
fn cookie_without_a_value_that_leaves_the_flat_map_gets_an_empty_value() {
    let login = Cookies::new([("flag".to_owned(), None::<String>)]).unwrap();
    let stored = merge(&login, &["flag=forum; Path=/forum"]);
    assert_eq!(stored.iter().collect::<Vec<_>>(), [("flag", None)]);
    let changed = stored.changed([], &golf("/forum"));
    assert_eq!(pairs(&changed), [("flag", "forum")]);
    assert_eq!(others(&changed), [("flag", "", "/")]);
    let back = changed.changed([], &golf("/members"));
    assert_eq!(pairs(&back), [("flag", "")]);
}
