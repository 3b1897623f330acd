//! A TCP proxy that injects faults into connections.

use std::{io, net::SocketAddr, time::Duration};

use socket2::SockRef;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// Fault that the proxy injects into its connections.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// Injects no fault: all bytes are passed on unchanged.
    None,
    /// Delays each chunk of reply bytes by this duration.
    Delay(Duration),
    /// Stops forwarding in both directions. The connection stays open, and the buffers fill up.
    Stall,
    /// Drops all bytes that the client sends. The client gets no error.
    ///
    /// If bytes of a connection were dropped, the proxy also drops all later bytes that the client
    /// sends on this connection, even after the fault has ended. The reason is that TCP never
    /// delivers bytes that follow lost bytes.
    SwallowRequests,
    /// Drops all bytes that the server sends. The server gets no error.
    ///
    /// If bytes of a connection were dropped, the proxy also drops all later bytes that the server
    /// sends on this connection, even after the fault has ended. The reason is that TCP never
    /// delivers bytes that follow lost bytes.
    SwallowAnswers,
    /// Drops the replies that arrive while this fault is set. After the fault has ended, the proxy
    /// forwards replies again on the same connection.
    ///
    /// The later replies then no longer match the commands of the client. A correct network never
    /// causes this fault.
    LoseAnswers,
    /// Closes the connection after this number of reply bytes, possibly in the middle of a reply.
    /// Bytes from before the fault was set are not counted.
    CutAfter(usize),
    /// Resets the connection (TCP RST) after this number of reply bytes. Bytes from before the
    /// fault was set are not counted.
    ResetAfter(usize),
    /// Replaces random bytes of replies by random values.
    Garble {
        /// Average distance between two replaced bytes. With `500`, one byte in 500 is replaced.
        one_in: usize,
    },
}

/// A TCP proxy that forwards connections to another address and injects the current [`Fault`].
/// Dropping the proxy closes all its connections.
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    connect_delay: watch::Sender<Duration>,
    acceptor: AbortHandle,
}

impl FaultProxy {
    /// Creates a proxy that listens on a free port of the loopback interface and forwards
    /// connections to `target` (`host:port`).
    pub async fn to(target: impl Into<String>) -> Self {
        let target = target.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let fault = watch::Sender::new(Fault::None);
        let connect_delay = watch::Sender::new(Duration::ZERO);
        let (faults, delays) = (fault.subscribe(), connect_delay.subscribe());
        let acceptor = tokio::spawn(async move {
            // If this task is aborted, the set `connections` is dropped, and all connections are
            // closed.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, faults, delay) = (target.clone(), faults.clone(), *delays.borrow());
                connections.spawn(async move {
                    sleep(delay).await;
                    if let Ok(server) = TcpStream::connect(target).await {
                        let _ = forward(client, server, faults).await;
                    }
                });
            }
        });
        Self {
            address,
            fault,
            connect_delay,
            acceptor: acceptor.abort_handle(),
        }
    }

    /// Makes the proxy wait for `delay` after it accepts a connection, before it connects to the
    /// target.
    #[must_use]
    pub fn with_connect_delay(self, delay: Duration) -> Self {
        self.connect_delay.send_replace(delay);
        self
    }

    /// Sets the current fault. The fault also applies to connections that are already open.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Returns the address on which the proxy listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Closes all connections of the proxy and stops accepting new connections.
    pub fn cut(&self) {
        self.acceptor.abort();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Forwards bytes in both directions until the client, the server or a fault closes the connection.
async fn forward(
    client: TcpStream,
    server: TcpStream,
    faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    // With the Nagle algorithm, the proxy would add latency even if no fault is set.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        ended = forward_requests(from_client, to_server, faults.clone()) => ended,
        ended = forward_replies(from_server, to_client, faults) => ended,
    }
}

async fn forward_requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    let mut drops = false;
    loop {
        unless_stalled(&faults).await;
        let read = client.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        unless_stalled(&faults).await;
        drops |= *faults.borrow() == Fault::SwallowRequests;
        if !drops {
            server.write_all(&bytes[..read]).await?;
        }
    }
}

async fn forward_replies(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    let (mut passed, mut drops) = (0, false);
    loop {
        unless_stalled(&faults).await;
        let read = server.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        unless_stalled(&faults).await;
        // `CutAfter` and `ResetAfter` count reply bytes from the moment at which the fault is set.
        let fault = {
            let fault = faults.borrow_and_update();
            if fault.has_changed() {
                passed = 0;
            }
            *fault
        };
        drops |= fault == Fault::SwallowAnswers;
        if drops {
            continue;
        }
        let reply = &mut bytes[..read];
        match fault {
            Fault::LoseAnswers => continue,
            Fault::Delay(delay) => sleep(delay).await,
            Fault::Garble { one_in } => garble(reply, one_in),
            Fault::CutAfter(most) | Fault::ResetAfter(most) if passed + read > most => {
                client.write_all(&reply[..most - passed]).await?;
                if matches!(fault, Fault::ResetAfter(_)) {
                    SockRef::from(client.as_ref()).set_linger(Some(Duration::ZERO))?;
                }
                return Ok(());
            }
            _ => {}
        }
        passed += read;
        client.write_all(reply).await?;
    }
}

/// Waits while the current fault is [`Fault::Stall`].
async fn unless_stalled(faults: &watch::Receiver<Fault>) {
    // `wait_for` marks a new fault as read, so `wait_for` is called on a clone. In `faults`, the
    // new fault stays unread: the caller must notice the change, to restart its byte count.
    let mut watched = faults.clone();
    if watched
        .wait_for(|fault| *fault != Fault::Stall)
        .await
        .is_err()
    {
        std::future::pending::<()>().await;
    }
}

fn garble(bytes: &mut [u8], one_in: usize) {
    for byte in bytes {
        if fastrand::usize(..one_in.max(1)) == 0 {
            *byte = fastrand::u8(..);
        }
    }
}
