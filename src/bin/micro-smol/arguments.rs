//! The arguments of commands that take paths or names, and flags.

use std::path::PathBuf;

use lexopt::{Arg, Parser};
use micro_smol::cli::Exit;

/// Reads what follows the name of a command: just as many values, and which of these flags there are, as they are written.
pub fn arguments<const N: usize>(mut parser: Parser, flags: &[&str]) -> Result<([PathBuf; N], Vec<String>), Exit> {
    let (mut values, mut given) = (Vec::new(), Vec::new());
    parser.next()?;
    while let Some(arg) = parser.next()? {
        match arg {
            Arg::Value(value) if values.len() < N => values.push(PathBuf::from(value)),
            Arg::Long(name) if flags.contains(&name) => given.push(format!("--{name}")),
            _ => return Err(Exit::of(arg)),
        }
    }
    let values = values.try_into().map_err(|_| lexopt::Error::MissingValue { option: None })?;
    Ok((values, given))
}
