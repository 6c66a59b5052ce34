//! The pages in errors/, and the messages that lead to them.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::process::Command;

use crate::cli::{CHECKOUT, HANDLER, PROGRAM, failure, files, micro_smol};
use crate::vendor::success;

/// The page that the last line of a failure names, or the line of ours that rustc shows.
fn page(said: &str) -> String {
    let (_, named) = said.rsplit_once("micro-smol explain ").unwrap_or_else(|| panic!("no page is named: {said}"));
    named.split([':', '\n']).next().unwrap().to_owned()
}

/// Does something wrong with the files of a test, and expects to be told where to read more.
fn leads_to(expected: &str, test_files: &[(&str, &str)], args: &[&str], setup: impl Fn(&mut Command)) -> String {
    let directory = files(&format!("explain_{expected}"), test_files);
    let mut command = micro_smol(&directory, &[&["--debug", "--offline"], args].concat());
    setup(&mut command);
    let code = if matches!(expected, "port-invalid" | "endpoint-invalid") { 2 } else { 1 };
    assert_eq!(page(&failure(&mut command, code)), expected);
    expected.to_owned()
}

/// A command that may not listen on a port below 1024, if this system can make one.
fn without_privileges() -> Option<Command> {
    let mut command = Command::new("unshare");
    command.args(["--user", "--net", "sh", "-c", "test $(cat /proc/sys/net/ipv4/ip_unprivileged_port_start) = 1024"]);
    let can = command.status().is_ok_and(|status| status.success());
    can.then(|| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--net"]);
        command
    })
}

#[test]
fn each_page_is_reached_by_a_message_of_its_own() {
    let index: &[(&str, &str)] = &[("index.rs", HANDLER)];
    let frontmatter = |line: &str| format!("---\n[dependencies]\n{line}\n---\n{HANDLER}");
    let (broken, unknown) = (frontmatter("a = 1\""), frontmatter("no-such-crate-for-micro-smol = \"1\""));
    let tcp = TcpListener::bind("127.0.0.1:0").unwrap();
    let tcp_in_use = format!("tcp://{}", tcp.local_addr().unwrap());
    let as_usual = |_: &mut Command| {};
    let no_cargo = |command: &mut Command| {
        command.env_remove("CARGO").env("PATH", "");
    };
    let no_cache = |command: &mut Command| {
        command.env("XDG_CACHE_HOME", "/dev/null");
    };
    let mut reached: BTreeSet<String> = [
        leads_to("entry-missing", &[], &[], as_usual),
        leads_to("entry-not-existent", &[], &["index.rs"], as_usual),
        leads_to("entry-not-rust", &[("page.html", "")], &["page.html"], as_usual),
        leads_to("no-handler", &[("index.rs", "async fn handler() {}\n")], &[], as_usual),
        leads_to("handler-type", &[("index.rs", "pub async fn handler() {}\n")], &[], as_usual),
        leads_to("frontmatter-invalid", &[("index.rs", "---\n")], &[], as_usual),
        leads_to("manifest-invalid", &[("index.rs", &broken)], &[], as_usual),
        leads_to("manifest-invalid", &[("Cargo.toml", "a")], &[], as_usual),
        leads_to("dependency-undeclared", &[("index.rs", &HANDLER.replace("\"served\"", "rand::r()"))], &[], as_usual),
        leads_to("dependency-unreachable", &[("index.rs", &unknown)], &[], as_usual),
        leads_to("port-invalid", index, &["-p", "http"], as_usual),
        leads_to("endpoint-invalid", index, &["-l", "3000"], as_usual),
        leads_to("address-in-use", index, &["-l", &tcp_in_use], as_usual),
        leads_to("cargo-not-found", index, &[], no_cargo),
        leads_to("cache-not-writable", index, &[], no_cache),
    ]
    .into();
    reached.extend([reached_by_a_socket(), reached_without_privileges()]);
    let pages = fs::read_dir(Path::new(CHECKOUT).join("errors")).unwrap();
    let pages = pages.map(|page| page.unwrap().file_name().into_string().unwrap().replace(".md", ""));
    assert_eq!(reached, pages.collect());
}

/// A live socket and a file in its place are in the way; a stale one is not.
fn reached_by_a_socket() -> String {
    let directory = files("explain_socket-in-use", &[("index.rs", HANDLER), ("file", "")]);
    let live = UnixListener::bind(directory.join("live")).unwrap();
    for name in ["live", "file"] {
        let endpoint = format!("unix:{}", directory.join(name).display());
        let said = failure(&mut micro_smol(&directory, &["--debug", "--offline", "-l", &endpoint]), 1);
        assert!(
            said.starts_with(&format!("micro-smol: cannot listen on {endpoint}: a server answers there, ")),
            "{said}"
        );
        assert_eq!(page(&said), "socket-in-use");
    }
    drop(live);
    "socket-in-use".to_owned()
}

fn reached_without_privileges() -> String {
    let Some(mut command) = without_privileges() else {
        eprintln!("skipped: this system gives no process fewer privileges");
        return "port-privileged".to_owned();
    };
    // A program of its own, because a user that owns nothing cannot compile.
    let directory = files("explain_port-privileged", &[]);
    let service = directory.join("service");
    fs::copy(crate::process::example("hello"), &service).unwrap();
    let said = failure(command.arg(service).args(["-p", "80"]), 1);
    assert!(
        said.starts_with("micro-smol: cannot listen on tcp://0.0.0.0:80: ports below 1024 need privileges; "),
        "{said}"
    );
    page(&said)
}

#[test]
fn explain_prints_the_page() {
    for entry in fs::read_dir(Path::new(CHECKOUT).join("errors")).unwrap() {
        let path = entry.unwrap().path();
        let (name, text) = (path.file_stem().unwrap().to_str().unwrap(), fs::read_to_string(&path).unwrap());
        assert_eq!(success(&mut micro_smol(Path::new("/"), &["explain", name])), text);
        let titles: Vec<_> = text.lines().filter(|line| line.starts_with("## ")).collect();
        assert_eq!(titles, ["## What happened", "## Why", "## How to fix it"], "{name}");
        assert!(text.starts_with("# ") && text.lines().all(|line| line.len() <= 80), "{name}");
    }
}

#[test]
fn a_page_that_is_not_there_is_told_apart() {
    let said = failure(&mut micro_smol(Path::new("/"), &["explain", "tea"]), 2);
    assert!(said.starts_with("micro-smol: there is no tea; there are address-in-use, "), "{said}");
    let pages = fs::read_dir(Path::new(CHECKOUT).join("errors")).unwrap().count();
    assert_eq!(success(&mut micro_smol(Path::new("/"), &["explain"])).lines().count(), pages);
}

#[test]
fn who_has_read_enough_is_no_failure() {
    let script = format!("{PROGRAM} explain no-handler | true; echo ${{PIPESTATUS[0]}}");
    assert_eq!(success(Command::new("bash").args(["-c", &script])), "0\n");
}
