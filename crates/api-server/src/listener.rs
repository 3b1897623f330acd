//! The listening socket: opened for a quick restart, and closed without losing a connection.

use std::{
    io,
    net::{Shutdown, SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

/// Connections that wait to be accepted; more are not completed.
const BACKLOG: i32 = 1_024;

/// A listener that restarts at once after a stop, with room for a burst of connections.
pub(crate) fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// From now on no handshake begins, and those under way are completed: what is in the queue after a
/// moment is all that will ever be. Who knocks hears nothing, and asks again a second later, when the
/// listener is closed: nothing was sent by then, so that any proxy tries another instance.
///
/// Elsewhere than on Linux it does nothing: what comes until the listener is closed is lost there.
pub(crate) fn let_nobody_in(listener: &TcpListener) {
    #[cfg(target_os = "linux")]
    {
        use socket2::SockFilter;

        /// In words of the classic Berkeley packet filter, on the TCP header: without SYN among the
        /// flags, which stand at byte 13, a segment passes whole; with it, nothing passes.
        const NO_SYN: [SockFilter; 4] = [
            SockFilter::new(0x30, 0, 0, 13),
            SockFilter::new(0x45, 0, 1, 0x02),
            SockFilter::new(0x06, 0, 0, 0),
            SockFilter::new(0x06, 0, 0, u32::MAX),
        ];
        // A kernel without filters takes connections for a little longer.
        let _ = SockRef::from(listener).attach_filter(&NO_SYN);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = listener;
}

/// Who comes now is told at once; a listener that is only paused would complete handshakes.
pub(crate) fn close(listener: &TcpListener) {
    let _ = SockRef::from(listener).shutdown(Shutdown::Both);
}
