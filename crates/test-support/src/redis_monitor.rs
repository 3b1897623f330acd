//! Collects the commands that a Redis server receives.

use std::{
    net::Ipv4Addr,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    task::AbortHandle,
};

use crate::eventually;

/// Timeout for output of the Redis command `MONITOR` to arrive.
const RECEIVED_WITHIN: Duration = Duration::from_secs(5);

/// Collects the commands that a Redis server receives, as the Redis command `MONITOR` prints them.
/// Dropping this value ends the collection.
pub struct RedisMonitor {
    port: u16,
    received: Arc<Mutex<Vec<u8>>>,
    reader: AbortHandle,
}

impl RedisMonitor {
    pub(crate) async fn start(port: u16) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let mut stream = connect(port).await;
        stream
            .write_all(b"MONITOR\r\n")
            .await
            .expect("the connection to Redis is open");
        let reader = tokio::spawn({
            let received = Arc::clone(&received);
            async move {
                let mut chunk = [0; 4_096];
                while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                    received
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(&chunk[..length]);
                }
            }
        });
        let monitor = Self {
            port,
            received,
            reader: reader.abort_handle(),
        };
        eventually(RECEIVED_WITHIN, async || {
            monitor.received_text().contains("+OK")
        })
        .await;
        monitor
    }

    /// Returns the output of `MONITOR` for all commands that the server received before this call.
    pub async fn text(&self) -> String {
        // `MONITOR` prints commands in order. Once the text of this `ECHO` command arrives, the
        // output for all earlier commands has arrived as well.
        let mut stream = connect(self.port).await;
        stream
            .write_all(b"ECHO end-of-the-part\r\n")
            .await
            .expect("the connection to Redis is open");
        eventually(RECEIVED_WITHIN, async || {
            self.received_text().contains("end-of-the-part")
        })
        .await;
        self.received_text()
    }

    fn received_text(&self) -> String {
        let received = self.received.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&received).into_owned()
    }
}

impl Drop for RedisMonitor {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("Redis accepts connections")
}
