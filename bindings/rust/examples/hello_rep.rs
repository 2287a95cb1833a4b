// SPDX-License-Identifier: MIT

//! hello_rep HOST PORT [COUNT]: replies World to each request.

use pf_sp::{Socket, Type};
use std::env::args;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: hello_rep HOST PORT [COUNT]";
    let host = args().nth(1).ok_or(usage)?;
    let port: u16 = args().nth(2).ok_or(usage)?.parse()?;
    let count = args().nth(3).map_or(Ok(usize::MAX), |n| n.parse())?;

    let server = Socket::new(Type::Rep)?;
    server.bind((host.as_str(), port))?;
    for _ in 0..count {
        let request = server.recv_message()?;
        server.send(b"World")?;
        println!(
            "received {}, replied World",
            String::from_utf8_lossy(&request)
        );
    }
    Ok(())
}
