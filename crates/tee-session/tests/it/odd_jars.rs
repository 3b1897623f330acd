//! Tests with the cookie jars of HTTP clients in several languages. All kinds of cookies that sites
//! set can be stored in a session and loaded again byte for byte.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
};

use reqwest::Method;
use rstest::rstest;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::{
    cookie_site::CookieSite,
    odd_site::{self, LONG, MANY, ODD_LINES},
    python_packages,
    service::{self, Service},
};

/// Name that two cookies with different paths have.
const NAMESAKE: &str = "sid";

const TESTS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it");

/// Output of a test program that visits the site and creates a session.
#[derive(Deserialize)]
struct Visit {
    /// Cookies in the cookie jar of the client: name, value and path.
    jar: Vec<(String, Option<String>, String)>,
    /// Response to the creation of a session with the cookies that have the path `/`.
    created: Value,
    /// The created session, as the client reads it from the service.
    session: Session,
    /// `Set-Cookie` lines that the client has received, with one list for each page.
    lines: Vec<Vec<String>>,
}

#[derive(Deserialize)]
struct Session {
    cookies: BTreeMap<String, Option<String>>,
}

#[derive(Debug, Clone, Copy)]
enum Client {
    Requests,
    Httpx,
    Aiohttp,
    Node,
    Java,
}

impl Client {
    fn command(self) -> Command {
        let python = |library: &str| {
            let mut command = python_packages::script("odd_jars.py");
            command.arg(library);
            command
        };
        match self {
            Self::Requests => python("requests"),
            Self::Httpx => python("httpx"),
            Self::Aiohttp => python("aiohttp"),
            Self::Node => {
                let mut command = Command::new("node");
                // Debian installs the packages of Node in this directory.
                command.env("NODE_PATH", "/usr/share/nodejs");
                command.arg(Path::new(TESTS).join("node/odd_jars.js"));
                command
            }
            Self::Java => {
                let mut command = Command::new("java");
                command.args(["-Xshare:auto", "-XX:TieredStopAtLevel=1"]);
                command.arg(Path::new(TESTS).join("java/OddJars.java"));
                command
            }
        }
    }

    /// Returns the names of the site's cookies that this client rejects, because the parser of the
    /// client is stricter than the rules for a session.
    fn refuses(self) -> &'static [&'static str] {
        match self {
            // These clients reject a cookie without a name.
            Self::Requests | Self::Httpx => &[""],
            Self::Aiohttp => &["", "a,b", "flag", "größe", "long0", "my cookie", "tab"],
            // This client reads `flag` as a cookie without a name. The line `=nameless` then
            // replaces this cookie.
            Self::Node => &["flag", "tab"],
            // For this client, names that differ only in case are equal.
            Self::Java => &["", "$Version", "Case", "a,b", "flag", "größe", "my cookie"],
        }
    }
}

#[rstest]
#[case::requests(Client::Requests)]
#[case::httpx(Client::Httpx)]
#[case::aiohttp(Client::Aiohttp)]
#[case::node(Client::Node)]
#[case::java(Client::Java)]
#[tokio::test]
async fn cookie_jar_of_an_http_client_is_stored_and_loaded_byte_for_byte(#[case] client: Client) {
    let service = service::start(&[]).await;
    let site = CookieSite::start(odd_site::lines_of).await;
    let urls = odd_site::paths().into_iter();
    let urls: Vec<_> = urls
        .map(|path| format!("http://{}/{path}", site.address))
        .collect();
    let mut command = client.command();
    command.kill_on_drop(true).arg(service.base()).args(&urls);
    let visit: Visit =
        serde_json::from_str(&python_packages::output_of(&mut command).await).unwrap();

    // Some clients decode names that are not ASCII differently, so the test compares only the
    // number of names.
    let taken: BTreeSet<_> = visit.jar.iter().map(|(name, ..)| name).collect();
    let expected = ODD_LINES.len() + MANY + LONG.len() - client.refuses().len();
    assert_eq!(taken.len(), expected, "{taken:?}");

    // All cookies with the path `/` are in the session.
    assert_eq!(visit.created["ignored"], Value::Null);
    let of_the_site = visit.jar.iter().filter(|(.., path)| path == "/");
    let of_the_site = of_the_site.map(|(name, value, _)| (name.clone(), value.clone()));
    assert_eq!(visit.session.cookies, of_the_site.collect());

    // A map contains only one cookie of each name. If the lines of the site are merged into a
    // session, all cookies are kept.
    let namesakes = merge_lines(&service, &urls, &visit.lines).await;
    let of_the_client = visit.jar.into_iter().filter(|(name, ..)| name == NAMESAKE);
    let of_the_client = of_the_client.map(|(_, value, path)| (value.unwrap(), path));
    assert_eq!(namesakes, of_the_client.collect());
    assert_eq!(namesakes.len(), 2);
}

/// Merges the `Set-Cookie` lines that the client has received into a new session. Returns the
/// values and paths of all cookies with the name [`NAMESAKE`].
async fn merge_lines(
    service: &Service,
    urls: &[String],
    lines: &[Vec<String>],
) -> BTreeSet<(String, String)> {
    let login = json!({"cookies": {}, "base_url": urls[0]});
    let create = service.request(Method::POST, "/v1/sessions").json(&login);
    let created: Value = create.send().await.unwrap().json().await.unwrap();
    let token = created["access_token"].as_str().unwrap();
    for (url, lines) in urls.iter().zip(lines) {
        let merge = json!({"url": url, "set_cookie": lines});
        let merge = service
            .request(Method::POST, "/v1/session/cookies")
            .json(&merge);
        let merged = merge.bearer_auth(token).send().await.unwrap();
        assert_eq!(merged.status(), 200);
    }
    let get = service.request(Method::GET, "/v1/session?attributes=true");
    let session = get.bearer_auth(token).send().await.unwrap();
    let session: Value = session.json().await.unwrap();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let first = (
        text(&session["cookies"][NAMESAKE]),
        text(&session["cookie_attributes"][NAMESAKE]["path"]),
    );
    let others = session["other_cookies"].as_array().unwrap().iter();
    let others = others.filter(|cookie| cookie["name"] == NAMESAKE);
    let others = others.map(|cookie| (text(&cookie["value"]), text(&cookie["path"])));
    others.chain([first]).collect()
}
