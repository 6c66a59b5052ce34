//! What holds of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

#[test]
fn the_readme_counts_the_crates() {
    let mut cargo = Command::new(env!("CARGO"));
    let args = ["tree", "--offline", "--locked", "-e", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = cargo.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let others = crates.len() - 1;
    assert!(include_str!("../../README.md").contains(&format!("The dependency tree is {others} crates")), "{others}");
}

/// The modules of the library in the order of lib.rs, and what each file of them imports from its crate.
fn imports() -> Vec<(String, BTreeSet<String>)> {
    let src = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let library = fs::read_to_string(src.join("lib.rs")).unwrap();
    let modules =
        library.lines().filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod ")?.strip_suffix(';'));
    let read = |module: &str| {
        let folder = fs::read_dir(src.join(module)).into_iter().flatten().map(|file| file.unwrap().path());
        let imports = |depth: &str, source: String| {
            let lines = source.lines().filter(|line| !line.trim_start().starts_with("//"));
            let code = lines.collect::<Vec<_>>().join("\n");
            let after = code.split(depth).skip(1).map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_'));
            after.filter_map(|mut words| words.next().map(str::to_owned)).filter(|word| word != "super").collect()
        };
        let mut all: BTreeSet<String> =
            imports("super::", fs::read_to_string(src.join(format!("{module}.rs"))).unwrap());
        folder.for_each(|file| all.extend(imports("super::super::", fs::read_to_string(file).unwrap())));
        (module.to_owned(), all)
    };
    modules.map(read).collect()
}

#[test]
fn imports_go_one_way() {
    let mut above = BTreeSet::from(["*".to_owned()]);
    for (module, imports) in imports() {
        let modules = imports.iter().filter(|name| Path::new("src").join(format!("{name}.rs")).exists());
        let wrong: Vec<_> = modules.filter(|name| !above.contains(*name)).collect();
        assert!(wrong.is_empty(), "{module} uses {wrong:?}, which are not above it in lib.rs");
        above.insert(module);
    }
    assert!(above.len() > 15, "{above:?}");
}

#[test]
fn the_wire_half_and_the_value_half_meet_in_the_connection_only() {
    // Beside it, a request shows the head that it was made of.
    const WIRE: [&str; 6] = ["h1", "deadline", "drain", "timed", "wire", "poller"];
    const VALUE: [&str; 6] = ["kept", "request", "response", "content", "handler", "upgrade"];
    for (module, imports) in imports() {
        let foreign: &[&str] = match module.as_str() {
            "request" => &WIRE[1..],
            name if VALUE.contains(&name) => &WIRE,
            name if WIRE.contains(&name) => &VALUE,
            _ => &[],
        };
        let wrong: Vec<_> = foreign.iter().filter(|name| imports.contains(**name)).collect();
        assert!(wrong.is_empty(), "{module} uses {wrong:?}");
    }
}

/// The examples, and those with dependencies of their own.
fn examples() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples");
    let files = [root.join("single"), root].into_iter().flat_map(|directory| fs::read_dir(directory).unwrap());
    files.map(|file| file.unwrap().path()).filter(|path| path.extension().is_some_and(|is| is == "rs")).collect()
}

/// An example without its frontmatter.
fn code(path: &Path) -> String {
    let text = fs::read_to_string(path).unwrap();
    let code = text.strip_prefix("---\n").and_then(|rest| rest.split_once("\n---\n"));
    code.map_or(text.clone(), |(_, code)| code.to_owned())
}

#[test]
fn an_example_says_what_it_shows_in_at_most_40_lines() {
    for path in examples() {
        let lines = fs::read_to_string(&path).unwrap().lines().count();
        assert!(lines <= 40, "{}: {lines} lines", path.display());
        assert!(code(&path).starts_with("//! "), "{}", path.display());
    }
}

#[test]
fn the_readme_names_every_example() {
    for path in examples() {
        let path = path.strip_prefix(env!("CARGO_MANIFEST_DIR")).unwrap().display().to_string();
        assert!(include_str!("../../README.md").contains(&format!("({path})")), "{path}");
    }
}

#[test]
fn examples_that_cargo_does_not_know_are_formatted_too() {
    for path in examples() {
        let mut rustfmt = Command::new("rustfmt");
        rustfmt.args(["--check", "--edition", "2024", "--config-path", env!("CARGO_MANIFEST_DIR")]);
        let mut rustfmt = rustfmt.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        std::io::Write::write_all(&mut rustfmt.stdin.take().unwrap(), code(&path).as_bytes()).unwrap();
        let output = rustfmt.wait_with_output().unwrap();
        assert!(output.status.success(), "{}:\n{}", path.display(), String::from_utf8_lossy(&output.stdout));
    }
}
