//! A server that speaks the protocol of Redis and replies with what a test tells it to: replies that no
//! real Redis gives.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Returns the reply to a command, or `None` for the usual one.
type Reply = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

/// The server. It ends when this is dropped.
pub(crate) struct ScriptedServer {
    port: u16,
    accepting: AbortHandle,
}

impl ScriptedServer {
    pub(crate) async fn start(
        reply: impl Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let reply: Arc<Reply> = Arc::new(reply);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(serve(client, Arc::clone(&reply)));
            }
        });
        Self {
            port,
            accepting: accepting.abort_handle(),
        }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}/0", self.port)
    }
}

impl Drop for ScriptedServer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn serve(client: TcpStream, reply: Arc<Reply>) {
    let (reader, mut writer) = client.into_split();
    let mut reader = BufReader::new(reader);
    while let Some(name) = read_command(&mut reader).await {
        let said = reply(&name).unwrap_or_else(|| usual(&name).to_vec());
        if writer.write_all(&said).await.is_err() {
            return;
        }
    }
}

/// Returns the reply of an empty Redis.
fn usual(command: &[u8]) -> &'static [u8] {
    match command {
        b"PING" => b"+PONG\r\n",
        b"GET" => b"$-1\r\n",
        b"EXPIRE" | b"PEXPIRE" | b"CLIENT" => b":0\r\n",
        b"TIME" => b"*2\r\n$10\r\n1768473000\r\n$1\r\n0\r\n",
        _ => b"-ERR unknown command\r\n",
    }
}

/// Reads `*n` strings, and returns the first.
async fn read_command(reader: &mut (impl AsyncBufReadExt + Unpin)) -> Option<Vec<u8>> {
    let count = read_length(reader, b'*').await?;
    let mut name = None;
    for _ in 0..count {
        let length = read_length(reader, b'$').await?;
        let mut word = vec![0; length + 2];
        reader.read_exact(&mut word).await.ok()?;
        word.truncate(length);
        name.get_or_insert(word);
    }
    name
}

async fn read_length(reader: &mut (impl AsyncBufReadExt + Unpin), kind: u8) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.strip_prefix(char::from(kind))?.trim().parse().ok()
}
