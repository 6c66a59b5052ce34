//! Services as a supervisor runs them: sockets that are handed over, notices, readiness, shared ports.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use rustix::process::Signal;

use crate::process::{Service, example};
use crate::test_service::{Supervisor, TestService, ask as ask_on, connect_to};

/// The flag in /proc/PID/fdinfo.
const CLOSE_ON_EXEC: i32 = 0o2_000_000;

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
fn a_child_of_a_handler_inherits_no_socket_that_was_passed_on() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    for (redirection, options, count) in
        [("3<&0 4<&0", "", "2"), ("7<&0", "-l fd:7", "0"), ("", "-l tcp://[::1]:0", "0")]
    {
        let service = Service::start(handed_over(&listener, redirection, options).env("LISTEN_FDS", count));
        ask(&service.address, "/");
        let process = format!("/proc/{}", service.child.id());
        let descriptors = fs::read_dir(format!("{process}/fd")).unwrap().map(|file| file.unwrap().path());
        // One that is closed meanwhile has no link.
        let is_socket =
            |path: &PathBuf| fs::read_link(path).is_ok_and(|link| link.to_str().unwrap().starts_with("socket:"));
        let sockets = descriptors.filter(is_socket);
        let sockets: Vec<_> = sockets.map(|path| path.file_name().unwrap().to_owned()).collect();
        assert!(!sockets.is_empty());
        for number in sockets {
            let info = fs::read_to_string(format!("{process}/fdinfo/{}", number.display())).unwrap();
            let flags = info.lines().find_map(|line| line.strip_prefix("flags:\t")).unwrap();
            assert_ne!(i32::from_str_radix(flags, 8).unwrap() & CLOSE_ON_EXEC, 0, "{redirection}: {number:?}");
        }
    }
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
#[cfg(target_os = "linux")]
fn a_supervisor_may_have_a_name_without_a_file() {
    use std::os::linux::net::SocketAddrExt;
    let name = format!("micro-smol-notify-{}", std::process::id());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let supervisor = UnixDatagram::bind_addr(&address).unwrap();
    supervisor.set_read_timeout(Some(std::time::Duration::from_secs(10))).unwrap();
    let notice = || {
        let mut buffer = [0; 64];
        let length = supervisor.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut command = Command::new(example("hello"));
    let mut service = Service::start(command.args(["-p", "0"]).env("NOTIFY_SOCKET", format!("@{name}")));
    assert_eq!(notice(), "READY=1");
    service.signal(Signal::TERM);
    assert_eq!(notice(), "STOPPING=1");
    assert_eq!(service.child.wait().unwrap().code(), Some(0));
    assert_eq!(service.stderr(), "");
}

#[test]
fn a_supervisor_that_does_not_read_does_not_hold_a_stop() {
    let supervisor = Supervisor::new("full");
    let mut service = TestService::start(1, r#"exec "$0" "$@""#, &[("NOTIFY_SOCKET", supervisor.path())]);
    supervisor.expect("READY=1");
    let others = UnixDatagram::unbound().unwrap();
    others.set_nonblocking(true).unwrap();
    while others.send_to(b"WATCHDOG=1", supervisor.path()).is_ok() {}
    service.signal(Signal::TERM);
    assert!(service.ended().success());
}

#[test]
#[cfg(target_os = "linux")]
fn a_number_of_sockets_that_cannot_be_is_named() {
    for count in ["2000000000", "1025", "9000000000000000000"] {
        let script = format!("LISTEN_PID=$$ exec {}", example("hello").display());
        let output = crate::process::run(Command::new("sh").args(["-c", &script]).env("LISTEN_FDS", count));
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{stderr}");
        assert_eq!(stderr, format!("micro-smol: LISTEN_FDS: {count} is not a number of sockets\n"));
    }
}

/// A program that lists its own descriptors, as a child of a handler.
#[cfg(target_os = "linux")]
async fn list_descriptors(_req: micro_smol::Request) -> std::io::Result<Vec<u8>> {
    Ok(Command::new("ls").args(["-l", "/proc/self/fd"]).output()?.stdout)
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_of_a_handler_inherits_no_socket_that_the_service_has_opened() {
    let server = micro_smol::listen(list_descriptors).unwrap();
    let listed = ask_on(&mut connect_to(server.addr().unwrap()), "/");
    let sockets = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = format!(":{:04X}", server.addr().unwrap().port());
    let ours = sockets.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let ours: Vec<_> = ours.filter(|fields| fields[1].ends_with(&port)).collect();
    assert!(!ours.is_empty(), "{sockets}");
    for fields in ours {
        assert!(!listed.contains(&format!("socket:[{}]", fields[9])), "{fields:?} {listed}");
    }
}

#[test]
#[cfg(target_os = "linux")]
fn a_child_of_a_handler_does_not_inherit_standard_input_that_listens() {
    let service = TestService::start(1, r#"exec "$0" "$@""#, &[]);
    assert_eq!(ask_on(&mut service.connect_and_ask(), "/child"), "");
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
    assert_eq!(service.signal_until_ended(Signal::TERM), Some(0));
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
