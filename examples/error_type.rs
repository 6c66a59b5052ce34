//! An error type of your own. One wrapper gives each of its errors a status; other errors keep theirs.
//!
//! `cargo run --example error_type`, or `micro-smol examples/error_type.rs`; then `curl -i localhost:3000/coffee`.

use micro_smol::{Handler, Request, Result, Status, run};
use std::{fmt, process::ExitCode};

#[derive(Debug)]
pub enum ShopError {
    SoldOut,
    Unknown,
}

impl std::error::Error for ShopError {}

impl fmt::Display for ShopError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if let ShopError::SoldOut = self { "Sold out" } else { "We do not have that" })
    }
}

pub async fn buy(req: Request) -> Result<&'static str, ShopError> {
    match req.path() {
        "/tea" => Ok("Here you are"),
        path => Err(if path == "/coffee" { ShopError::SoldOut } else { ShopError::Unknown }),
    }
}

pub fn with_statuses(handler: impl Handler) -> impl Handler {
    async move |req: Request| match handler.call(req).await {
        Err(error) if matches!(error.downcast_ref(), Some(ShopError::SoldOut)) => Err(error).status(410),
        Err(error) if matches!(error.downcast_ref(), Some(ShopError::Unknown)) => Err(error).status(404),
        answer => answer,
    }
}

fn main() -> ExitCode {
    run(with_statuses(buy))
}
