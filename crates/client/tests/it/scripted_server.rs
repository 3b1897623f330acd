//! HTTP server for tests that sends scripted responses and records the received requests.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use serde_json::Value;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
};

/// Reaction of the scripted server to one complete request.
#[derive(Debug, Clone)]
pub(crate) enum Step {
    /// Sends the text as the response and keeps the connection open.
    Answer(String),
    /// Closes the connection without a response.
    HangUp,
    /// Sends the text as the response and closes the connection.
    CutOff(String),
    /// Sends no response and keeps the connection open.
    Hang,
}

impl Step {
    /// Creates a response with the status `status` and without a body.
    pub(crate) fn status(status: u16) -> Self {
        Self::answer(status, &[], "")
    }

    pub(crate) fn json(status: u16, body: &Value) -> Self {
        Self::json_with(status, &[], body)
    }

    pub(crate) fn json_with(status: u16, headers: &[(&str, &str)], body: &Value) -> Self {
        let headers = [headers, &[("Content-Type", "application/json")]].concat();
        Self::answer(status, &headers, &body.to_string())
    }

    /// Creates a response with problem details, in the format that the service uses.
    pub(crate) fn problem(status: u16, code: &str, headers: &[(&str, &str)]) -> Self {
        let body = serde_json::json!({
            "type": "about:blank",
            "title": "Title",
            "status": status,
            "detail": "A sentence",
            "code": code,
        });
        let headers = [headers, &[("Content-Type", "application/problem+json")]].concat();
        Self::answer(status, &headers, &body.to_string())
    }

    pub(crate) fn answer(status: u16, headers: &[(&str, &str)], body: &str) -> Self {
        let mut text = format!("HTTP/1.1 {status} \r\n");
        if status != 204 {
            text += &format!("Content-Length: {}\r\n", body.len());
        }
        for (name, value) in headers {
            text += &format!("{name}: {value}\r\n");
        }
        Self::Answer(text + "\r\n" + body)
    }
}

/// A request that the scripted server received.
#[derive(Debug, Clone)]
pub(crate) struct Received {
    /// Method and target of the request, for example `GET /health`.
    pub(crate) line: String,
    headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Received {
    /// Returns the value of the header field `name`, which must be in lower case. Returns `None` if
    /// the request has no such header field.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find_map(|(known, value)| (known == name).then_some(value.as_str()))
    }
}

#[derive(Default)]
struct Shared {
    steps: Mutex<VecDeque<Step>>,
    received: Mutex<Vec<Received>>,
    connections: AtomicUsize,
}

/// A running server with scripted responses. Dropping this value stops the server.
pub(crate) struct ScriptedServer {
    pub(crate) address: SocketAddr,
    shared: Arc<Shared>,
    task: AbortHandle,
}

impl ScriptedServer {
    /// Starts a server that reacts to each request with the next step in `steps`. For all further
    /// requests, the server repeats the last step.
    pub(crate) async fn start(steps: impl IntoIterator<Item = Step>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Arc::new(Shared {
            steps: Mutex::new(steps.into_iter().collect()),
            ..Shared::default()
        });
        let for_task = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                for_task.connections.fetch_add(1, Ordering::Relaxed);
                connections.spawn(Arc::clone(&for_task).serve(stream));
            }
        });
        Self {
            address,
            shared,
            task: task.abort_handle(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub(crate) fn received(&self) -> Vec<Received> {
        self.shared.received.lock().unwrap().clone()
    }

    /// Returns the only recorded request. Panics if the server has not recorded exactly one
    /// request.
    pub(crate) fn only_request(&self) -> Received {
        let mut received = self.received();
        assert_eq!(received.len(), 1, "{received:?}");
        received.remove(0)
    }

    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Shared {
    async fn serve(self: Arc<Self>, mut stream: TcpStream) {
        while let Some(received) = read_request(&mut stream).await {
            self.received.lock().unwrap().push(received);
            match self.next_step() {
                // The client may close the connection before it has read the whole response, so a
                // write error is ignored.
                Step::Answer(text) => drop(stream.write_all(text.as_bytes()).await),
                Step::CutOff(text) => {
                    let _ = stream.write_all(text.as_bytes()).await;
                    return;
                }
                Step::HangUp => return,
                Step::Hang => std::future::pending().await,
            }
        }
    }

    fn next_step(&self) -> Step {
        let mut steps = self.steps.lock().unwrap();
        match steps.len() {
            1 => steps[0].clone(),
            _ => steps.pop_front().expect("a step for each request"),
        }
    }
}

/// Reads a request. Returns `None` if the connection is closed, or if the received bytes are not
/// HTTP, such as a TLS handshake.
async fn read_request(stream: &mut TcpStream) -> Option<Received> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.ok()?);
        if !head[0].is_ascii_uppercase() {
            return None;
        }
    }
    let head = String::from_utf8(head).unwrap();
    let mut lines = head.trim_end().split("\r\n");
    let line = lines.next()?.trim_end_matches(" HTTP/1.1").to_owned();
    let headers = lines.filter_map(|line| line.split_once(": "));
    let mut received = Received {
        line,
        headers: headers
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect(),
        body: String::new(),
    };
    let len = received.header("content-length").unwrap_or("0");
    let mut body = vec![0; len.parse().unwrap()];
    stream.read_exact(&mut body).await.ok()?;
    received.body = String::from_utf8(body).unwrap();
    Some(received)
}
