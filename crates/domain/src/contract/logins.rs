//! Whatever a client may store.

use proptest::{
    collection::hash_map,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{Harness, manager};
use crate::{BaseUrl, Cookies};

/// So many logins are drawn: enough to meet each kind of character at each place.
const DRAWS: usize = 100;

/// Of a random login that is accepted, each name and value comes back to the byte, in the order
/// in which they were given, and so does the URL. The draws are the same each time.
pub async fn every_accepted_login_survives_byte_for_byte_and_in_order<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let mut runner = TestRunner::deterministic();
    for _ in 0..DRAWS {
        let drawn = logins().new_tree(&mut runner).expect("a login");
        let (cookies, base_url) = drawn.current();
        let new = sessions
            .store(cookies.clone(), base_url.clone())
            .await
            .expect("the store takes it");
        let active = sessions
            .get(&new.token)
            .await
            .expect("the session is there");
        let kept: Vec<_> = active.session.cookies.iter().collect();
        assert_eq!(kept, cookies.iter().collect::<Vec<_>>());
        assert_eq!(active.session.base_url, base_url);
    }
}

fn logins() -> impl Strategy<Value = (Cookies, BaseUrl)> {
    let name = "[!#$%&'*+.^_`|~0-9A-Za-z-]{1,30}";
    // Anything but control characters, and more often what some format takes for its own.
    let value = r#"(\PC|["\\%;,=&<{}\[\]$ ]|😀|\x{FEFF}|\x{10FFFF}){0,60}"#;
    let path = "(/[a-z0-9;,=äöü日本%-]{0,10}){0,4}";
    (hash_map(name, value, 1..=Cookies::MAX_COUNT), path).prop_filter_map(
        "more than 16 KiB in all",
        |(cookies, path)| {
            let base_url = BaseUrl::new(format!("https://golf.example{path}"));
            Some((Cookies::new(cookies).ok()?, base_url.ok()?))
        },
    )
}
