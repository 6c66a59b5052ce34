//! Errors: the status of each, and what of it the client reads.
//!
//! `cargo run --example errors`, or `micro-smol examples/errors.rs`; then `curl -i localhost:3000/teapot`.

use micro_smol::{Request, Result, Status, create_error, create_error_from, run};
use std::{fs, process::ExitCode};

pub async fn handler(req: Request) -> Result<String> {
    match req.path() {
        // The client reads the message, whatever the status is.
        "/teapot" => Err(create_error(418, "Short and stout")),
        // The client reads "Is it a number?". The log also has the error of `parse`.
        "/number" => "12x".parse().map(|n: u8| n.to_string()).map_err(|e| create_error_from(500, "Is it a number?", e)),
        // The status is below 500, so the client reads the error's own message.
        "/file" => fs::read_to_string("/nowhere").status(404),
        // The status is 500. The client reads "Internal Server Error"; the log has the error.
        "/secret" => Ok(fs::read_to_string("/nowhere")?),
        // A panic is a 500 as well.
        "/panic" => panic!("at the disco"),
        _ => Ok("Try /teapot, /number, /file, /secret or /panic\n".to_owned()),
    }
}

fn main() -> ExitCode {
    run(handler)
}
