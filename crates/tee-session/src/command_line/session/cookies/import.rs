//! Adds the cookies of a cookie file to a session.

mod report;

use std::{collections::HashMap, mem, path::Path};

use clap::ArgMatches;
use tee_session_client::{BaseUrl, Client, SessionToken};
use time::OffsetDateTime;
use zeroize::Zeroizing;

use self::report::{LeftOut, Report};
use super::{
    Fault, Service,
    file_cookie::Identity,
    format::{self, Parsed},
    set_cookie_line::set_cookie_line,
    token,
};
use crate::command_line::secret_input::SecretInput;

/// Maximum length of a cookie file (16 MiB). The file may be long, because the file of a browser
/// contains the cookies of all sites.
const MAX_FILE_LEN: u64 = 16 * 1024 * 1024;

/// Maximum number of `Set-Cookie` lines that the service accepts in one request.
const MAX_LINES: usize = 180;

/// Maximum total length of the `Set-Cookie` lines in one request, in bytes. Even if JSON escapes
/// double this length, the request body is shorter than the default maximum size.
const MAX_LEN: usize = 30 * 1024;

/// Reason for leaving out a cookie that another cookie of the file has replaced.
const REPLACED: &str = "A later cookie of the file has the same name, domain and path.";

pub(super) async fn run(flags: &ArgMatches, service: &Service, file: &Path) -> Result<(), Fault> {
    let input = SecretInput::of_file(file);
    let is_token_in_a_file = matches!(token::input(flags), SecretInput::File(_));
    if input == SecretInput::Stdin && !is_token_in_a_file {
        return Err(Fault::misuse(
            "standard input cannot be used for two inputs".to_owned(),
            "pass a file with the token with --token-file",
        ));
    }
    // The file is parsed first, so that a malformed file has no effect.
    let parsed = read(&input)?;
    let token = token::read(flags)?;
    let client = service.client()?;
    let session = service.call(client.session(&token).get()).await?;
    let base_url = session.base_url;
    let (lines, mut report) = select(&parsed, &base_url)?;
    // Contains each cookie that the session has received, as it is reported if a later cookie
    // replaces it.
    let mut received: HashMap<Identity, LeftOut> = HashMap::new();
    for mut batch in batches(lines) {
        let mut ignored = merge(&mut batch.lines, &base_url, &client, &token, service).await?;
        for (index, line) in batch.lines.into_iter().enumerate() {
            let reason = ignored.remove(&index);
            let is_ignored = reason.is_some();
            let left_out = LeftOut {
                position: line.position,
                name: line.name,
                reason: reason.unwrap_or_else(|| REPLACED.to_owned()),
            };
            if is_ignored {
                report.left_out.push(left_out);
            } else if let Some(replaced) = received.insert(line.identity, left_out) {
                report.left_out.push(replaced);
            }
        }
    }
    report.imported = received.len();
    report.print(service.is_json)?;
    report.into_result()
}

fn read(input: &SecretInput) -> Result<Parsed, Fault> {
    let content = input.read_bytes(MAX_FILE_LEN).map_err(|error| {
        let what = format!("the cookie file cannot be read: {error}");
        Fault::misuse(what, "pass a cookie file with --import")
    })?;
    format::parse(&content).map_err(|malformed| {
        let what = format!("{}; nothing was imported", malformed.what);
        Fault::misuse(what, malformed.advice)
    })
}

/// A cookie of the cookie file, converted to a `Set-Cookie` line.
struct Line {
    position: usize,
    name: String,
    identity: Identity,
    text: Zeroizing<String>,
}

/// Returns a `Set-Cookie` line for each cookie that belongs to the host of the base URL, and a
/// report on the remaining cookies of the file.
fn select(parsed: &Parsed, base_url: &BaseUrl) -> Result<(Vec<Line>, Report), Fault> {
    #[expect(
        clippy::disallowed_methods,
        reason = "like a browser, a client judges the expiry of cookies by its own clock"
    )]
    let now = OffsetDateTime::now_utc();
    let host = base_url.ascii_host().unwrap_or_default();
    let mut report = Report::of(parsed);
    let mut lines = Vec::new();
    for (position, cookie) in &parsed.cookies {
        if !cookie.belongs_to(&host) {
            report.of_other_hosts += 1;
        } else if cookie.is_expired(now) {
            report.expired += 1;
        } else {
            let (position, name) = (*position, cookie.name.clone());
            match set_cookie_line(cookie) {
                Ok(text) => lines.push(Line {
                    position,
                    name,
                    identity: cookie.identity(),
                    text,
                }),
                Err(reason) => report.left_out.push(LeftOut {
                    position,
                    name,
                    reason,
                }),
            }
        }
    }
    if report.of_other_hosts == parsed.cookies.len() {
        return Err(Fault::incomplete(
            format!("the file contains no cookies for the host of the session, {host}"),
            "check that the file is from the same site: session show prints the base URL",
        ));
    }
    Ok((lines, report))
}

/// `Set-Cookie` lines that are sent to the service in one request.
#[derive(Default)]
struct Batch {
    lines: Vec<Line>,
    count: usize,
    len: usize,
}

fn batches(lines: Vec<Line>) -> Vec<Batch> {
    let mut batches: Vec<Batch> = Vec::new();
    for line in lines {
        let len = line.text.len();
        let fits = |batch: &&mut Batch| batch.count < MAX_LINES && batch.len + len <= MAX_LEN;
        let batch = match batches.last_mut().filter(fits) {
            Some(batch) => batch,
            None => batches.push_mut(Batch::default()),
        };
        batch.count += 1;
        batch.len += len;
        batch.lines.push(line);
    }
    batches
}

/// Merges the cookies of one batch into the session, with one request. Returns the positions in
/// `lines` of the cookies that the service ignored, each with the reason.
async fn merge(
    lines: &mut [Line],
    base_url: &BaseUrl,
    client: &Client,
    token: &SessionToken,
    service: &Service,
) -> Result<HashMap<usize, String>, Fault> {
    let texts: Vec<String> = (lines.iter_mut())
        .map(|line| mem::take(&mut *line.text))
        .collect();
    let session = client.session(token);
    // `sent([])` states that the request to the site carried no cookies. The service therefore
    // removes no cookie, even if a cookie of the file has expired on the clock of the store.
    let merge = session
        .merge_cookies(base_url.as_str(), texts)
        .sent::<&str>([]);
    let merged = service.call(merge.send()).await?;
    let ignored = merged.ignored.into_iter().map(|ignored| {
        let reason = report::reason_of_the_service(&ignored.reason);
        (ignored.index, reason)
    });
    Ok(ignored.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn set_cookie_lines_of_an_import_are_divided_into_requests_of_limited_size() {
        let lines = |count: usize, len: usize| {
            let line = |position| Line {
                position,
                name: "a".to_owned(),
                identity: Identity::default(),
                text: Zeroizing::new("x".repeat(len)),
            };
            (1..=count).map(line).collect::<Vec<_>>()
        };
        let counts = |lines| {
            let batches = batches(lines).into_iter();
            batches.map(|batch| batch.lines.len()).collect::<Vec<_>>()
        };
        assert_eq!(counts(lines(0, 10)), [0_usize; 0]);
        assert_eq!(counts(lines(MAX_LINES, 10)), [MAX_LINES]);
        assert_eq!(counts(lines(MAX_LINES + 1, 10)), [MAX_LINES, 1]);
        assert_eq!(counts(lines(5, MAX_LEN / 2)), [2, 2, 1]);
        assert_eq!(counts(lines(2, MAX_LEN + 1)), [1, 1]);
    }
}
