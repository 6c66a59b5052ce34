//! `--env-file`: variables from files, in what Node and Docker Compose read alike.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use micro_smol::cli::Variable;

const OPTION: &str = "--env-file";

const NO_VARIABLE: &str = "this is not NAME=value, a comment or a blank line";

/// Variables, each with its value.
pub type Variables = Vec<Variable>;

/// Takes the options that name files out of the arguments.
pub fn take(args: &mut Vec<OsString>) -> Result<Vec<PathBuf>, lexopt::Error> {
    let mut files = Vec::new();
    while let Some(place) = args.iter().position(|arg| arg.as_encoded_bytes().starts_with(OPTION.as_bytes())) {
        let option = args.remove(place);
        match option.to_string_lossy().strip_prefix(OPTION).and_then(|rest| rest.strip_prefix('=')) {
            Some(file) => files.push(file.into()),
            None if option != OPTION => return Err(lexopt::Error::UnexpectedOption(option.to_string_lossy().into())),
            None if place == args.len() => return Err(lexopt::Error::MissingValue { option: Some(OPTION.to_owned()) }),
            None => files.push(args.remove(place).into()),
        }
    }
    Ok(files)
}

/// Reads the variables that are not set already; of those that stand twice, the last counts.
pub fn read(files: &[PathBuf]) -> Result<Variables, String> {
    let mut all = Vec::new();
    for file in files {
        let text = fs::read_to_string(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        all.extend(parse(&text, file)?);
    }
    all.retain(|(name, _)| env::var_os(name).is_none());
    Ok(all)
}

fn parse(text: &str, file: &Path) -> Result<Variables, String> {
    let lines = (1..).zip(text.lines().map(str::trim)).filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    let located = |line, fault| format!("{}:{line}: {fault}", file.display());
    lines.map(|(number, line)| variable(line).map_err(|fault| located(number, fault))).collect()
}

/// A value is between quotes, or ends before ` #`. In double quotes, `\n` is the end of a line.
fn variable(line: &str) -> Result<Variable, &'static str> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=').ok_or(NO_VARIABLE)?;
    let (name, value) = (name.trim(), value.trim());
    let is_name =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        None if value.starts_with('#') => String::new(),
        None => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
        Some(quote) => {
            let (quoted, rest) = value[1..].split_once(quote).ok_or("the quote has no end in this line")?;
            if !rest.is_empty() && !rest.trim_start().starts_with('#') {
                return Err(NO_VARIABLE);
            }
            if quote == '"' { quoted.replace("\\n", "\n") } else { quoted.to_owned() }
        }
    };
    if is_name && !name.is_empty() { Ok((name.to_owned(), value)) } else { Err(NO_VARIABLE) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_node_and_compose_agree_on() {
        let cases = [
            ("A=b", Ok(("A", "b"))),
            ("  export A_1 = b c \t", Ok(("A_1", "b c"))),
            ("A=", Ok(("A", ""))),
            ("A=b=c", Ok(("A", "b=c"))),
            ("A=b # c", Ok(("A", "b"))),
            ("A=b#c", Ok(("A", "b#c"))),
            ("A= # c", Ok(("A", ""))),
            ("A='b # \"c\" \\n'  # d", Ok(("A", "b # \"c\" \\n"))),
            ("A=\"b # 'c' \\n\"", Ok(("A", "b # 'c' \n"))),
            ("A=\"\"", Ok(("A", ""))),
            ("A=\"b", Err("the quote has no end in this line")),
            ("A='b'c", Err(NO_VARIABLE)),
            ("A", Err(NO_VARIABLE)),
            ("=b", Err(NO_VARIABLE)),
            ("1A=b", Err(NO_VARIABLE)),
            ("A B=c", Err(NO_VARIABLE)),
        ];
        for (line, expected) in cases {
            let parsed = parse(&format!("# x\n\n{line}\n"), Path::new("a"));
            match expected {
                Ok((name, value)) => assert_eq!(parsed, Ok(vec![(name.to_owned(), value.to_owned())]), "{line}"),
                Err(fault) => assert_eq!(parsed, Err(format!("a:3: {fault}")), "{line}"),
            }
        }
    }
}
