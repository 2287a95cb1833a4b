// SPDX-License-Identifier: MIT

//! Sockets in tokio, where the module is loaded.

use pf_sp::{AsyncSocket, Socket, Type};
use std::collections::BTreeSet;
use std::io::{ErrorKind, Result};
use std::net::Shutdown;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{sleep, timeout};

fn run<F: std::future::Future<Output = Result<()>>>(test: F) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime
        .block_on(async { timeout(Duration::from_secs(60), test).await })
        .unwrap()
        .unwrap();
}

fn pair() -> Result<(AsyncSocket, AsyncSocket)> {
    let (push, pull) = (Socket::new(Type::Push)?, Socket::new(Type::Pull)?);
    pull.bind("127.0.0.1:0")?;
    push.connect(pull.local_addr()?)?;
    Ok((AsyncSocket::new(push)?, AsyncSocket::new(pull)?))
}

#[test]
fn tasks_share_a_socket_until_it_ends() {
    run(async {
        let (push, pull) = pair()?;
        let pull = Arc::new(pull);
        let tasks: Vec<_> = (0..3)
            .map(|_| {
                let pull = Arc::clone(&pull);
                tokio::spawn(async move {
                    let mut seen = Vec::new();
                    loop {
                        match pull.recv_message().await {
                            Ok(message) => seen.push(message),
                            Err(error) => {
                                assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
                                return seen;
                            }
                        }
                    }
                })
            })
            .collect();
        for i in 0..100 {
            push.send(&vec![i; i.into()]).await?;
        }
        while pull.get_ref().info()?.sp_rx_msgs < 100 {
            sleep(Duration::from_millis(10)).await;
        }
        pull.get_ref().shutdown(Shutdown::Read)?;
        let mut seen = BTreeSet::new();
        for task in tasks {
            seen.extend(task.await?);
        }
        assert_eq!(seen, (0..100).map(|i| vec![i; i.into()]).collect());
        Ok(())
    });
}

#[test]
fn dropped_recv_takes_nothing() {
    run(async {
        let (push, pull) = pair()?;
        assert!(timeout(Duration::from_millis(50), pull.recv_message())
            .await
            .is_err());
        push.send(b"job").await?;
        assert_eq!(pull.recv_message().await?, b"job");
        Ok(())
    });
}
