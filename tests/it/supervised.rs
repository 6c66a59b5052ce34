//! Services as a supervisor runs them: sockets that are handed over, notices, readiness, shared ports.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{Service, example};

fn ask(address: &str, path: &str) -> String {
    let mut client = TcpStream::connect(address).unwrap();
    write!(client, "GET {path} HTTP/1.0\r\n\r\n").unwrap();
    let mut answer = String::new();
    client.read_to_string(&mut answer).unwrap();
    let (head, content) = answer.split_once("\r\n\r\n").unwrap();
    format!("{} {content}", head.split(' ').nth(1).unwrap())
}

/// A shell that becomes the service, with a listening socket as descriptor 3 or wherever `redirection` puts it.
fn handed_over(listener: &TcpListener, redirection: &str, options: &str) -> Command {
    let service = example("hello");
    let mut command = Command::new("sh");
    let script = format!("LISTEN_PID=$$ exec {} {options} {redirection} </dev/null", service.display());
    command.args(["-c", &script]).stdin(OwnedFd::from(listener.try_clone().unwrap()));
    command
}

#[test]
#[cfg(target_os = "linux")]
fn sockets_that_are_handed_over_are_used() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let mut command = handed_over(&listener, "3<&0 4<&0", "");
    let service = Service::start(command.env("LISTEN_FDS", "2").env("PORT", "1"));
    assert_eq!(service.address, address);
    assert_eq!(ask(&address, "/"), "200 Hello, world");
}

#[test]
#[cfg(target_os = "linux")]
fn an_option_is_stronger_than_a_socket_that_is_handed_over() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for options in ["-p 0", "-l tcp://127.0.0.1:0"] {
        let service = Service::start(handed_over(&listener, "3<&0", options).env("LISTEN_FDS", "1"));
        assert_ne!(service.address, listener.local_addr().unwrap().to_string());
    }
}

#[test]
fn sockets_that_are_handed_to_another_process_are_not_ours() {
    let mut command = Command::new(example("hello"));
    let service = Service::start(command.env("LISTEN_FDS", "1").env("LISTEN_PID", "1").env("PORT", "0"));
    assert!(ask(&service.address, "/").starts_with("200 "));
}

#[test]
#[cfg(target_os = "linux")]
fn any_descriptor_can_be_named() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let service = Service::start(&mut handed_over(&listener, "7<&0", "-l fd:7"));
    assert_eq!(service.address, listener.local_addr().unwrap().to_string());
    assert_eq!(ask(&service.address, "/"), "200 Hello, world");
}

#[test]
#[cfg(target_os = "linux")]
fn a_descriptor_that_is_no_listening_socket_is_named() {
    for (number, message) in [("0", "it is not a listening socket"), ("99", "Bad file descriptor")] {
        let output = crate::process::run(Command::new(example("hello")).args(["-l", &format!("fd:{number}")]));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr.starts_with(&format!("micro-smol: cannot listen on fd:{number}: {message}")), "{stderr}");
    }
}

#[test]
fn a_supervisor_is_told_when_it_is_ready_and_when_it_stops() {
    let path = std::env::temp_dir().join(format!("micro-smol-notify-{}", std::process::id()));
    let supervisor = UnixDatagram::bind(&path).unwrap();
    let notice = move || {
        let mut buffer = [0; 64];
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut service = Service::start(Command::new(example("hello")).args(["-p", "0"]).env("NOTIFY_SOCKET", &path));
    assert_eq!(notice(), "READY=1");
    service.signal(Signal::TERM);
    assert_eq!(notice(), "STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
    std::fs::remove_file(path).unwrap();
}

#[test]
fn it_serves_on_for_a_while_after_it_has_said_that_it_stops() {
    let args = ["-p", "0", "--drain-delay", "60", "--ready-path", "/ready"];
    let mut service = Service::start(Command::new(example("hello")).args(args));
    let address = service.address.clone();
    let healthcheck = || {
        let uri = format!("http://{address}/ready");
        crate::process::run(Command::new(example("hello")).args(["healthcheck", &uri])).status.code()
    };
    assert_eq!((ask(&address, "/ready").as_str(), healthcheck()), ("200 Ready", Some(0)));
    service.signal(Signal::TERM);
    while ask(&address, "/ready") == "200 Ready" {
        std::thread::yield_now();
    }
    assert_eq!((ask(&address, "/ready").as_str(), healthcheck()), ("503 Stopping", Some(1)));
    assert_eq!(ask(&address, "/"), "200 Hello, world");
    service.signal(Signal::TERM);
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn after_the_delay_it_stops() {
    let mut service = Service::start(Command::new(example("hello")).args(["-p", "0", "--drain-delay", "0.01"]));
    service.signal(Signal::TERM);
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
}

#[test]
fn two_processes_share_a_port_if_both_agree() {
    let first = Service::start(Command::new(example("hello")).args(["-p", "0", "--reuse-port"]));
    let port = first.address.rsplit_once(':').unwrap().1;
    let alone = crate::process::run(Command::new(example("hello")).args(["-p", port]));
    assert_eq!(alone.status.code(), Some(1));
    let mut second = Service::start(Command::new(example("hello")).args(["-p", port, "--reuse-port"]));
    drop(first);
    assert_eq!(ask(&second.address, "/"), "200 Hello, world");
    second.signal(Signal::TERM);
    assert_eq!(second.child.wait().unwrap().code(), Some(0));
}
