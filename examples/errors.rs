//! Errors: which become which status, and what of them the peer reads.
//!
//! `cargo run --example errors`, or `micro-smol examples/errors.rs`; then `curl -i localhost:3000/teapot`.

use micro_smol::{Request, Result, Status, create_error, create_error_from, run};
use std::{fs, process::ExitCode};

pub async fn handler(req: Request) -> Result<String> {
    match req.path() {
        // The peer reads the message, whatever the status.
        "/teapot" => Err(create_error(418, "Short and stout")),
        // The peer reads "Is it a number?"; the log, what `parse` said.
        "/number" => "12x".parse().map(|n: u8| n.to_string()).map_err(|e| create_error_from(500, "Is it a number?", e)),
        // A status below 500: the peer reads the error's own message.
        "/file" => fs::read_to_string("/nowhere").status(404),
        // 500: the peer reads "Internal Server Error"; the log, what happened.
        "/secret" => Ok(fs::read_to_string("/nowhere")?),
        // So does a panic.
        "/panic" => panic!("at the disco"),
        _ => Ok("Try /teapot, /number, /file, /secret or /panic\n".to_owned()),
    }
}

fn main() -> ExitCode {
    run(handler)
}
