//! Format of Netscape cookie files, which curl, wget, yt-dlp, `http.cookiejar` of Python and
//! browser extensions read and write. No standard describes this format. A line has seven fields,
//! separated by TABs: domain, `TRUE` if the cookie is also sent to subdomains, path, `TRUE` if the
//! cookie is sent over HTTPS only, expiry time in seconds since 1970 or 0, name, and value.

use std::io::{self, Write};

use time::OffsetDateTime;
use zeroize::Zeroizing;

use super::file_cookie::{FileCookie, Malformed, Positioned, len_of_all, parse_expiry};

/// Prefix of a line with an `HttpOnly` cookie (a cookie that scripts of a page cannot read). Other
/// lines that begin with `#` are comments.
const HTTP_ONLY: &str = "#HttpOnly_";

/// First lines of a cookie file. `http.cookiejar` requires the first of these lines.
const HEAD: &str = "\
# Netscape HTTP Cookie File
# Written by tee-session. Keep this file secret: its cookies give access to an account.

";

/// Parses a cookie file. Returns each cookie with the number of its line.
///
/// # Errors
/// Fails at the first line that is malformed.
pub(super) fn parse(text: &str) -> Result<Vec<Positioned>, Malformed> {
    let lines = text.lines().enumerate();
    let cookies = lines.filter_map(|(index, line)| {
        let line = line.strip_suffix('\r').unwrap_or(line);
        let line = match line.strip_prefix(HTTP_ONLY) {
            Some(line) => line,
            None if line.trim().is_empty() || line.starts_with('#') => return None,
            None => line,
        };
        let number = index + 1;
        Some(match parse_line(line) {
            Ok(cookie) => Ok((number, cookie)),
            Err((what, advice)) => Err(Malformed {
                what: format!("line {number}: {what}"),
                advice,
            }),
        })
    });
    cookies.collect()
}

fn parse_line(line: &str) -> Result<FileCookie, (&'static str, &'static str)> {
    const FIELDS: &str = "write seven fields: domain, TRUE or FALSE, path, TRUE or FALSE, time of \
                          expiry, name, value";
    // A value may contain TABs.
    let mut fields = line.splitn(7, '\t');
    let mut next = || fields.next();
    let (Some(domain), Some(with_subdomains), Some(path), Some(secure), Some(expires), Some(name)) =
        (next(), next(), next(), next(), next(), next())
    else {
        return Err(if line.contains('\t') {
            ("a cookie has fewer than six fields", FIELDS)
        } else {
            (
                "the line is neither a comment nor a cookie, because it contains no TABs",
                "export the file again: an editor may have replaced its TABs by spaces",
            )
        });
    };
    let domain = domain.strip_prefix('.').unwrap_or(domain);
    if domain.is_empty() {
        return Err(("the domain (field 1) is empty", FIELDS));
    }
    let flag = |text: &str, fault| parse_flag(text).ok_or((fault, FIELDS));
    let with_subdomains = flag(with_subdomains, "field 2 must be TRUE or FALSE")?;
    let secure = flag(secure, "field 4 must be TRUE or FALSE")?;
    let path = if path.is_empty() { "/" } else { path };
    if !path.starts_with('/') {
        return Err(("the path (field 3) must begin with /", FIELDS));
    }
    let expires = parse_expiry(expires).ok_or((
        "the time of expiry (field 5) must be a number of seconds since 1970, or 0",
        FIELDS,
    ))?;
    Ok(FileCookie {
        name: name.to_owned(),
        // Some editors remove the TAB before an empty value.
        value: Zeroizing::new(next().unwrap_or_default().to_owned()),
        domain: domain.to_ascii_lowercase(),
        host_only: !with_subdomains,
        path: path.to_owned(),
        secure,
        expires,
    })
}

fn parse_flag(text: &str) -> Option<bool> {
    if text.eq_ignore_ascii_case("TRUE") {
        Some(true)
    } else if text.eq_ignore_ascii_case("FALSE") {
        Some(false)
    } else {
        None
    }
}

/// Returns the content of a cookie file. If a cookie is also sent to subdomains, its domain begins
/// with a dot, because `http.cookiejar` requires the dot.
pub(super) fn write(cookies: &[FileCookie]) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut file = Zeroizing::new(Vec::with_capacity(HEAD.len() + len_of_all(cookies)));
    file.extend_from_slice(HEAD.as_bytes());
    for cookie in cookies {
        let flag = |flag| if flag { "TRUE" } else { "FALSE" };
        let expires = cookie.expires.map_or(0, OffsetDateTime::unix_timestamp);
        writeln!(
            file,
            "{dot}{domain}\t{with_subdomains}\t{path}\t{secure}\t{expires}\t{name}\t{value}",
            dot = if cookie.host_only { "" } else { "." },
            domain = cookie.domain,
            with_subdomains = flag(!cookie.host_only),
            path = cookie.path,
            secure = flag(cookie.secure),
            name = cookie.name,
            value = cookie.value.as_str(),
        )?;
    }
    Ok(file)
}

/// Returns the reason why a cookie file cannot contain the cookie, or `None` if the file can
/// contain the cookie.
pub(super) fn cannot_hold(cookie: &FileCookie) -> Option<&'static str> {
    let has_tab = cookie.value.contains('\t') || cookie.path.contains('\t');
    has_tab.then_some("it contains a TAB, which separates the fields of the file")
}

#[cfg(test)]
mod tests;
