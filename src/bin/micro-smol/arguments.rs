//! The arguments of commands that take paths or names, and flags.

use std::path::PathBuf;

use lexopt::{Arg, Parser};

/// The candidate that differs from a word in at most two letters of one place, as a slip of the hand does.
pub fn nearest<T: AsRef<str>>(word: &str, candidates: impl IntoIterator<Item = T>) -> Option<T> {
    candidates.into_iter().find(|candidate| {
        let [one, other] = [word, candidate.as_ref()].map(|word| word.trim_start_matches('-').as_bytes());
        let start = one.iter().zip(other).take_while(|(a, b)| a == b).count();
        let end = one.iter().rev().zip(other.iter().rev()).take_while(|(a, b)| a == b).count();
        let longer = one.len().max(other.len());
        // Two letters may stand in the wrong order, also in a short word.
        let is_swapped = one.len() == other.len() && one.get(start) == other.get(start + 1);
        (start + end >= 3 || is_swapped && start + end >= 2) && start + end + 2 >= longer
    })
}

/// What a command was given.
pub struct Arguments {
    values_max: usize,
    known_flags: &'static [&'static str],
    pub values: Vec<PathBuf>,
    /// As they are written: `--locked`.
    pub flags: Vec<String>,
}

impl Arguments {
    /// Nothing yet; there may be so many values, and these flags.
    pub fn new(values_max: usize, known_flags: &'static [&'static str]) -> Self {
        Arguments { values_max, known_flags, values: Vec::new(), flags: Vec::new() }
    }

    /// Reads what follows the name of a command.
    pub fn read(mut self, mut parser: Parser) -> Result<Self, lexopt::Error> {
        while let Some(arg) = parser.next()? {
            self.take(arg)?;
        }
        Ok(self)
    }

    pub fn take(&mut self, arg: Arg<'_>) -> Result<(), lexopt::Error> {
        match arg {
            Arg::Value(value) if self.values.len() < self.values_max => self.values.push(value.into()),
            Arg::Long(name) if self.known_flags.contains(&name) => self.flags.push(format!("--{name}")),
            _ => return Err(arg.unexpected()),
        }
        Ok(())
    }

    /// Whether it has a flag.
    pub fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|given| given == flag)
    }

    /// All values that there may be, which have these names.
    pub fn all<const N: usize>(&self, names: [&str; N]) -> Result<&[PathBuf; N], lexopt::Error> {
        let missing = || names.get(self.values.len()).copied().unwrap_or_default();
        self.values
            .as_slice()
            .try_into()
            .map_err(|_| format!("missing argument {}; --help shows the options", missing()).into())
    }
}
