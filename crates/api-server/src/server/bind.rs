//! Binds a listener to an address.

use std::{
    io,
    net::{SocketAddr, TcpListener},
};

use socket2::{Domain, Protocol, Socket, Type};

/// Maximum number of new connections that wait until the server accepts them. The kernel does not
/// complete the TCP handshakes of further connections.
const LISTEN_BACKLOG: i32 = 1_024;

/// Binds a non-blocking listener to `address`, with a backlog of [`LISTEN_BACKLOG`] connections.
/// `SO_REUSEADDR` lets a restarted process bind the same address at once. `host` and `port` are the
/// names of the settings that `address` consists of. The error names `address` and the setting to
/// change.
pub(crate) fn listen(address: SocketAddr, [host, port]: [&str; 2]) -> io::Result<TcpListener> {
    bound(address).map_err(|error| {
        let (setting, advice) = match error.kind() {
            io::ErrorKind::AddrInUse => (
                port,
                ": stop the program that uses this port, or set another port",
            ),
            io::ErrorKind::AddrNotAvailable => (
                host,
                ": set an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all of them",
            ),
            io::ErrorKind::PermissionDenied => (
                port,
                ": set a port from 1024 on, or allow the process to use lower ports \
                 (CAP_NET_BIND_SERVICE)",
            ),
            _ => (host, ""),
        };
        let message =
            format!("the service cannot listen on {address} ({setting}): {error}{advice}");
        io::Error::new(error.kind(), message)
    })
}

fn bound(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        // Without this, the kernel setting `net.ipv6.bindv6only` determines if `::` also accepts
        // IPv4 connections.
        socket.set_only_v6(false)?;
    }
    socket.bind(&address.into())?;
    socket.listen(LISTEN_BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}
