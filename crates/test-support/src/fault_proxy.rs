//! A TCP connection with faults.

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

/// What happens to bytes on their way.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Fault {
    /// They pass.
    None,
    /// Each piece of an answer comes so much later.
    Delay(Duration),
    /// Nothing is taken from either side any more, and nothing given: full buffers, no end.
    Stall,
    /// What the client sends is swallowed; its end of the connection sees nothing wrong. Since TCP
    /// delivers everything or no more at all, a connection that lost bytes stays like that.
    SwallowRequests,
    /// The same with what the server sends.
    SwallowAnswers,
    /// What the server sends is lost, and on the same connection later answers arrive: they fit
    /// the questions of others. No sound network does that.
    LoseAnswers,
    /// The connection ends after so many more bytes of answers, in the middle of whatever they
    /// are.
    CutAfter(usize),
    /// The connection is reset (RST) after so many more bytes of answers.
    ResetAfter(usize),
    /// One byte in so many of the answers is another one.
    Garble {
        /// On average.
        one_in: usize,
    },
}

/// Passes TCP connections on to another address, with the fault of the moment, until it is cut or
/// dropped.
pub struct FaultProxy {
    address: SocketAddr,
    fault: watch::Sender<Fault>,
    connect_delay: watch::Sender<Duration>,
    accepting: AbortHandle,
}

impl FaultProxy {
    /// Listens on a free port of the loopback interface for connections to `target`
    /// (`host:port`).
    pub async fn to(target: impl Into<String>) -> Self {
        let target = target.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let fault = watch::Sender::new(Fault::None);
        let connect_delay = watch::Sender::new(Duration::ZERO);
        let (faults, delays) = (fault.subscribe(), connect_delay.subscribe());
        let accepting = tokio::spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                let (target, faults, delay) = (target.clone(), faults.clone(), *delays.borrow());
                connections.spawn(async move {
                    sleep(delay).await;
                    if let Ok(server) = TcpStream::connect(target).await {
                        let _ = pass_on(client, server, faults).await;
                    }
                });
            }
        });
        Self {
            address,
            fault,
            connect_delay,
            accepting: accepting.abort_handle(),
        }
    }

    /// Lets each later connection wait for so long before its first byte is passed on.
    #[must_use]
    pub fn with_connect_delay(self, delay: Duration) -> Self {
        self.connect_delay.send_replace(delay);
        self
    }

    /// From now on this happens, on connections that are open too.
    pub fn set(&self, fault: Fault) {
        self.fault.send_replace(fault);
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Ends every connection and takes no new one.
    pub fn cut(&self) {
        self.accepting.abort();
    }
}

impl Drop for FaultProxy {
    fn drop(&mut self) {
        self.cut();
    }
}

/// Ends when either side does, or the fault ends the connection.
async fn pass_on(
    client: TcpStream,
    server: TcpStream,
    faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    // Without faults it is to be as good as no proxy.
    client.set_nodelay(true)?;
    server.set_nodelay(true)?;
    let (from_client, to_client) = client.into_split();
    let (from_server, to_server) = server.into_split();
    tokio::select! {
        ended = requests(from_client, to_server, faults.clone()) => ended,
        ended = answers(from_server, to_client, faults) => ended,
    }
}

async fn requests(
    mut client: OwnedReadHalf,
    mut server: OwnedWriteHalf,
    faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    let mut swallows = false;
    loop {
        unless_stalled(&faults).await;
        let read = client.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        unless_stalled(&faults).await;
        swallows |= *faults.borrow() == Fault::SwallowRequests;
        if !swallows {
            server.write_all(&bytes[..read]).await?;
        }
    }
}

async fn answers(
    mut server: OwnedReadHalf,
    mut client: OwnedWriteHalf,
    mut faults: watch::Receiver<Fault>,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1_024];
    let (mut passed, mut swallows) = (0, false);
    loop {
        unless_stalled(&faults).await;
        let read = server.read(&mut bytes).await?;
        if read == 0 {
            return Ok(());
        }
        unless_stalled(&faults).await;
        // A fault that counts bytes counts from its beginning.
        let fault = {
            let fault = faults.borrow_and_update();
            if fault.has_changed() {
                passed = 0;
            }
            *fault
        };
        swallows |= fault == Fault::SwallowAnswers;
        if swallows {
            continue;
        }
        let answer = &mut bytes[..read];
        match fault {
            Fault::LoseAnswers => continue,
            Fault::Delay(delay) => sleep(delay).await,
            Fault::Garble { one_in } => garble(answer, one_in),
            Fault::CutAfter(most) | Fault::ResetAfter(most) if passed + read > most => {
                client.write_all(&answer[..most - passed]).await?;
                if matches!(fault, Fault::ResetAfter(_)) {
                    SockRef::from(client.as_ref()).set_linger(Some(Duration::ZERO))?;
                }
                return Ok(());
            }
            _ => {}
        }
        passed += read;
        client.write_all(answer).await?;
    }
}

/// Waits for as long as nothing may move. It takes no note of changes: counting begins with them.
async fn unless_stalled(faults: &watch::Receiver<Fault>) {
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
