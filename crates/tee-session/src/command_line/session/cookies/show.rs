//! Shows the cookies of a session with their attributes.

use std::io::{self, Write};

use clap::ArgMatches;
use serde_json::{Map, Value, json};
use tee_session_client::Session;
use tee_session_domain::CookieAttributes;

use super::{super::times::time, Fault, Service, token};
use crate::command_line::output::{DIMMED, NAME as BOLD, PLAIN, Table, print_json, stderr, stdout};

/// Name of the flag that also shows the values of the cookies.
pub(super) const REVEAL: &str = "reveal";

pub(super) async fn run(flags: &ArgMatches, service: &Service) -> Result<(), Fault> {
    let token = token::read(flags)?;
    let client = service.client()?;
    let session = service
        .call(client.session(&token).get_with_attributes())
        .await?;
    let is_revealed = flags.get_flag(REVEAL);
    if service.is_json {
        print_as_json(&session, is_revealed)?;
    } else {
        print(&session, is_revealed)?;
    }
    Ok(())
}

/// A stored cookie: name, value and attributes. The attributes are `None` for a cookie from a login
/// or a patch.
type Stored<'a> = (&'a str, Option<&'a str>, Option<&'a CookieAttributes>);

fn all_of(session: &Session) -> impl Iterator<Item = Stored<'_>> {
    let others = session.cookies.others().iter();
    let others = others.map(|other| {
        (
            other.name.as_str(),
            Some(other.value.as_str()),
            Some(&other.attributes),
        )
    });
    session.cookies.with_attributes().chain(others)
}

fn print_as_json(session: &Session, is_revealed: bool) -> io::Result<()> {
    let cookies = all_of(session).map(|(name, value, attributes)| {
        let mut cookie = Map::new();
        let mut set = |member: &str, value: Value| cookie.insert(member.to_owned(), value);
        set("name", json!(name));
        if is_revealed {
            set("value", json!(value));
        }
        if let Some(attributes) = attributes {
            set("domain", json!(attributes.domain));
            set("host_only", json!(attributes.host_only));
            set("path", json!(attributes.path));
            set("secure", json!(attributes.secure));
            set("expires", json!(attributes.expires.map(time)));
        }
        Value::Object(cookie)
    });
    print_json(&json!({
        "session_id": session.session_id.to_string(),
        "base_url": session.base_url.as_str(),
        "cookies": cookies.collect::<Vec<_>>(),
    }))
}

fn print(session: &Session, is_revealed: bool) -> io::Result<()> {
    if all_of(session).next().is_none() {
        return writeln!(stderr(), "The session has no cookies.");
    }
    let mut table = Table::default();
    let head = ["NAME", "VALUE", "DOMAIN", "PATH", "EXPIRES", "SCHEME"];
    table.line(head.map(|name| (BOLD, name)));
    for (name, value, attributes) in all_of(session) {
        let name = match name {
            "" => (DIMMED, "(no name)"),
            name => (PLAIN, name),
        };
        let value = match value {
            _ if !is_revealed => (DIMMED, "(hidden)"),
            Some(value) => (PLAIN, value),
            None => (DIMMED, "(no value)"),
        };
        let [domain, path, expires, scheme] = scope(attributes);
        let style = attributes.map_or(DIMMED, |_| PLAIN);
        let scope = [&domain, &path, &expires, &scheme].map(|text| (style, text.as_str()));
        let [domain, path, expires, scheme] = scope;
        table.line([name, value, domain, path, expires, scheme]);
    }
    table.write(&mut stdout())
}

/// Returns domain, path, expiry and scheme of a cookie. A cookie without attributes is sent to each
/// path of the host of the base URL.
fn scope(attributes: Option<&CookieAttributes>) -> [String; 4] {
    let Some(attributes) = attributes else {
        return ["(host)", "any", "-", "any"].map(str::to_owned);
    };
    let dot = if attributes.host_only { "" } else { "." };
    [
        format!("{dot}{}", attributes.domain),
        attributes.path.clone(),
        attributes.expires.map_or_else(|| "-".to_owned(), time),
        if attributes.secure { "https" } else { "any" }.to_owned(),
    ]
}
