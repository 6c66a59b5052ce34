//! The log on stderr, and how much it says.

use std::env;
use std::fmt::Display;
use std::io::{self, IsTerminal, Write};
use std::net::{IpAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, SyncSender};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// What `MICRO_ENV` says, read once.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    Production,
    Development,
    Test,
}

pub(super) static MODE: LazyLock<Mode> = LazyLock::new(|| match env::var("MICRO_ENV").as_deref() {
    Ok("development") => Mode::Development,
    Ok("test") => Mode::Test,
    _ => Mode::Production,
});

/// How many lines wait to be written; more are dropped and counted.
const LOG_LINES_MAX: usize = 1024;

/// Where text goes. `println!` and `eprintln!` would panic where the pipe is closed.
type Print = fn(&[u8]) -> io::Result<()>;

/// Lines to be written. A thread of its own writes them: a full pipe must not keep a worker or a signal waiting. `None` if it could
/// not be started; lines are then written directly, because no worker could be started, either.
static LOG: LazyLock<Option<SyncSender<(Print, String)>>> = LazyLock::new(|| {
    let (lines, waiting) = mpsc::sync_channel(LOG_LINES_MAX);
    let write = move || waiting.into_iter().for_each(|(print, line)| print_now(print, line));
    let thread = thread::Builder::new().name("micro-smol-log".to_owned()).spawn(write);
    thread.is_ok().then_some(lines)
});

static UNWRITTEN: AtomicUsize = AtomicUsize::new(0);
static DROPPED: AtomicUsize = AtomicUsize::new(0);

fn print_now(print: Print, line: String) {
    // Err where nobody reads it.
    let _ = print(line.as_bytes());
    UNWRITTEN.fetch_sub(1, Ordering::SeqCst);
}

fn stdout(text: &[u8]) -> io::Result<()> {
    io::stdout().write_all(text)
}

fn stderr(text: &[u8]) -> io::Result<()> {
    io::stderr().write_all(text)
}

/// Prints a line on stderr, unless `MICRO_ENV=test` keeps it silent.
pub(super) fn log(line: impl Display) {
    if *MODE != Mode::Test {
        write(stderr, &line.to_string());
    }
}

/// Prints a line on stdout.
pub(super) fn print(line: impl Display) {
    write(stdout, &line.to_string());
}

/// Prints a line on stderr, whatever `MICRO_ENV` says.
pub(super) fn print_error(line: impl Display) {
    write(stderr, &line.to_string());
}

/// Whether stderr is a terminal whose user has not asked for text without colours (`NO_COLOR`).
pub fn is_coloured() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// The log of requests in development, with the local time.
pub(super) struct RequestLog {
    /// How far local time is ahead of UTC, in seconds.
    utc_offset: i64,
    is_coloured: bool,
}

impl RequestLog {
    /// Asks `date` for the time zone: the standard library knows none, and a file of zones is a table with rules behind it. A
    /// system without `date` has no zones, either.
    pub(super) fn new() -> Self {
        let output = Command::new("date").arg("+%z").stdin(Stdio::null()).stderr(Stdio::null()).output();
        let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
        // As in -0330.
        let zone: i64 = text.trim().parse().unwrap_or(0);
        RequestLog { utc_offset: (zone / 100 * 60 + zone % 100) * 60, is_coloured: is_coloured() }
    }

    /// Prints a request, the status, in its colour on a terminal, and what else is to be said of the response.
    pub(super) fn log(&self, request: &str, status: u16, rest: impl Display) {
        let utc = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let second = i64::try_from(utc).unwrap_or(0) + self.utc_offset;
        let (hours, minutes, seconds) = (second / 3600 % 24, second / 60 % 60, second % 60);
        let colour = match status {
            ..300 => 32,
            300..400 => 36,
            400..500 => 33,
            500.. => 31,
        };
        let status = if self.is_coloured { format!("\x1b[{colour}m{status}\x1b[0m") } else { status.to_string() };
        let request = escaped(request);
        write_escaped(stderr, &format!("{hours:02}:{minutes:02}:{seconds:02} {request} {status}{rest}"));
    }
}

/// Whether an address is another machine's: only an address of this machine can be bound.
pub fn is_elsewhere(address: IpAddr) -> bool {
    !address.is_loopback() && UdpSocket::bind((address, 0)).is_err()
}

/// Control characters are escaped, but for the line ends of development.
fn escaped(line: &str) -> String {
    let mut text = String::new();
    for character in line.chars() {
        match character {
            '\n' if *MODE == Mode::Development => text.push('\n'),
            _ if character.is_control() => text.extend(character.escape_default()),
            _ => text.push(character),
        }
    }
    text
}

fn write(print: Print, line: &str) {
    write_escaped(print, &escaped(line));
}

/// Writes a line, or counts it if too many wait.
fn write_escaped(print: Print, line: &str) {
    let mut text = format!("micro-smol: {line}");
    let dropped = DROPPED.swap(0, Ordering::SeqCst);
    if dropped > 0 {
        text.push_str(&format!(" (lines dropped before it: {dropped})"));
    }
    text.push('\n');
    UNWRITTEN.fetch_add(1, Ordering::SeqCst);
    match &*LOG {
        None => print_now(print, text),
        Some(lines) if lines.try_send((print, text)).is_ok() => {}
        Some(_) => {
            UNWRITTEN.fetch_sub(1, Ordering::SeqCst);
            DROPPED.fetch_add(dropped + 1, Ordering::SeqCst);
        }
    }
}

/// Waits until the log is written, but not for long: the process is about to end.
pub(super) fn flush_log() {
    let end = Instant::now() + Duration::from_millis(500);
    while UNWRITTEN.load(Ordering::SeqCst) > 0 && Instant::now() < end {
        thread::sleep(Duration::from_millis(1));
    }
}
