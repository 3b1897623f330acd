//! Tests of the setting `hide_cookies` of the binary, with the Rust client and with the command
//! line.

use serde_json::json;
use tee_session_client::{BaseUrl, Client, CookieHeaderError, Cookies, ProblemCode, SessionPatch};

use crate::{
    operator::{COOKIES, CREATE, Operator},
    service,
};

async fn operator() -> Operator {
    let flags = ["--hide-cookies", "true", "--log-level", "TRACE"];
    Operator::of(service::start(&flags).await)
}

#[tokio::test]
async fn rust_client_gets_the_names_but_not_the_values_of_hidden_cookies() {
    let operator = operator().await;
    let client = Client::new(operator.service.base()).unwrap();
    let cookies = Cookies::new([("sid".to_owned(), "s3cret-cookie".to_owned())]).unwrap();
    let base_url = BaseUrl::new("https://golf.example/members").unwrap();
    let new = client.create(&cookies, &base_url).send().await.unwrap();
    let holder = client.session(&new.access_token);

    let session = holder.get().await.unwrap();
    assert!(session.cookies.is_empty());
    assert_eq!(session.cookie_names, Some(vec!["sid".to_owned()]));
    let jar = session.jar_for("https://golf.example/members");
    assert_eq!(jar.unwrap_err(), CookieHeaderError::Hidden);

    let patch = SessionPatch::default().set_cookie("lang", "s3cret-lang");
    let session = holder.update(&patch).await.unwrap();
    assert_eq!(session.cookie_names.unwrap(), ["sid", "lang"]);

    let lines = ["sid=s3cret-2; Path=/".to_owned()];
    let merged = holder.merge_cookies("https://golf.example/book", lines);
    let merged = merged.send().await.unwrap();
    assert_eq!(merged.session.cookie_names.unwrap(), ["sid", "lang"]);

    let refused = holder.get_with_attributes().await.unwrap_err();
    let code = &refused.problem().unwrap().code;
    assert_eq!(*code, ProblemCode::InvalidRequest);

    // If a session has no cookies, the list of cookie names is empty.
    let empty = Cookies::default();
    let none = client.create(&empty, &base_url);
    let none = none.send().await.unwrap();
    let session = client.session(&none.access_token).get().await.unwrap();
    assert_eq!(session.cookie_names, Some(Vec::new()));
    assert!(!operator.service.output().contains("s3cret"));
}

#[tokio::test]
async fn session_commands_show_the_names_but_not_the_values_of_hidden_cookies() {
    let operator = operator().await;
    let token = operator.run_successfully(CREATE, COOKIES).await;
    let shown = operator.run_successfully("show", &token).await;
    for word in ["SESSIONID  (hidden)", "lang       (hidden)"] {
        assert!(shown.contains(word), "{word} is missing in {shown}");
    }
    let shown = operator.json("show", &token).await;
    assert_eq!(shown["cookie_names"], json!(["SESSIONID", "lang"]));

    let refused = operator.run_failing(1, "show --reveal", &token).await;
    assert!(refused.contains("hides the values of cookies"), "{refused}");
    for command in ["cookies", "cookies --reveal", "cookies --export -"] {
        let refused = operator.run_failing(1, command, &token).await;
        assert!(refused.contains("hide_cookies"), "{command}: {refused}");
    }
}
