//! What a shell and its user are told: `--help`, the manual page, completions.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use crate::cli::{CHECKOUT, PROGRAM, failure, files, micro_smol};
use crate::vendor::success;

fn help() -> String {
    success(&mut micro_smol(Path::new("/"), &["--help"]))
}

/// The names and values of what `--help` lists: each line up to two spaces, but not those that go on.
fn listed(help: &str) -> Vec<&str> {
    let is_item = |line: &&str| line.starts_with(' ') && !line.starts_with(&" ".repeat(9));
    help.lines().filter(is_item).map(|line| line.trim_start().split("  ").next().unwrap()).collect()
}

/// The options in a text, each alone.
fn options(text: &str) -> BTreeSet<String> {
    let words = text.split([' ', ',', '[', ']']);
    words.filter(|word| word.starts_with('-') && !["-", "--"].contains(word)).map(str::to_owned).collect()
}

/// The completions that a shell offers for a line, in an empty directory but for a program and another file.
fn offered(shell: &str, script: &str, line: &str) -> BTreeSet<String> {
    static DIRECTORY: OnceLock<PathBuf> = OnceLock::new();
    let with_files = || files("completions", &[("tea.rs", ""), ("tea.txt", ""), ("teapot/pot.rs", ""), ("home/x", "")]);
    let directory = DIRECTORY.get_or_init(with_files);
    let path = format!("{}:{}", Path::new(PROGRAM).parent().unwrap().display(), std::env::var("PATH").unwrap());
    let mut command = Command::new("timeout");
    command.args(["20", shell]).args(if shell == "fish" { ["--no-config", "-c"] } else { ["-f", "-c"] });
    command.args([script, shell, line]).current_dir(directory).env("PATH", path).env("HOME", directory.join("home"));
    let said = success(command.env("TERM", "dumb"));
    said.lines().filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// Bash has no way to ask it but to do what it would.
fn in_bash(line: &str) -> BTreeSet<String> {
    let script = r#"
source <(micro-smol completions bash)
complete -p micro-smol | grep -q -- '-F _micro_smol micro-smol' || exit 1
compopt() { :; }
IFS=' ' read -ra COMP_WORDS <<<"$1"
[[ $1 == *' ' ]] && COMP_WORDS+=('')
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_micro_smol micro-smol "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD - 1]}"
printf '%s\n' "${COMPREPLY[@]}""#;
    offered("bash", script, line)
}

fn in_fish(line: &str) -> BTreeSet<String> {
    let script = "micro-smol completions fish | source; complete -C $argv[2]";
    let described = offered("fish", script, line);
    described.iter().map(|line| line.split('\t').next().unwrap().to_owned()).collect()
}

/// An interactive zsh, in a terminal of another: it lists what there is at Ctrl-D, and then says that it is done.
fn in_zsh(line: &str) -> BTreeSet<String> {
    let script = r#"
zmodload zsh/zpty
zpty z zsh -f -i
zpty -w z "PS1='>>'; stty -echo; LISTMAX=1000; COLUMNS=200; autoload -U compinit; compinit -u -D; \
source <(micro-smol completions zsh); zstyle ':completion:*' list-prompt ''; echo re''ady"
zpty -r -m z out '*ready*>>*'
zpty -w -n z "$1"$'\x04'
zpty -w -n z $'\x15echo do\'\'ne\n'
zpty -r -m z out $'*done\r*'
print -r -- $out"#;
    let screen = offered("zsh", script, line).into_iter().collect::<Vec<_>>().join(" ");
    screen.split_whitespace().map(str::to_owned).collect()
}

fn set(words: &[&str]) -> BTreeSet<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

pub fn has(shell: &str) -> bool {
    let has = Command::new(shell).arg("--version").output().is_ok_and(|output| output.status.success());
    if !has {
        eprintln!("skipped: {shell} is not installed");
    }
    has
}

#[test]
fn help_fits_a_screen() {
    let help = help();
    assert!(help.lines().count() <= 24, "{}", help.lines().count());
    assert!(help.lines().all(|line| line.len() <= 80 && line.trim_end() == line), "{help}");
}

#[test]
fn the_manual_has_what_help_has() {
    let manual = fs::read_to_string(Path::new(CHECKOUT).join("docs/micro-smol.1")).unwrap();
    let plain = ["\\fB", "\\fI", "\\fR"].iter().fold(manual, |text, font| text.replace(font, "")).replace("\\-", "-");
    let (commands, rest) = plain.split_once(".SH OPTIONS\n").unwrap();
    let (options, rest) = rest.split_once(".SH EXIT STATUS\n").unwrap();
    let items = [commands, options].concat();
    let items: Vec<_> = items.split(".TP\n").skip(1).filter_map(|item| item.lines().next()).collect();
    let help = help();
    assert_eq!(items, listed(&help));
    for note in help.split(['[', ']']).filter(|note| note.starts_with("env ")) {
        let (variable, default) = note.trim_start_matches("env ").split_once(", ").unwrap();
        assert!(options.contains(&format!("The default is the variable {variable}, else {default}")), "{note}");
        assert!(rest.contains(variable));
    }
}

#[test]
fn the_readme_has_what_help_has() {
    let readme = fs::read_to_string(Path::new(CHECKOUT).join("README.md")).unwrap();
    let help = help();
    let (_, list) = help.split_once('\n').unwrap();
    assert!(readme.contains(list), "{list}");
}

#[test]
fn the_manual_can_be_typeset() {
    if has("groff") {
        let manual = Path::new(CHECKOUT).join("docs/micro-smol.1");
        assert_eq!(success(Command::new("groff").args(["-man", "-ww", "-z"]).arg(manual)), "");
    }
}

#[test]
fn bash_completes() {
    let help = help();
    let all = options(&listed(&help).into_iter().filter(|item| item.starts_with('-')).collect::<Vec<_>>().join(" "));
    let commands: Vec<_> = listed(&help).into_iter().filter(|item| !item.starts_with('-')).collect();
    assert_eq!(in_bash("micro-smol -"), all);
    for usage in &commands {
        let command = usage.split(' ').next().unwrap();
        assert!(in_bash("micro-smol ").contains(command));
        let mut expected = options(usage);
        expected.extend(all.iter().filter(|_| usage.contains("[options]")).cloned());
        assert_eq!(in_bash(&format!("micro-smol {command} -")), expected, "{usage}");
    }
    let pages = success(&mut micro_smol(Path::new("/"), &["explain"]));
    assert_eq!(in_bash("micro-smol explain "), pages.lines().map(str::to_owned).collect());
    assert_eq!(in_bash("micro-smol tea"), set(&["tea.rs", "teapot"]));
    assert_eq!(in_bash("micro-smol vendor tea"), set(&["tea.rs", "teapot"]));
    assert_eq!(in_bash("micro-smol --listen u"), set(&["unix:"]));
    assert_eq!(in_bash("micro-smol -p "), set(&[]));
}

#[test]
fn every_shell_offers_the_same() {
    let lines = [
        "--",
        "--d",
        "build --st",
        "test --",
        "check --",
        "vendor --",
        "healthcheck --",
        "b",
        "exp",
        "completions ",
        "cache ",
        "explain port-",
        "-l ",
        "--port ",
    ];
    let (zsh, fish) = (has("zsh"), has("fish"));
    for line in lines.map(|line| format!("micro-smol {line}")) {
        let expected = in_bash(&line);
        if fish {
            assert_eq!(in_fish(&line), expected, "fish: {line}");
        }
        let offered = if zsh { in_zsh(&line) } else { expected.clone() };
        assert!(offered.is_superset(&expected), "zsh: {line}: {offered:?}");
    }
}

#[test]
fn another_shell_is_told_apart() {
    let said = failure(&mut micro_smol(Path::new("/"), &["completions", "tcsh"]), 2);
    assert_eq!(said, "micro-smol: there is no tcsh; there are bash, fish, zsh\n");
}
