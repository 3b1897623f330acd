//! Writes the cookies of a session to a cookie file.

use std::{
    collections::HashSet,
    io::{self, Write},
    path::Path,
};

use clap::ArgMatches;
use serde_json::json;
use time::OffsetDateTime;

use super::{
    super::secret_file::SecretFile,
    Fault, Service,
    file_cookie::{FileCookie, name_in_messages},
    format::Format,
    token,
};
use crate::command_line::output::{plural, print_json, print_note, printable};

/// Name of the flag with the cookie file to write.
pub(super) const EXPORT: &str = "export";

/// Reason for leaving out a cookie with the name, domain and path of an earlier cookie of a storage
/// state. A browser that reads the file would keep only one of these cookies.
const NOT_UNIQUE: &str = "the file contains another cookie with the same name, domain and path (a \
                          cookie without a value is written as one without a name)";

pub(super) async fn run(flags: &ArgMatches, service: &Service, file: &Path) -> Result<(), Fault> {
    let format = Format::to_export(flags, file);
    let is_to_stdout = file == Path::new("-");
    let token = token::read(flags)?;
    let client = service.client()?;
    let session = service
        .call(client.session(&token).get_with_attributes())
        .await?;
    let cookies = FileCookie::all_of(&session.cookies, &session.base_url);
    let cookies = cookies.ok_or_else(|| {
        Fault::incomplete(
            "the base URL of the session is not a web URL, so the host of its cookies is unknown"
                .to_owned(),
            "log in again, with the URL of the site as the base URL",
        )
    })?;
    let (kept, left_out) = divide(cookies, format);
    let content = format.write(&kept)?;
    if is_to_stdout {
        // `output::stdout` is not used here, because it would remove escape sequences from the
        // content.
        io::stdout().lock().write_all(&content)?;
    } else {
        SecretFile::create(file, EXPORT)?.write(&content)?;
    }
    report(kept.len(), &left_out, is_to_stdout, service.is_json)?;
    match left_out.len() {
        0 => Ok(()),
        count => Err(Fault::incomplete(
            format!(
                "{} of the session cannot be exported",
                plural(count, "cookie")
            ),
            "try the other format (--format); --reveal without --export shows their values",
        )),
    }
}

/// Divides the cookies of a session. Each cookie has its name in the session. Returns the cookies
/// that the file can contain, and the names of all other cookies, each with the reason. Leaves out
/// expired cookies.
fn divide(
    cookies: Vec<(String, FileCookie)>,
    format: Format,
) -> (Vec<FileCookie>, Vec<(String, &'static str)>) {
    #[expect(
        clippy::disallowed_methods,
        reason = "like a browser, a client judges the expiry of cookies by its own clock"
    )]
    let now = OffsetDateTime::now_utc();
    let (mut kept, mut left_out) = (Vec::new(), Vec::new());
    let mut identities = HashSet::new();
    for (name, cookie) in cookies {
        if cookie.is_expired(now) {
            continue;
        }
        let reason = format.cannot_hold(&cookie).or_else(|| {
            // Programs that read a Netscape file take the value of a cookie without a name for its
            // name, so they keep all of them. Browsers distinguish a cookie of a host from a cookie
            // that is also sent to subdomains.
            let is_first = format == Format::Netscape
                || identities.insert((cookie.identity(), cookie.host_only));
            (!is_first).then_some(NOT_UNIQUE)
        });
        match reason {
            None => kept.push(cookie),
            Some(reason) => left_out.push((name, reason)),
        }
    }
    (kept, left_out)
}

fn report(
    count: usize,
    left_out: &[(String, &'static str)],
    is_to_stdout: bool,
    is_json: bool,
) -> io::Result<()> {
    if is_json && !is_to_stdout {
        let left_out = left_out.iter();
        let left_out = left_out.map(|(name, reason)| json!({"name": name, "reason": reason}));
        return print_json(&json!({"exported": count, "left_out": left_out.collect::<Vec<_>>()}));
    }
    for (name, reason) in left_out {
        let name = printable(name_in_messages(name));
        print_note(format_args!("left out: {name}: {reason}"));
    }
    if !is_json {
        print_note(format_args!("{} exported", plural(count, "cookie")));
    }
    Ok(())
}
