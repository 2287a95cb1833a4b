// SPDX-License-Identifier: MIT

//! hello_req HOST PORT [COUNT]: sends the request Hello, prints the reply.

use pf_sp::{Socket, Type};
use std::env::args;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: hello_req HOST PORT [COUNT]";
    let host = args().nth(1).ok_or(usage)?;
    let port: u16 = args().nth(2).ok_or(usage)?.parse()?;
    let count = args().nth(3).map_or(Ok(1), |n| n.parse())?;

    let client = Socket::new(Type::Req)?;
    client.connect((host.as_str(), port))?;
    for _ in 0..count {
        client.send(b"Hello")?;
        let reply = client.recv_message()?;
        println!("sent Hello, received {}", String::from_utf8_lossy(&reply));
    }
    Ok(())
}
