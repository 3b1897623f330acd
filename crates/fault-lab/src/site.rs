//! A simulated site, on which the clients of a test book through the upstream gateway. Each booking
//! has a unique number and should cause one request. The site counts the requests with each number,
//! and misbehaves as the fault scenario requires.

use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use anyhow::Context;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpSocket, TcpStream},
    sync::watch,
    task::{JoinHandle, JoinSet},
    time::{sleep, timeout},
};

/// Path prefix of a booking. The number of the booking follows.
pub(crate) const BOOK: &str = "/book/";

/// Name of the cookie that each answer sets. The value of the cookie is the number of the booking.
pub(crate) const BOOKING: &str = "booking";

/// Maximum time until the site answers a request.
const MAX_ANSWER_TIME: Duration = Duration::from_millis(20);

/// Maximum time after which a site with the behaviour [`Behaviour::Cuts`] closes an idle
/// connection, in microseconds.
const MAX_IDLE_MICROS: u64 = 400;

/// Reaction of the simulated site to requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Behaviour {
    /// Answers each request after a short time.
    Answers,
    /// Receives requests, and holds back the answers until the behaviour changes.
    Holds,
    /// Receives requests and never answers them.
    Hangs,
    /// Closes most connections at a random point: before, during or after a request, within an
    /// answer, or after an idle time of some microseconds.
    Cuts,
}

/// Requests that the site has received for one booking.
#[derive(Debug, Default, Clone)]
pub(crate) struct Booking {
    /// Number of received requests. A request counts as soon as its head is received.
    pub(crate) requests: usize,
    /// Value of the header field `Cookie` in the last request for this booking. Empty if the
    /// request had no such field.
    pub(crate) cookie: String,
    /// `true` if the site closes the connection before the end of its answer.
    pub(crate) is_cut_off: bool,
}

#[derive(Default)]
struct Books {
    bookings: Mutex<HashMap<u64, Booking>>,
    held: AtomicUsize,
}

impl Books {
    fn bookings(&self) -> MutexGuard<'_, HashMap<u64, Booking>> {
        self.bookings.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A running site on a loopback port. Dropping the value stops the site.
pub(crate) struct Site {
    address: SocketAddr,
    /// Socket that reserves the port while the site refuses connections.
    _port: TcpSocket,
    books: Arc<Books>,
    behaviour: watch::Sender<Behaviour>,
    acceptor: Mutex<Option<JoinHandle<()>>>,
}

impl Site {
    /// Starts a site that answers each request.
    pub(crate) fn start() -> anyhow::Result<Self> {
        let port = reusable_socket(([127, 0, 0, 1], 0).into())?;
        let site = Self {
            address: port.local_addr()?,
            _port: port,
            books: Arc::default(),
            behaviour: watch::Sender::new(Behaviour::Answers),
            acceptor: Mutex::default(),
        };
        site.accept_connections()?;
        Ok(site)
    }

    /// Returns the URL of the site, without a path.
    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the behaviour of the site, also for open connections.
    pub(crate) fn set(&self, behaviour: Behaviour) {
        self.behaviour.send_replace(behaviour);
    }

    /// Returns the number of requests whose answers the site holds back.
    pub(crate) fn held(&self) -> usize {
        self.books.held.load(Ordering::SeqCst)
    }

    /// Returns the received requests for the booking `number`.
    pub(crate) fn booking(&self, number: u64) -> Booking {
        let bookings = self.books.bookings();
        bookings.get(&number).cloned().unwrap_or_default()
    }

    /// Closes all connections to the site, and makes the site refuse new connections.
    pub(crate) async fn refuse_connections(&self) {
        let acceptor = self.acceptor().take();
        if let Some(acceptor) = acceptor {
            acceptor.abort();
            // The sockets are closed when the task has ended.
            let _ = acceptor.await;
        }
    }

    /// Makes the site accept connections again.
    pub(crate) fn accept_connections(&self) -> anyhow::Result<()> {
        let listener = reusable_socket(self.address)?.listen(1_024);
        let listener = listener.context("the site cannot listen")?;
        let (books, behaviour) = (Arc::clone(&self.books), self.behaviour.subscribe());
        let acceptor = tokio::spawn(accept(listener, books, behaviour));
        *self.acceptor() = Some(acceptor);
        Ok(())
    }

