//! A test server that speaks the Redis protocol and sends scripted replies, including replies that
//! a real Redis never sends.

use std::sync::Arc;

use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader},
    net::{TcpListener, TcpStream},
    task::AbortHandle,
};

/// Function that takes the name of a command and returns the reply to that command. If the function
/// returns `None`, the server sends the default reply.
type Reply = dyn Fn(&[u8]) -> Option<Vec<u8>> + Send + Sync;

/// A test server that sends scripted replies. When this value is dropped, the server accepts no
/// further connections.
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
        let bytes = reply(&name).unwrap_or_else(|| default_reply(&name).to_vec());
        if writer.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// Returns the reply that a Redis without sessions sends to `command`.
fn default_reply(command: &[u8]) -> &'static [u8] {
    match command {
        b"PING" => b"+PONG\r\n",
        b"GET" => b"$-1\r\n",
        b"EXPIRE" | b"PEXPIRE" | b"CLIENT" => b":0\r\n",
        b"TIME" => b"*2\r\n$10\r\n1768473000\r\n$1\r\n0\r\n",
        _ => b"-ERR unknown command\r\n",
    }
}

/// Reads a command, which is an array of strings, and returns the name of the command. Returns
/// `None` if the connection ends or the bytes are not a command.
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

/// Reads a line that begins with the type byte `kind` and returns the number in the line. Returns
/// `None` for any other line.
async fn read_length(reader: &mut (impl AsyncBufReadExt + Unpin), kind: u8) -> Option<usize> {
    let mut line = String::new();
    reader.read_line(&mut line).await.ok()?;
    line.strip_prefix(char::from(kind))?.trim().parse().ok()
}
