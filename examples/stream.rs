//! Sends what a reader yields, each piece as soon as the reader has it.
//!
//! `cargo run --example stream`, or `micro-smol examples/stream.rs`; then `curl -N localhost:3000`.

use micro_smol::smol::io::AsyncWriteExt;
use micro_smol::smol::{self, Timer, net::unix::UnixStream};
use micro_smol::{IntoResponse, Request, Result, run, stream};
use std::{io, process::ExitCode, time::Duration};

pub async fn handler(_req: Request) -> Result<impl IntoResponse> {
    let (reader, writer) = UnixStream::pair()?;
    smol::spawn(count_down(writer)).detach();
    Ok(stream(reader))
}

/// Fails once the client has left: the reader is dropped then.
async fn count_down(mut writer: UnixStream) -> io::Result<()> {
    for number in (1..=3).rev() {
        writer.write_all(format!("{number}\n").as_bytes()).await?;
        Timer::after(Duration::from_millis(300)).await;
    }
    writer.write_all(b"Lift-off\n").await
}

fn main() -> ExitCode {
    run(handler)
}
