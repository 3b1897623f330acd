//! Minimal HTTP/1.1 client with keep-alive, which creates and looks up sessions.

use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// An open connection to a server on this machine.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    port: u16,
}

/// An HTTP response.
pub(crate) struct Response {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Response {
    /// Returns the value of the response header `name`, or `None` if the response has no such
    /// header.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    /// Opens a connection to the port `port` of this machine.
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(1_024, stream);
        Ok(Self { stream, port })
    }

    /// Looks up a session: sends `GET /v1/session` with the header line `credential`.
    pub(crate) async fn read(&mut self, credential: &str) -> anyhow::Result<Response> {
        self.send("GET /v1/session", credential, "").await
    }

    /// Sends `GET path` with the header line `credential`.
    pub(crate) async fn fetch(&mut self, path: &str, credential: &str) -> anyhow::Result<Response> {
        self.send(&format!("GET {path}"), credential, "").await
    }

    /// Deletes a session: sends `DELETE /v1/session` with the header line `credential`.
    pub(crate) async fn delete(&mut self, credential: &str) -> anyhow::Result<Response> {
        self.send("DELETE /v1/session", credential, "").await
    }

    /// Sends `GET path` without credentials. The server closes the connection after the response,
    /// because the request has the header `Connection: close`.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Response> {
        self.send(&format!("GET {path}"), "Connection: close", "")
            .await
    }

    /// Sends `POST path` with the JSON body `body`.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Response> {
        let fields = format!(
            "Content-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        self.send(&format!("POST {path}"), &fields, body).await
    }

    async fn send(&mut self, line: &str, fields: &str, body: &str) -> anyhow::Result<Response> {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{fields}\r\n\r\n{body}",
            self.port
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.read_response().await
    }

    async fn read_response(&mut self) -> anyhow::Result<Response> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).await? == 0 {
                bail!("the server closed the connection");
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut response = Response {
            status: status.context("a response without a status")?,
            head,
            body: String::new(),
        };
        let length = match response.field("Content-Length") {
            Some(length) => length.parse()?,
            None if response.status == 204 => 0,
            None => bail!("a response without Content-Length"),
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        response.body = String::from_utf8(body)?;
        Ok(response)
    }
}
