// SPDX-License-Identifier: MIT

//! hello_async HOST PORT: a server and three clients of it, in one thread.

use pf_sp::{AsyncSocket, Socket, Type};
use std::env::args;
use std::error::Error;
use std::io;

async fn serve(server: AsyncSocket) -> io::Result<()> {
    loop {
        let request = server.recv_message().await?;
        server
            .send(&[b"World to ", request.as_slice()].concat())
            .await?;
    }
}

async fn ask(host: String, port: u16, name: &str) -> io::Result<()> {
    let client = AsyncSocket::new(Socket::new(Type::Req)?)?;
    client.get_ref().connect((host.as_str(), port))?;
    client.send(name.as_bytes()).await?;
    println!("{}", String::from_utf8_lossy(&client.recv_message().await?));
    Ok(())
}

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: hello_async HOST PORT";
    let host = args().nth(1).ok_or(usage)?;
    let port: u16 = args().nth(2).ok_or(usage)?.parse()?;

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()?;
    runtime.block_on(async {
        let server = AsyncSocket::new(Socket::new(Type::Rep)?)?;
        server.get_ref().bind((host.as_str(), port))?;
        tokio::spawn(serve(server));
        let clients = ["Ada", "Bob", "Eve"].map(|name| tokio::spawn(ask(host.clone(), port, name)));
        for client in clients {
            client.await??;
        }
        Ok(())
    })
}
