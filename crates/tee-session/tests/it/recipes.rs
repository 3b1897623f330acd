//! Tests of the recipe `session_client.py` in `docs/recipes`, with sites in PHP and Django and with
//! unusual cookies. The tests of the upstream gateway run the other recipes.

use std::{collections::BTreeMap, fs, time::Duration};

use serde::Deserialize;
use serde_json::{Value, json};
use tee_session_test_support::RedisProcess;
use time::{OffsetDateTime, format_description::well_known::Rfc3339};
use tokio::process::Command;

use crate::{
    booking_sites::BookingSite,
    cookie_site::{CookieSite, UNUSUAL_FIELDS},
    python_packages::{self, RECIPES},
    service::{self, Service},
};

/// Returns a command that runs the script `name`. The script imports the recipe. Its arguments are
/// the base URLs of `services`, and the URL of the site.
fn script(name: &str, services: &[&Service], site: &str) -> Command {
    let mut command = python_packages::script(name);
    command
        .env("PYTHONPATH", RECIPES)
        .env("PYTHONDONTWRITEBYTECODE", "1");
    command.args(services.iter().map(|service| service.base()));
    command.arg(site);
    command
}

/// Returns the command of [`script`] for `site`, with one more argument: the file with the
/// certificate authority of the site.
fn flow(name: &str, services: &[&Service], site: &BookingSite) -> Command {
    let mut command = script(name, services, &site.base);
    command.arg(site.authority.ca_file());
    command
}

#[test]
fn session_client_recipe_has_fewer_than_40_lines_that_are_not_blank() {
    let recipe = fs::read_to_string(format!("{RECIPES}/session_client.py")).unwrap();
    let lines = recipe.lines().filter(|line| !line.trim().is_empty());
    assert!(lines.count() < 40);
}

#[derive(Deserialize)]
struct Booking {
    before_login: BTreeMap<String, String>,
    after_login: BTreeMap<String, String>,
    after_booking: BTreeMap<String, String>,
    times: String,
    booked_url: String,
    booked: String,
    booked_at_first: String,
    cookies_of_first: BTreeMap<String, String>,
}

/// A program logs in and books on a site that changes its session id at the login and with each
/// booking. The next program uses the session through another instance, and must send the newest
/// session id.
#[tokio::test]
async fn login_and_booking_on_a_php_site_are_continued_at_another_instance() {
    let (redis, site) = (RedisProcess::start().await, BookingSite::of_php().await);
    let url = redis.url();
    let flags = ["--redis-url", url.as_str()];
    let instances = [service::start(&flags).await, service::start(&flags).await];
    for instance in &instances {
        instance.until_ready(Duration::from_secs(10)).await;
    }
    let mut flow = flow("booking_flow.py", &instances.each_ref(), &site);
    let output = python_packages::output_of(&mut flow).await;
    let seen: Booking = serde_json::from_str(&output).unwrap();

    let names = |cookies: &BTreeMap<String, String>| cookies.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&seen.before_login), ["PHPSESSID", "seen"]);
    // The login has set one cookie, and has removed another cookie with a different path.
    assert_eq!(names(&seen.after_login), ["PHPSESSID", "remember[member]"]);
    assert!(
        seen.times.contains("<title>Welcome</title>"),
        "{}",
        seen.times
    );
    let ids = [&seen.before_login, &seen.after_login, &seen.after_booking];
    let ids = ids.map(|cookies| &cookies["PHPSESSID"]);
    assert!(ids[0] != ids[1] && ids[1] != ids[2], "the id changed twice");

    assert_eq!(seen.booked_url, "/bookings?edit=1");
    assert_eq!(seen.booked, "Booked: 08:10");
    assert_eq!(seen.booked_at_first, "Booked: 08:10");
    assert_eq!(&seen.cookies_of_first["PHPSESSID"], ids[2]);
}

#[derive(Deserialize)]
struct DjangoFlow {
    before_login: BTreeMap<String, DjangoCookie>,
    after_login: BTreeMap<String, DjangoCookie>,
    after_logout: BTreeMap<String, DjangoCookie>,
    out_of_date: u16,
    booked: String,
}

#[derive(Deserialize)]
struct DjangoCookie {
    value: String,
    host_only: bool,
    path: String,
    secure: bool,
    expires: String,
}

#[tokio::test]
async fn login_cookie_of_a_django_site_is_stored_until_the_logout_and_its_csrf_cookie_stays() {
    let (service, site) = (service::start(&[]).await, BookingSite::of_django().await);
    let mut flow = flow("django_flow.py", &[&service], &site);
    let output = python_packages::output_of(&mut flow).await;
    let seen: DjangoFlow = serde_json::from_str(&output).unwrap();

    assert!(!seen.before_login.contains_key("sessionid"));
    let csrf = |cookies: &BTreeMap<String, DjangoCookie>| cookies["csrftoken"].value.clone();
    assert_ne!(csrf(&seen.before_login), csrf(&seen.after_login));
    let login = &seen.after_login["sessionid"];
    assert!(login.host_only && login.secure && login.path == "/");
    let expires = OffsetDateTime::parse(&login.expires, &Rfc3339).unwrap();
    let csrf_expires =
        OffsetDateTime::parse(&seen.after_login["csrftoken"].expires, &Rfc3339).unwrap();
    assert!(expires < csrf_expires, "two weeks, and a year");

    assert_eq!(seen.out_of_date, 403);
    assert_eq!(seen.booked, "Booked: 08:10");
    assert!(!seen.after_logout.contains_key("sessionid"));
    assert_eq!(csrf(&seen.after_logout), csrf(&seen.after_login));
}

fn lines_of(path: &str) -> Vec<String> {
    let lines: &[&str] = match path {
        "remove" => &["flag=; Path=/; Max-Age=0"],
        "set" => &["sid=root; Path=/", "z=0; Path=/", "sid=m; Path=/m"],
        UNUSUAL_FIELDS => &["g=grüße; Path=/"],
        _ => &[],
    };
    lines.iter().map(|line| (*line).to_owned()).collect()
}

/// Uses cookies that a client based on `http.cookiejar` of Python would send in another form. Such
/// a client would also send no cookies to `localhost`.
#[tokio::test]
async fn session_client_recipe_sends_the_same_cookies_as_a_browser() {
    let (service, site) = (service::start(&[]).await, CookieSite::start(lines_of).await);
    let url = format!("http://localhost:{}", site.address.port());
    let mut script = script("odd_cookies.py", &[&service], &url);
    let output = python_packages::output_of(&mut script).await;
    let seen: Value = serde_json::from_str(&output).unwrap();
    let expected = json!({
        "sent": "tok; flag; a=1",
        "left": {"": "tok", "a": "1"},
        "namesakes": "sid=m; sid=root; z=0",
        "umlauts": "g=grüße",
        "error": "a cookie for this URL has a value with a semicolon, which cannot be sent",
    });
    assert_eq!(seen, expected);
}
