//! Tests that cookie files transfer a login from a program to a session, and from a session to a
//! program. The programs are curl, wget, Chromium with Playwright, and `http.cookiejar` of Python.

use std::{collections::BTreeSet, path::Path};

use rstest::rstest;
use tokio::process::Command;

use crate::{
    chromium,
    cookie_site::CookieSite,
    operator::Operator,
    python_packages::{self, output_of},
};

const SITE: &str = "http://www.golf.example";

const CREATE: &str = "create --base-url http://www.golf.example --token-out token";

/// Returns the `Set-Cookie` lines of the page with the path `path`. The names and values are
/// unusual, but each of the programs accepts them.
fn lines_of(path: &str) -> Vec<String> {
    let lines = [
        "PHPSESSID=k3v9d0s8; Path=/; HttpOnly; SameSite=Lax",
        "gdpr[a:b]=\"x, y\"; Path=/; Max-Age=86400",
        "club=7; Domain=golf.example; Path=/",
        "deep=1; Path=/members",
        "elsewhere=1; Path=/other",
        "sid=of the site; Path=/",
        "sid=of the members; Path=/members",
        "json={\"a\":[1,2]}; Path=/",
        "empty=; Path=/",
        "umlaut=grüße; Path=/",
    ];
    if path == "members/set" {
        lines.map(str::to_owned).to_vec()
    } else {
        Vec::new()
    }
}

/// A program that visits the site and keeps its cookies in a file.
#[derive(Debug, Clone, Copy)]
enum Program {
    Curl,
    Wget,
    Chromium,
}

impl Program {
    fn file(self) -> &'static str {
        match self {
            Self::Curl | Self::Wget => "cookies.txt",
            Self::Chromium => "state.json",
        }
    }

    /// Visits the page `/members/set`, and then `/members/`. Writes the cookies to `file`. Returns
    /// the cookies that the second visit sends.
    async fn save(self, site: &CookieSite, file: &Path) -> BTreeSet<String> {
        if let Self::Chromium = self {
            return self.visit(site, "save", file).await;
        }
        let mut command = self.client(site);
        match self {
            Self::Curl => command.arg("-c").arg(file),
            _ => command
                .args(["--keep-session-cookies", "--save-cookies"])
                .arg(file),
        };
        output_of(command.arg(format!("{SITE}/members/set"))).await;
        self.load(site, file).await
    }

    /// Visits the page `/members/` with the cookies of `file`. Returns the cookies that the visit
    /// sends.
    async fn load(self, site: &CookieSite, file: &Path) -> BTreeSet<String> {
        if let Self::Chromium = self {
            return self.visit(site, "load", file).await;
        }
        let mut command = self.client(site);
        match self {
            Self::Curl => command.arg("-b").arg(file),
            _ => command.arg("--load-cookies").arg(file),
        };
        pairs(&output_of(command.arg(format!("{SITE}/members/"))).await)
    }

    fn client(self, site: &CookieSite) -> Command {
        let proxy = format!("http://{}", site.address);
        let mut command = match self {
            Self::Curl => Command::new("curl"),
            Self::Wget | Self::Chromium => Command::new("wget"),
        };
        match self {
            Self::Curl => command.args(["-sS", "-x", &proxy]),
            Self::Wget | Self::Chromium => command.env("http_proxy", proxy).args(["-q", "-O", "-"]),
        };
        command.kill_on_drop(true);
        command
    }

    async fn visit(self, site: &CookieSite, step: &str, file: &Path) -> BTreeSet<String> {
        let mut browser = python_packages::script("storage_state.py");
        browser.args([chromium::path(), &site.address.to_string(), step]);
        pairs(&output_of(browser.arg(file)).await)
    }
}

fn pairs(header: &str) -> BTreeSet<String> {
    header.trim_end().split("; ").map(str::to_owned).collect()
}

/// Imports the cookie file of one program into a session, and exports the session to a cookie file
/// of another program. For the same page, both programs must send the same cookies.
#[rstest]
#[case::curl(Program::Curl, 10, Program::Curl)]
// wget refuses a cookie if the path of the cookie differs from the path of the page.
#[case::wget(Program::Wget, 9, Program::Wget)]
#[case::chromium(Program::Chromium, 10, Program::Chromium)]
#[case::curl_to_chromium(Program::Curl, 10, Program::Chromium)]
#[tokio::test]
async fn login_is_imported_from_one_program_and_exported_to_another(
    #[case] from: Program,
    #[case] count: usize,
    #[case] to: Program,
) {
    let operator = Operator::of_service_without_clients().await;
    let site = CookieSite::start(lines_of).await;
    let saved = operator.path(from.file());
    let sent = from.save(&site, &saved).await;
    for cookie in [
        "PHPSESSID=k3v9d0s8",
        "club=7",
        "deep=1",
        "sid=of the members",
        "umlaut=grüße",
    ] {
        assert!(sent.contains(cookie), "{sent:?}");
    }
    assert!(!sent.contains("elsewhere=1"), "{sent:?}");

    operator.run_successfully(CREATE, "{}").await;
    let import = format!("cookies --import {} --token-file token", from.file());
    assert_eq!(
        operator.run_successfully(&import, "").await,
        format!("{count} cookies imported\n")
    );
    let exported = operator
        .path("exported")
        .with_extension(to.file().split_once('.').unwrap().1);
    let export = format!("cookies --export {} --token-file token", exported.display());
    assert_eq!(operator.run_successfully(&export, "").await, "");
    assert_eq!(to.load(&site, &exported).await, sent);
}

#[tokio::test]
async fn exported_cookie_file_is_read_by_the_cookie_jar_of_python() {
    let operator = Operator::of_service_without_clients().await;
    operator.run_successfully(CREATE, r#"{"flag": null}"#).await;
    let file = "\
        www.golf.example\tFALSE\t/\tFALSE\t0\tSESSIONID\ta1b2c3\n\
        .golf.example\tTRUE\t/members\tFALSE\t4102444800\tlang\ten\n";
    let import = "cookies --import - --token-file token";
    operator.run_successfully(import, file).await;
    let export = "cookies --export cookies.txt --token-file token";
    operator.run_successfully(export, "").await;
    let mut python = python_packages::script("mozilla_cookie_jar.py");
    python.arg(operator.path("cookies.txt"));
    let sent = output_of(python.arg(format!("{SITE}/members/"))).await;
    let expected = ["SESSIONID=a1b2c3", "flag", "lang=en"];
    assert_eq!(pairs(&sent), expected.map(str::to_owned).into());
}
