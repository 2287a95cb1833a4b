// SPDX-License-Identifier: MIT

//! weather_pub HOST PORT [COUNT]: publishes reports, once there is a subscriber.

use pf_sp::{Socket, Type};
use std::env::args;
use std::error::Error;
use std::thread::sleep;
use std::time::Duration;

const FORECAST: [&str; 3] = [
    "Bratislava: 21 C, sunny",
    "Paris: 14 C, rain",
    "London: 12 C, fog",
];

fn main() -> Result<(), Box<dyn Error>> {
    let usage = "usage: weather_pub HOST PORT [COUNT]";
    let host = args().nth(1).ok_or(usage)?;
    let port: u16 = args().nth(2).ok_or(usage)?.parse()?;
    let count = args().nth(3).map_or(Ok(usize::MAX), |n| n.parse())?;

    let publisher = Socket::new(Type::Pub)?;
    publisher.bind((host.as_str(), port))?;
    while publisher.peers()? == 0 {
        sleep(Duration::from_millis(10));
    }
    for report in FORECAST.iter().cycle().take(count) {
        publisher.send(report.as_bytes())?;
        println!("published {report}");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
