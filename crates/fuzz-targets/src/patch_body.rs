use tee_session_api_server::fuzzing::parse_patch_body;
use tee_session_domain::{BaseUrl, Cookies, Login, Session};
use time::OffsetDateTime;

/// What a patch makes of a session is one that could have been created, and made again it is the same.
pub fn patch_body(input: &[u8]) {
    let Some(patch) = parse_patch_body(input) else {
        return;
    };
    let Ok(patched) = patch.apply(&session()) else {
        return;
    };
    assert!((1..=Cookies::MAX_COUNT).contains(&patched.cookies.len()));
    let given = patched.cookies.iter();
    let given = given.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let created = Cookies::new(given).expect("what was patched could have been created");
    assert_eq!(created, patched.cookies);
    BaseUrl::new(patched.base_url.as_str()).expect("and so could its base URL");
    let again = patch.apply(&patched).expect("it can be patched again");
    assert_eq!(again, patched);
}

fn session() -> Session {
    let cookies = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let login = Login::new(
        Cookies::new(cookies).expect("sound cookies"),
        BaseUrl::new("https://golf.example").expect("a sound base URL"),
    );
    Session::new(login, OffsetDateTime::UNIX_EPOCH, None)
}
