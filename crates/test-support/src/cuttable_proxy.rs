//! A TCP connection that can be cut.

use std::{
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, TcpStream},
    task::{AbortHandle, JoinSet},
    time::sleep,
};

/// Passes TCP connections on to another address until it is cut or dropped.
pub struct CuttableProxy {
    address: SocketAddr,
    connect_delay: Arc<Mutex<Duration>>,
    accepting: AbortHandle,
}

impl CuttableProxy {
    /// Listens on a free port of the loopback interface for connections to `target`
    /// (`host:port`).
    pub async fn to(target: impl Into<String>) -> Self {
        let target = target.into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener
            .local_addr()
            .expect("a bound listener has an address");
        let connect_delay = Arc::new(Mutex::new(Duration::ZERO));
        let delay = Arc::clone(&connect_delay);
        let accepting = tokio::spawn(async move {
            // Dropped with this task, and the connections with it.
            let mut connections = JoinSet::new();
            while let Ok((mut client, _)) = listener.accept().await {
                let target = target.clone();
                let delay = *delay.lock().unwrap_or_else(PoisonError::into_inner);
                connections.spawn(async move {
                    sleep(delay).await;
                    if let Ok(mut server) = TcpStream::connect(target).await {
                        let _ = copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self {
            address,
            connect_delay,
            accepting: accepting.abort_handle(),
        }
    }

    /// Lets each later connection wait for so long before its first byte is passed on.
    #[must_use]
    pub fn with_connect_delay(self, delay: Duration) -> Self {
        *self
            .connect_delay
            .lock()
            .unwrap_or_else(PoisonError::into_inner) = delay;
        self
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

impl Drop for CuttableProxy {
    fn drop(&mut self) {
        self.cut();
    }
}
