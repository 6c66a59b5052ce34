//! What the command prints. A pipe that is closed ends nothing: who has read enough closes it.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Moves to the start of the line and erases it: a progress bar of cargo may stand there.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Prints a text on stdout.
pub fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}

/// Prints a line of ours on stderr.
pub fn say(line: impl Display) {
    show(&format!("micro-smol: {line}\n"));
}

/// Prints a text on stderr.
pub fn show(text: &str) {
    let start = if io::stderr().is_terminal() { CLEAR_LINE } else { "" };
    let _ = io::stderr().write_all(format!("{start}{text}").as_bytes());
}
