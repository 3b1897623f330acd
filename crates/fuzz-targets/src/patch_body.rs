use tee_session_api_server::fuzzing::parse_patch_body;
use tee_session_domain::{BaseUrl, Cookies, Login, Session};
use time::OffsetDateTime;

/// Fuzz target for the parser of the body of `PATCH /v1/session`.
///
/// The cookies and the base URL of a patched session must satisfy the rules for new sessions. If
/// the same patch is applied to the patched session again, the session must not change.
pub fn patch_body(input: &[u8]) {
    let Some(patch) = parse_patch_body(input) else {
        return;
    };
    let Ok(patched) = patch.apply(&session()) else {
        return;
    };
    let given = patched.cookies.iter();
    let given = given.map(|(name, value)| (name.to_owned(), value.map(str::to_owned)));
    let created = Cookies::new(given).expect("the patched cookies are valid");
    assert_eq!(created, patched.cookies);
    BaseUrl::new(patched.base_url.as_str()).expect("the patched base URL is valid");
    let again = patch
        .apply(&patched)
        .expect("the patch can be applied again");
    assert_eq!(again, patched);
}

fn session() -> Session {
    let cookies = [("a", "1"), ("b", "2")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let login = Login::new(
        Cookies::new(cookies).expect("valid cookies"),
        BaseUrl::new("https://golf.example").expect("a valid base URL"),
    );
    Session::new(login, OffsetDateTime::UNIX_EPOCH, None)
}
