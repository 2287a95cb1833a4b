// SPDX-License-Identifier: MIT

use crate::Socket;
use std::io::Result;
use tokio::io::{unix::AsyncFd, Interest};

/// A socket for tokio.
///
/// All methods take `&self`, so tasks share it by an `Arc`. A future that is dropped has sent or
/// received nothing.
#[derive(Debug)]
pub struct AsyncSocket(AsyncFd<Socket>);

impl AsyncSocket {
    /// Makes a socket non-blocking and gives it to the runtime of the caller.
    pub fn new(socket: Socket) -> Result<Self> {
        socket.set_nonblocking(true)?;
        // Deprecated for what might change or close its descriptor behind tokio's back; a
        // `Socket` does not. What replaces it is too new for many.
        #[allow(deprecated)]
        AsyncFd::new(socket).map(Self)
    }

    /// The socket, for all that does not wait.
    pub fn get_ref(&self) -> &Socket {
        self.0.get_ref()
    }

    /// The socket back, still non-blocking.
    pub fn into_inner(self) -> Socket {
        self.0.into_inner()
    }

    /// As [`Socket::send`].
    pub async fn send(&self, message: &[u8]) -> Result<()> {
        self.0
            .async_io(Interest::WRITABLE, |socket| socket.send(message))
            .await
    }

    /// As [`Socket::recv`].
    pub async fn recv(&self, buffer: &mut [u8]) -> Result<usize> {
        self.0
            .async_io(Interest::READABLE, |socket| socket.recv(buffer))
            .await
    }

    /// As [`Socket::recv_message`].
    pub async fn recv_message(&self) -> Result<Vec<u8>> {
        self.0
            .async_io(Interest::READABLE, Socket::recv_message)
            .await
    }
}
