//! One HTTP/1.1 connection that is kept alive: as much of it as logging in and asking take.

use std::net::Ipv4Addr;

use anyhow::{Context, bail};
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::TcpStream,
};

/// A connection to a server on this machine.
pub(crate) struct Connection {
    stream: BufReader<TcpStream>,
    port: u16,
}

/// What a server said.
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    /// The value of a header field.
    pub(crate) fn field(&self, name: &str) -> Option<&str> {
        self.head.lines().find_map(|line| {
            let (field, value) = line.split_once(':')?;
            field.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }
}

impl Connection {
    pub(crate) async fn open(port: u16) -> anyhow::Result<Self> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await?;
        stream.set_nodelay(true)?;
        let stream = BufReader::with_capacity(1_024, stream);
        Ok(Self { stream, port })
    }

    /// Asks for the session that `credential`, a header line, names.
    pub(crate) async fn read(&mut self, credential: &str) -> anyhow::Result<Answer> {
        self.send("GET /v1/session", credential, "").await
    }

    /// Ends the session that `credential`, a header line, names.
    pub(crate) async fn delete(&mut self, credential: &str) -> anyhow::Result<Answer> {
        self.send("DELETE /v1/session", credential, "").await
    }

    /// Asks for what is there for everybody.
    pub(crate) async fn get(&mut self, path: &str) -> anyhow::Result<Answer> {
        self.send(&format!("GET {path}"), "Connection: close", "")
            .await
    }

    /// Posts JSON.
    pub(crate) async fn post(&mut self, path: &str, body: &str) -> anyhow::Result<Answer> {
        let fields = format!(
            "Content-Type: application/json\r\nContent-Length: {}",
            body.len()
        );
        self.send(&format!("POST {path}"), &fields, body).await
    }

    async fn send(&mut self, line: &str, fields: &str, body: &str) -> anyhow::Result<Answer> {
        let request = format!(
            "{line} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{fields}\r\n\r\n{body}",
            self.port
        );
        self.stream.write_all(request.as_bytes()).await?;
        self.answer().await
    }

    async fn answer(&mut self) -> anyhow::Result<Answer> {
        let mut head = String::new();
        while !head.ends_with("\r\n\r\n") {
            if self.stream.read_line(&mut head).await? == 0 {
                bail!("the server closed the connection");
            }
        }
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
        let mut answer = Answer {
            status: status.context("no status")?,
            head,
            body: String::new(),
        };
        let length = match answer.field("Content-Length") {
            Some(length) => length.parse()?,
            None if answer.status == 204 => 0,
            None => bail!("an answer without a length"),
        };
        let mut body = vec![0; length];
        self.stream.read_exact(&mut body).await?;
        answer.body = String::from_utf8(body)?;
        Ok(answer)
    }
}
