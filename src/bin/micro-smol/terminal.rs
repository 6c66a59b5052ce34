//! What the command prints on stderr. An error there is ignored: it could be said nowhere.

use std::fmt::Display;
use std::io::{self, IsTerminal, Write};

/// Moves to the start of the line and erases it: a progress bar of cargo may stand there.
const CLEAR_LINE: &str = "\r\x1b[K";

/// Prints a line on stderr, after `micro-smol: `.
pub fn say(line: impl Display) {
    show(&format!("micro-smol: {line}\n"));
}

/// Prints a text on stderr.
pub fn show(text: &str) {
    let start = if io::stderr().is_terminal() { CLEAR_LINE } else { "" };
    let _ = io::stderr().write_all(format!("{start}{text}").as_bytes());
}
