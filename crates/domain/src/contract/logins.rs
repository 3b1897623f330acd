//! Contract test of storing: if a session has valid cookies and a valid base URL, the store returns
//! them unchanged.

use proptest::{
    collection::hash_map,
    option,
    strategy::{Strategy, ValueTree},
    test_runner::TestRunner,
};

use super::{Harness, manager};
use crate::{BaseUrl, Cookies};

/// Number of random sessions that the test stores. Each session has one base URL and about 90
/// cookies, so each kind of character occurs at each position of a value.
const DRAWS: usize = 30;

/// If a session is stored with random valid cookies and a random valid base URL, the store returns
/// them unchanged. The cookies have the same order, and each name and value has the same bytes. The
/// test uses the same random values in each run.
pub async fn random_valid_cookies_and_base_urls_are_read_back_unchanged<H: Harness>(harness: &H) {
    let sessions = manager(harness, 60);
    let mut runner = TestRunner::deterministic();
    let logins = valid_cookies_and_base_urls();
    for _ in 0..DRAWS {
        let drawn = logins.new_tree(&mut runner).expect("a login");
        let (cookies, base_url) = drawn.current();
        let new = sessions
            .store(cookies.clone(), base_url.clone())
            .await
            .expect("the store accepts a session");
        let active = sessions.get(&new.token).await.expect("the session is live");
        let kept: Vec<_> = active.session.cookies.iter().collect();
        assert_eq!(
            kept,
            cookies.iter().collect::<Vec<_>>(),
            "cookies are kept byte for byte and in their order"
        );
        assert_eq!(
            active.session.base_url, base_url,
            "the base URL is kept byte for byte"
        );
    }
}

fn valid_cookies_and_base_urls() -> impl Strategy<Value = (Cookies, BaseUrl)> {
    // The names contain any characters except control characters, `;` and `=`.
    let name = r"[!-:<>-~äß日😀\x{85}]( ?[!-:<>-~äß日😀\x{9f}]){0,30}";
    // The values contain any characters except the control characters that browsers refuse.
    // Characters that have a special meaning in JSON, URLs or cookie headers are more frequent. A
    // cookie may also have no value.
    let value = r#"(\PC|["\\%;,=&<{}\[\]$ ]|[\t\x{80}-\x{9f}]|😀|\x{FEFF}|\x{10FFFF}){0,60}"#;
    let path = "(/[a-z0-9;,=äöü日本%-]{0,10}){0,4}";
    (
        hash_map(name, option::of(value), 0..=Cookies::MAX_COUNT),
        path,
    )
        .prop_filter_map("more than 32 KiB in all", |(cookies, path)| {
            let base_url = BaseUrl::new(format!("https://golf.example{path}"));
            Some((Cookies::new(cookies).ok()?, base_url.ok()?))
        })
}
