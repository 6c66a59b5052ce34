//! `--env-file`: variables from files, in what Node and Docker Compose read alike.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

const OPTION: &str = "--env-file";

/// Variables, each with its value.
pub type Variables = Vec<(String, String)>;

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
    let fault = |line| format!("{}:{line}: this is not NAME=value, a comment or a blank line", file.display());
    lines.map(|(number, line)| variable(line).ok_or_else(|| fault(number))).collect()
}

/// A value is between quotes, or ends before ` #`. In double quotes, `\n` is the end of a line.
fn variable(line: &str) -> Option<(String, String)> {
    let (name, value) = line.strip_prefix("export ").unwrap_or(line).split_once('=')?;
    let (name, value) = (name.trim(), value.trim());
    let is_name =
        !name.starts_with(|c: char| c.is_ascii_digit()) && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        None if value.starts_with('#') => String::new(),
        None => value.split(" #").next().unwrap_or_default().trim_end().to_owned(),
        Some(quote) => {
            let (quoted, rest) = value[1..].split_once(quote)?;
            let is_whole = rest.is_empty() || rest.trim_start().starts_with('#');
            let quoted = Some(quoted).filter(|_| is_whole)?;
            if quote == '"' { quoted.replace("\\n", "\n") } else { quoted.to_owned() }
        }
    };
    (is_name && !name.is_empty()).then(|| (name.to_owned(), value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_what_node_and_compose_agree_on() {
        let cases = [
            ("A=b", Some(("A", "b"))),
            ("  export A_1 = b c \t", Some(("A_1", "b c"))),
            ("A=", Some(("A", ""))),
            ("A=b=c", Some(("A", "b=c"))),
            ("A=b # c", Some(("A", "b"))),
            ("A=b#c", Some(("A", "b#c"))),
            ("A= # c", Some(("A", ""))),
            ("A='b # \"c\" \\n'  # d", Some(("A", "b # \"c\" \\n"))),
            ("A=\"b # 'c' \\n\"", Some(("A", "b # 'c' \n"))),
            ("A=\"\"", Some(("A", ""))),
            ("A=\"b", None),
            ("A='b'c", None),
            ("A", None),
            ("=b", None),
            ("1A=b", None),
            ("A B=c", None),
        ];
        for (line, expected) in cases {
            let parsed = parse(&format!("# x\n\n{line}\n"), Path::new("a"));
            match expected {
                Some((name, value)) => assert_eq!(parsed, Ok(vec![(name.to_owned(), value.to_owned())]), "{line}"),
                None => assert_eq!(
                    parsed,
                    Err("a:3: this is not NAME=value, a comment or a blank line".to_owned()),
                    "{line}"
                ),
            }
        }
    }
}
