//! A site that sets cookies, and shows the cookies that it receives.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
};

/// Function that returns the `Set-Cookie` lines of the page with the given path.
type LinesOf = fn(&str) -> Vec<String>;

/// Path of a page whose header fields are unusual: its `Date` is no date, and two fields are not
/// UTF-8, one of them a `Set-Cookie` line.
pub(crate) const UNUSUAL_FIELDS: &str = "unusual";

/// A running site without TLS. Each page contains the `Cookie` header field of its request. The
/// site is also an HTTP proxy, so that clients can visit it with any host name.
pub(crate) struct CookieSite {
    pub(crate) address: SocketAddr,
}

impl CookieSite {
    pub(crate) async fn start(lines_of: LinesOf) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                tokio::spawn(answer(connection, lines_of));
            }
        });
        Self { address }
    }
}

async fn answer(mut connection: TcpStream, lines_of: LinesOf) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        match connection.read_u8().await {
            Ok(byte) => head.push(byte),
            Err(_) => return,
        }
    }
    let head = String::from_utf8(head).unwrap();
    let target = head.split(' ').nth(1).unwrap();
    // A client of a proxy sends the whole URL.
    let path = target
        .splitn(4, '/')
        .nth(3)
        .filter(|_| target.starts_with("http:"));
    let path = path.unwrap_or(target.trim_start_matches('/'));
    let lines = lines_of(path).into_iter();
    let fields: String = lines
        .map(|line| format!("Set-Cookie: {line}\r\n"))
        .collect();
    let fields_received = head.lines().filter_map(|field| field.split_once(": "));
    let mut cookies = fields_received.filter(|(name, _)| name.eq_ignore_ascii_case("cookie"));
    let cookies = cookies.next().map_or("", |(_, value)| value);
    let length = cookies.len();
    let start = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: {length}\r\n\
         Connection: close\r\n{fields}"
    );
    let unusual: &[u8] = if path == UNUSUAL_FIELDS {
        b"Date: yesterday\r\nX-Name: r\xe9sum\xe9\r\nSet-Cookie: l=gr\xfc\xdfe\r\n"
    } else {
        b""
    };
    let end = format!("\r\n{cookies}");
    let answer = [start.as_bytes(), unusual, end.as_bytes()].concat();
    let _ = connection.write_all(&answer).await;
}
