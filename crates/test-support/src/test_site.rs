//! A site on a loopback socket that does exactly what a test prescribes.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};

/// Everything that a [`TestSite`] has received.
#[derive(Debug, Default)]
pub struct Seen {
    connections: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    by_target: HashMap<String, usize>,
    requests: Vec<String>,
}

impl Seen {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the number of connections that were accepted.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Returns the number of requests with the target `target`. A request counts as soon as its
    /// head was received.
    pub fn requests(&self, target: &str) -> usize {
        self.state().by_target.get(target).copied().unwrap_or(0)
    }

    /// Returns the number of all requests that the site has received.
    pub fn total(&self) -> usize {
        self.state().requests.len()
    }

    /// Returns the head of the last request that the site has received.
    pub fn last_head(&self) -> String {
        self.state().requests.last().cloned().unwrap_or_default()
    }

    /// Reads the head of a request, counts the request, and returns the head. Returns `None` if the
    /// connection closes before the end of the head.
    pub async fn read_head(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.ok()?);
        }
        let head = String::from_utf8_lossy(&head).into_owned();
        let target = head.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut state = self.state();
        *state.by_target.entry(target).or_default() += 1;
        state.requests.push(head.clone());
        Some(head)
    }

    /// Reads a request with its body, and counts the request. The length of the body is the value
    /// of `Content-Length`. Returns head and body, or `None` if the connection closes before their
    /// end.
    pub async fn read_request(&self, stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
        let head = self.read_head(stream).await?;
        let mut lines = head.lines();
        let length = lines.find_map(|line| line.strip_prefix("Content-Length: ")?.parse().ok());
        let mut body = vec![0; length.unwrap_or(0)];
        stream.read_exact(&mut body).await.ok()?;
        Some(head + &String::from_utf8_lossy(&body))
    }
}

/// A running site over plain HTTP. The site stops when the value is dropped.
#[derive(Debug)]
pub struct TestSite {
    address: SocketAddr,
    seen: Arc<Seen>,
    task: JoinHandle<()>,
}

impl TestSite {
    /// Starts a site that handles each connection with `handle`.
    pub async fn start<F, H>(handle: H) -> Self
    where
        H: Fn(TcpStream, Arc<Seen>) -> F + Send + 'static,
        F: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await;
        let listener = listener.expect("a free port of the loopback address");
        let address = listener.local_addr().expect("a bound listener");
        let seen = Arc::<Seen>::default();
        let noted = Arc::clone(&seen);
        let task = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                noted.connections.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(handle(stream, Arc::clone(&noted)));
            }
        });
        Self {
            address,
            seen,
            task,
        }
    }

    /// Starts a site that calls `answer` with each request and sends the result. Connections stay
    /// open.
    pub async fn answering_with<A, B>(answer: A) -> Self
    where
        A: Fn(&str) -> B + Send + Sync + 'static,
        B: Into<Vec<u8>>,
    {
        let answer = Arc::new(move |request: &str| -> Vec<u8> { answer(request).into() });
        Self::start(move |mut stream, seen| {
            let answer = Arc::clone(&answer);
            async move {
                while let Some(request) = seen.read_request(&mut stream).await {
                    let answer = answer(&request);
                    if stream.write_all(&answer).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await
    }

    /// Starts a site that gives the same answer to each request, and keeps its connections open.
    pub async fn answering(answer: impl Into<Vec<u8>>) -> Self {
        let answer = answer.into();
        Self::answering_with(move |_| answer.clone()).await
    }

    /// Starts a site that sends one answer on each connection, and then closes the connection.
    pub async fn answering_once(answer: impl Into<Vec<u8>>) -> Self {
        let answer: Arc<[u8]> = answer.into().into();
        Self::start(move |mut stream, seen| {
            let answer = Arc::clone(&answer);
            async move {
                if seen.read_request(&mut stream).await.is_some() {
                    let _ = stream.write_all(&answer).await;
                }
            }
        })
        .await
    }

    /// Returns the address of the site.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns the URL of the site, without a path.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Returns what the site has received.
    #[must_use]
    pub fn seen(&self) -> &Seen {
        &self.seen
    }
}

impl Drop for TestSite {
    fn drop(&mut self) {
        self.task.abort();
    }
}
