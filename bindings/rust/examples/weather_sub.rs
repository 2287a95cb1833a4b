// SPDX-License-Identifier: MIT

//! weather_sub HOST PORT TOPIC [COUNT]: prints the reports that begin with TOPIC.

use pf_sp::{Socket, Type};
use std::env::args;
use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: weather_sub HOST PORT TOPIC [COUNT]";
    let host = args().nth(1).ok_or(usage)?;
    let port: u16 = args().nth(2).ok_or(usage)?.parse()?;
    let topic = args().nth(3).ok_or(usage)?;
    let count = args().nth(4).map_or(Ok(usize::MAX), |n| n.parse())?;

    let subscriber = Socket::new(Type::Sub)?;
    // Before connecting, to miss nothing.
    subscriber.subscribe(topic)?;
    subscriber.connect((host.as_str(), port))?;
    for _ in 0..count {
        let report = subscriber.recv_message()?;
        println!("received {}", String::from_utf8_lossy(&report));
    }
    Ok(())
}