    fn acceptor(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.acceptor.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        if let Some(acceptor) = self.acceptor().take() {
            acceptor.abort();
        }
    }
}

/// Returns a socket that is bound to `address`. Several sockets can be bound to one address if only
/// one of them listens.
fn reusable_socket(address: SocketAddr) -> anyhow::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(address).context("no port for the site")?;
    Ok(socket)
}

async fn accept(listener: TcpListener, books: Arc<Books>, behaviour: watch::Receiver<Behaviour>) {
    // Dropping the set closes all connections.
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        // Forgets connections that have ended.
        while connections.try_join_next().is_some() {}
        let (books, behaviour) = (Arc::clone(&books), behaviour.clone());
        connections.spawn(async move {
            // The client has closed the connection.
            let _ = serve(stream, &books, behaviour).await;
        });
    }
}

/// The head of a request for a booking, as the site reads it.
struct Request {
    number: u64,
    length: u64,
}

async fn serve(
    stream: TcpStream,
    books: &Books,
    mut behaviour: watch::Receiver<Behaviour>,
) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    loop {
        if *behaviour.borrow() == Behaviour::Cuts {
            let idle = Duration::from_micros(fastrand::u64(..MAX_IDLE_MICROS));
            match timeout(idle, stream.fill_buf()).await {
                Ok(Ok(received)) if !received.is_empty() && fastrand::u8(..8) > 0 => {}
                _ => return Ok(()),
            }
        }
        let Some(request) = read_head(&mut stream, books).await? else {
            return Ok(());
        };
        // The behaviour may have changed while the connection was idle.
        let cut = (*behaviour.borrow() == Behaviour::Cuts).then(|| fastrand::u8(..8));
        if cut == Some(0) {
            return Ok(());
        }
        let mut body = (&mut stream).take(request.length);
        tokio::io::copy(&mut body, &mut tokio::io::sink()).await?;
        if *behaviour.borrow() == Behaviour::Hangs {
            let _ = behaviour.wait_for(|now| *now != Behaviour::Hangs).await;
            return Ok(());
        }
        sleep(MAX_ANSWER_TIME.mul_f64(fastrand::f64())).await;
        if *behaviour.borrow() == Behaviour::Holds {
            let _held = Held::count(books);
            let _ = behaviour.wait_for(|now| *now != Behaviour::Holds).await;
        }
        let answer = answer_to(request.number);
        let end = match cut {
            Some(1) => return Ok(()),
            Some(2) => {
                let mut bookings = books.bookings();
                bookings.entry(request.number).or_default().is_cut_off = true;
                fastrand::usize(1..answer.len())
            }
            _ => answer.len(),
        };
        stream.write_all(&answer.as_bytes()[..end]).await?;
        if end < answer.len() {
            return Ok(());
        }
    }
}

/// Counts a request while its answer is held back. Dropping the value ends the count.
struct Held<'a>(&'a Books);

impl<'a> Held<'a> {
    fn count(books: &'a Books) -> Self {
        books.held.fetch_add(1, Ordering::SeqCst);
        Self(books)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.held.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Reads the head of a request, and counts the request for its booking. Returns `None` if the
/// client closes the connection.
async fn read_head(
    stream: &mut BufReader<TcpStream>,
    books: &Books,
) -> std::io::Result<Option<Request>> {
    let mut head = String::new();
    while !head.ends_with("\r\n\r\n") {
        if stream.read_line(&mut head).await? == 0 {
            return Ok(None);
        }
    }
    let target = head.split(' ').nth(1).unwrap_or_default();
    let number = target.strip_prefix(BOOK).and_then(|n| n.parse().ok());
    let field = |name| head.lines().find_map(|line| line.strip_prefix(name));
    let length = field("Content-Length: ").and_then(|length| length.parse().ok());
    let number = number.unwrap_or(0);
    let mut bookings = books.bookings();
    let booking = bookings.entry(number).or_default();
    booking.requests += 1;
    booking.cookie = field("Cookie: ").unwrap_or_default().to_owned();
    Ok(Some(Request {
        number,
        length: length.unwrap_or(0),
    }))
}

fn answer_to(number: u64) -> String {
    let body = text_of(number);
    format!(
        "HTTP/1.1 200 OK\r\nSet-Cookie: {BOOKING}={number}; Path=/; HttpOnly\r\n\
         Content-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// Returns the body of the answer to a booking.
pub(crate) fn text_of(number: u64) -> String {
    format!("Booked: {number}")
}
