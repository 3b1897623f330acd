//! Closes connections in stages (RFC 9112, section 9.6), so that the client can read the last
//! response.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

/// Maximum time for which a connection stays open after the server has closed its sending side of
/// the connection.
const LINGER_TIMEOUT: Duration = Duration::from_secs(5);

/// Maximum time for which the server waits for further bytes of the client, after the server has
/// closed its sending side of the connection.
pub(super) const LINGER_READ_TIMEOUT: Duration = Duration::from_secs(1);

/// Closes the server's sending side of `io`. Then reads and discards all bytes from the client,
/// until the client closes its sending side, or sends nothing for [`LINGER_READ_TIMEOUT`].
///
/// If the server closed a connection while bytes of the client are still arriving, the operating
/// system would reset the connection. The client could then lose a response that it has not read
/// yet.
pub(super) async fn linger<T: AsyncRead + AsyncWrite + Unpin>(mut io: T) {
    let closed = async {
        io.shutdown().await?;
        let mut discarded = [0; 4_096];
        while timeout(LINGER_READ_TIMEOUT, io.read(&mut discarded)).await?? > 0 {}
        io::Result::Ok(())
    };
    // The result is ignored, because the connection is dropped in any case.
    let _ = timeout(LINGER_TIMEOUT, closed).await;
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::duplex,
        time::{Instant, pause, sleep},
    };

    use super::*;

    #[tokio::test]
    async fn connection_ends_as_soon_as_the_client_closes_its_side() {
        pause();
        let (mut client, io) = duplex(64);
        let started = Instant::now();
        let reading = async {
            client.write_all(b"late").await.unwrap();
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
            drop(client);
        };
        tokio::join!(linger(io), reading);
        assert!(started.elapsed() < LINGER_READ_TIMEOUT);
    }

    #[tokio::test]
    async fn connection_of_a_silent_client_ends_after_the_read_timeout() {
        pause();
        let (_client, io) = duplex(64);
        let started = Instant::now();
        linger(io).await;
        assert_eq!(started.elapsed().as_secs(), LINGER_READ_TIMEOUT.as_secs());
    }

    #[tokio::test]
    async fn connection_of_a_client_that_never_stops_sending_ends_after_the_linger_timeout() {
        pause();
        let (mut client, io) = duplex(64);
        let started = Instant::now();
        let sending = async {
            while client.write_all(b"x").await.is_ok() {
                sleep(LINGER_READ_TIMEOUT / 2).await;
            }
        };
        tokio::join!(linger(io), sending);
        assert_eq!(started.elapsed().as_secs(), LINGER_TIMEOUT.as_secs());
    }
}
