//! What a listener at a Redis server hears.

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

const HEARD_WITHIN: Duration = Duration::from_secs(5);

/// Collects what `MONITOR` prints, until it is dropped.
pub struct RedisMonitor {
    port: u16,
    heard: Arc<Mutex<Vec<u8>>>,
    listening: AbortHandle,
}

impl RedisMonitor {
    pub(crate) async fn start(port: u16) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let mut stream = connect(port).await;
        stream
            .write_all(b"MONITOR\r\n")
            .await
            .expect("Redis listens");
        let listening = tokio::spawn({
            let heard = Arc::clone(&heard);
            async move {
                let mut chunk = [0; 4_096];
                while let Ok(length @ 1..) = stream.read(&mut chunk).await {
                    heard
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .extend_from_slice(&chunk[..length]);
                }
            }
        });
        let monitor = Self {
            port,
            heard,
            listening: listening.abort_handle(),
        };
        eventually(HEARD_WITHIN, async || monitor.so_far().contains("+OK")).await;
        monitor
    }

    /// Everything up to this call.
    pub async fn text(&self) -> String {
        // What was sent before the mark is heard before it.
        let mut stream = connect(self.port).await;
        stream
            .write_all(b"ECHO end-of-the-part\r\n")
            .await
            .expect("Redis listens");
        eventually(HEARD_WITHIN, async || {
            self.so_far().contains("end-of-the-part")
        })
        .await;
        self.so_far()
    }

    fn so_far(&self) -> String {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(&heard).into_owned()
    }
}

impl Drop for RedisMonitor {
    fn drop(&mut self) {
        self.listening.abort();
    }
}

async fn connect(port: u16) -> TcpStream {
    TcpStream::connect((Ipv4Addr::LOCALHOST, port))
        .await
        .expect("Redis runs")
}
