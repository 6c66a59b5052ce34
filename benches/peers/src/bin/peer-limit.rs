//! The least that a server can do: a bare epoll loop, one recv and one send a request, nothing parsed.

use std::collections::HashMap;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use rustix::buffer::spare_capacity;
use rustix::event::epoll;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, recv, send};

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ndate: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 12\r\n\r\nHello, world";

fn main() {
    let listener = TcpListener::bind(std::env::args().nth(1).unwrap()).unwrap();
    rustix::net::sockopt::set_tcp_nodelay(&listener, true).unwrap();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&poll, &listener, epoll::EventData::new_u64(u64::MAX), epoll::EventFlags::IN).unwrap();
    let mut sockets: HashMap<u64, OwnedFd> = HashMap::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 65536];
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None).unwrap();
        for event in &events {
            let key = event.data.u64();
            if key == u64::MAX {
                let (socket, _) = acceptfrom_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).unwrap();
                let key = socket.as_raw_fd() as u64;
                let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                epoll::add(&poll, &socket, epoll::EventData::new_u64(key), flags).unwrap();
                sockets.insert(key, socket);
                continue;
            }
            let Some(socket) = sockets.get(&key) else { continue };
            match recv(socket, &mut buffer, RecvFlags::empty()) {
                Ok((count, _)) if count > 0 => {
                    let requests = buffer[..count].windows(4).filter(|bytes| bytes == b"\r\n\r\n").count();
                    let sent = if requests == 1 { send(socket, ANSWER, SendFlags::NOSIGNAL) } else { send(socket, &ANSWER.repeat(requests), SendFlags::NOSIGNAL) };
                    if sent.is_err() {
                        sockets.remove(&key);
                    }
                }
                Err(error) if error == rustix::io::Errno::AGAIN => {}
                _ => {
                    sockets.remove(&key);
                }
            }
        }
    }
}
