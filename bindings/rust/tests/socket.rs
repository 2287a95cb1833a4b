// SPDX-License-Identifier: MIT

//! Sockets, where the module is loaded.

use pf_sp::{Opt, Socket, Type};
use std::io::ErrorKind;
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::thread::sleep;
use std::time::Duration;

/// Two sockets that are connected, and time out.
fn pair(binds: Type, connects: Type, host: &str) -> (Socket, Socket) {
    let (first, second) = (Socket::new(binds).unwrap(), Socket::new(connects).unwrap());
    for socket in [&first, &second] {
        socket
            .set_read_timeout(Some(Duration::from_secs(20)))
            .unwrap();
        socket
            .set_write_timeout(Some(Duration::from_secs(20)))
            .unwrap();
    }
    if connects == Type::Sub {
        second.subscribe("news").unwrap();
    }
    first.bind((host, 0)).unwrap();
    second.connect(first.local_addr().unwrap()).unwrap();
    while first.peers().unwrap() == 0 || second.peers().unwrap() == 0 {
        sleep(Duration::from_millis(10));
    }
    (first, second)
}

#[test]
fn request_and_reply() {
    for host in ["127.0.0.1", "::1"] {
        let (rep, req) = pair(Type::Rep, Type::Req, host);
        req.send(b"Hello").unwrap();
        assert_eq!(rep.recv_message().unwrap(), b"Hello");
        rep.send(b"World").unwrap();
        let mut buffer = [0; 5];
        assert_eq!(req.recv(&mut buffer).unwrap(), 5);
        assert_eq!(&buffer, b"World");
    }
}

#[test]
fn topics() {
    let (publisher, sub) = pair(Type::Pub, Type::Sub, "127.0.0.1");
    for message in ["gossip", "news: 1", "news: 2"] {
        publisher.send(message.as_bytes()).unwrap();
    }
    assert_eq!(sub.recv_message().unwrap(), b"news: 1");
    assert_eq!(sub.recv_message().unwrap(), b"news: 2");
    sub.subscribe("").unwrap();
    sub.unsubscribe("news").unwrap();
    let error = sub.unsubscribe("news").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EINVAL));
}

#[test]
fn long_empty_and_last_message() {
    let (push, pull) = pair(Type::Push, Type::Pull, "127.0.0.1");
    let long = vec![7; 1 << 20];
    for message in [&long[..], b"", b"too long", b"last"] {
        push.send(message).unwrap();
    }
    assert_eq!(pull.recv_message().unwrap(), long);
    assert_eq!(pull.recv_message().unwrap(), b"");
    let error = pull.recv(&mut [0; 3]).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    // It is there.
    socket2::SockRef::from(&pull).peek(&mut []).unwrap();
    pull.shutdown(Shutdown::Read).unwrap();
    assert_eq!(pull.recv_message().unwrap(), b"last");
    let end = pull.recv_message().unwrap_err();
    assert_eq!(end.kind(), ErrorKind::UnexpectedEof);
    push.shutdown(Shutdown::Write).unwrap();
    assert_eq!(
        push.send(b"more").unwrap_err().kind(),
        ErrorKind::BrokenPipe
    );
}

#[test]
fn options_and_info() {
    let (rep, req) = pair(Type::Rep, Type::Req, "127.0.0.1");
    assert_eq!(req.option(Opt::ReqResendIvl).unwrap(), 60000);
    req.set_option(Opt::SndMaxSize, 5).unwrap();
    assert_eq!(req.option(Opt::SndMaxSize).unwrap(), 5);
    let error = req.send(b"Hello!").unwrap_err();
    assert_eq!(error.raw_os_error(), Some(libc::EMSGSIZE));
    req.send(b"Hello").unwrap();
    rep.recv_message().unwrap();
    let info = rep.info().unwrap();
    assert_eq!((info.sp_type, info.sp_listeners), (Type::Rep as u32, 1));
    assert_eq!((info.sp_rx_msgs, info.sp_rx_bytes), (1, 5));
}

#[test]
fn remove() {
    for host in ["127.0.0.1", "::1"] {
        let (rep, req) = pair(Type::Rep, Type::Req, host);
        req.remove(rep.local_addr().unwrap()).unwrap();
        rep.remove(rep.local_addr().unwrap()).unwrap();
        assert_eq!(req.info().unwrap().sp_dialers, 0);
        assert_eq!(rep.info().unwrap().sp_listeners, 0);
    }
}

#[test]
fn descriptor_is_the_socket() {
    let (push, pull) = pair(Type::Push, Type::Pull, "127.0.0.1");
    let copy = push.try_clone().unwrap();
    drop(push);
    let socket = Socket::from(OwnedFd::from(copy));
    socket.send(b"still there").unwrap();
    assert_eq!(pull.recv_message().unwrap(), b"still there");
}

#[test]
fn timeout() {
    let (_push, pull) = pair(Type::Push, Type::Pull, "127.0.0.1");
    pull.set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert_eq!(
        pull.recv_message().unwrap_err().kind(),
        ErrorKind::WouldBlock
    );
}
