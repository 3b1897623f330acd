//! Unusual cookies that sites on the Internet set.

/// `Set-Cookie` lines with names and values that the grammar for servers (RFC 6265bis, section 4)
/// forbids, or that some parsers cannot read.
pub(crate) const ODD_LINES: [&str; 34] = [
    "PHPSESSID=k3v9d0s8f7a6; Path=/; HttpOnly; SameSite=Lax",
    "gdpr[allowed_cookies]=%5B%221%22%5D; Path=/",
    "gdpr[0][a:b]=1; Path=/",
    "user:id=1; Path=/",
    "a/b=1; Path=/",
    "ID@x=1; Path=/",
    "a(b)=1; Path=/",
    "{x}=1; Path=/",
    "a,b=1; Path=/",
    "my cookie=1; Path=/",
    "$Version=1; Path=/",
    "__proto__=1; Path=/",
    "__Host-id=1; Path=/; Secure",
    "Case=1; Path=/",
    "case=2; Path=/",
    "größe=1; Path=/",
    "empty=; Path=/",
    "quoted=\"a b\"; Path=/",
    "quote=a\"b; Path=/",
    "comma=a, b,c; Path=/",
    "json={\"a\":[1,{\"b\":null}]}; Path=/",
    "backslash=a\\b\\\"c; Path=/",
    "equals=a=b==; Path=/",
    "percent=%7B%00%22; Path=/",
    "spaces=a  b; Path=/",
    "tab=a\tb; Path=/",
    "umlaut=grüße; Path=/",
    "snow=☃⛳; Path=/",
    "chinese=汉字; Path=/",
    "next_line=a\u{85}b; Path=/",
    "jwt=eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiI0NzExIn0.dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk; Path=/",
    "flag; Path=/",
    "=nameless; Path=/",
    "sid=of the site; Path=/",
];

/// Number of ordinary cookies that the site also sets. Older releases allowed at most 50 cookies.
pub(crate) const MANY: usize = 100;

/// Lengths of the values of long cookies. Older releases allowed 4096 bytes for one cookie and 16
/// KiB for all cookies.
pub(crate) const LONG: [usize; 4] = [6_000, 4_000, 4_000, 4_000];

/// Returns the paths of all pages of the site. Each page sets different cookies. The cookies are
/// spread over many pages, because clients limit the length and the number of header fields.
pub(crate) fn paths() -> Vec<String> {
    let long = (0..LONG.len()).map(|index| format!("long/{index}"));
    let pages = ["", "many/0", "many/1", "folder/"].map(str::to_owned);
    pages.into_iter().chain(long).collect()
}

/// Returns the `Set-Cookie` lines of the page with this path.
pub(crate) fn lines_of(path: &str) -> Vec<String> {
    let (folder, index) = path.split_once('/').unwrap_or_default();
    let index = index.parse().unwrap_or(0);
    match folder {
        "many" => {
            let half = MANY / 2;
            let indices = index * half..(index + 1) * half;
            indices
                .map(|index| format!("c{index}=v{index}; Path=/"))
                .collect()
        }
        "long" => vec![format!("long{index}={}; Path=/", "x".repeat(LONG[index]))],
        "folder" => vec!["sid=of the folder; Path=/folder".to_owned()],
        _ => ODD_LINES.map(str::to_owned).to_vec(),
    }
}
