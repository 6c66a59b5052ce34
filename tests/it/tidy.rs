//! What holds of the repository.

use std::collections::{BTreeMap, BTreeSet};
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

/// A module of the library: its path from lib.rs, its file, and the modules that the file declares.
struct Module {
    path: Vec<String>,
    file: PathBuf,
    children: Vec<String>,
    code: String,
}

impl Module {
    /// The modules of a file in the order in which they flow: those that it declares, then itself. Both files of a module that
    /// stands in one or the other are in the list.
    fn read(path: Vec<String>, file: &Path, folder: &Path) -> Vec<Module> {
        let code = code_of(file);
        let (mut modules, mut children) = (Vec::new(), Vec::new());
        let mut file_of_next = None;
        for line in code.lines().map(str::trim) {
            let name = line.trim_start_matches("pub ").strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
            if let Some(path) = line.strip_prefix("#[path = \"") {
                file_of_next = path.split('"').next().map(|name| file.with_file_name(name));
            } else if let Some(name) = name {
                let child = file_of_next.take().unwrap_or_else(|| folder.join(format!("{name}.rs")));
                let child_path = [path.as_slice(), &[name.to_owned()]].concat();
                modules.extend(Module::read(child_path, &child, &child.with_extension("")));
                children.push(name.to_owned());
            }
        }
        modules.push(Module { path, file: file.to_owned(), children, code });
        modules
    }

    /// The paths that the file names: those that begin with `super`, `self` or a module that it declares.
    fn names(&self) -> Vec<Vec<String>> {
        let mut names = Vec::new();
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        for (at, _) in self.code.match_indices("::") {
            let before = &self.code[..at];
            let start = before.rfind(|c: char| !is_word(c)).map_or(0, |last| last + 1);
            if before[..start].ends_with("::") {
                continue;
            }
            let word = &before[start..];
            assert!(word != "crate", "{}: a copy of the library is no crate", self.file.display());
            if word == "super" || word == "self" || self.children.iter().any(|child| child == word) {
                expand(&self.code[start..], self.path.clone(), &mut names);
            }
        }
        names
    }

    /// The module that a `pub use` of this file gives a name of.
    fn gives(&self, name: &str) -> Option<Vec<String>> {
        let mut given = Vec::new();
        for (at, start) in self.code.match_indices("pub use ").chain(self.code.match_indices("pub(super) use ")) {
            expand(&self.code[at + start.len()..], self.path.clone(), &mut given);
        }
        given.into_iter().find(|path| path.last().is_some_and(|last| last == name))
    }
}

#[test]
fn rooms_are_as_large_as_the_architecture_says() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut sizes = BTreeMap::<String, usize>::new();
    for (main, folder) in [("src/lib.rs", "src"), ("src/bin/micro-smol/main.rs", "src/bin/micro-smol")] {
        for module in Module::read(Vec::new(), &root.join(main), &root.join(folder)) {
            let room = match (main, module.path.first().map(String::as_str)) {
                ("src/lib.rs", Some(room @ ("http1" | "connection" | "server" | "cli"))) => room,
                ("src/lib.rs", _) => "micro layer",
                _ => "micro-smol",
            };
            *sizes.entry(room.to_owned()).or_default() +=
                module.code.lines().filter(|line| !line.trim().is_empty()).count();
        }
    }
    let text = include_str!("../../docs/architecture.md").split_once("| room | lines |").unwrap().1;
    let rows = text.lines().skip(2).map_while(|row| row.strip_prefix("| ")?.strip_suffix(" |")?.split_once(" | "));
    let said: BTreeMap<_, usize> =
        rows.map(|(room, lines)| (room.to_owned(), lines.replace(',', "").parse().unwrap())).collect();
    assert!(sizes.keys().eq(said.keys()), "{sizes:?}");
    assert!(sizes.iter().all(|(room, lines)| *lines <= said[room] && said[room] <= lines + 50), "{sizes:?}");
}

/// The code of a file, without its comments and its tests.
fn code_of(file: &Path) -> String {
    let source = fs::read_to_string(file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let source = source.split("#[cfg(test)]").next().unwrap();
    source.lines().map(|line| line.split("//").next().unwrap()).collect::<Vec<_>>().join("\n")
}

/// Notes the paths of a use tree, or the path of an expression, from the module `base`.
fn expand(text: &str, mut base: Vec<String>, paths: &mut Vec<Vec<String>>) {
    let text = text.trim_start();
    if let Some(group) = text.strip_prefix('{') {
        let (mut depth, mut start) = (0, 0);
        for (at, character) in group.char_indices() {
            match character {
                '{' => depth += 1,
                ',' | '}' if depth == 0 => {
                    expand(&group[start..at], base.clone(), paths);
                    start = at + 1;
                    if character == '}' {
                        return;
                    }
                }
                '}' => depth -= 1,
                _ => {}
            }
        }
        return;
    }
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    match word {
        "super" => drop(base.pop()),
        "self" | "" => {}
        _ => base.push(word.to_owned()),
    }
    match rest.strip_prefix("::").filter(|rest| !rest.starts_with('<')) {
        Some(rest) => expand(rest, base, paths),
        None if word.is_empty() && !text.starts_with('*') => {}
        None => paths.push(base),
    }
}

const LIBRARY: &str = "src/lib.rs";

const COMMAND: &str = "src/bin/micro-smol/main.rs";

/// The modules of the library or the command, each behind those that it may name.
fn modules(root: &str) -> Vec<Module> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(root);
    Module::read(Vec::new(), &root, root.parent().unwrap())
}

/// The module in which a path ends, wherever its name is given on from.
fn resolve(modules: &[Module], path: &[String]) -> Vec<String> {
    let is_module = |path: &[String]| modules.iter().any(|module| module.path == path);
    let mut length = 0;
    while length < path.len() && is_module(&path[..=length]) {
        length += 1;
    }
    let (found, rest) = path.split_at(length);
    let given = rest.first().and_then(|name| modules.iter().find(|module| module.path == found)?.gives(name));
    given.filter(|given| given != path).map_or(found.to_vec(), |given| resolve(modules, &given))
}

/// The modules that each module names, but for itself.
fn imports(root: &str) -> Vec<(String, BTreeSet<String>)> {
    let modules = modules(root);
    let imports = |module: &Module| {
        let named = module.names().into_iter().map(|path| resolve(&modules, &path));
        named.filter(|path| *path != module.path).map(|path| path.join("::")).collect()
    };
    modules.iter().map(|module| (module.path.join("::"), imports(module))).collect()
}

#[test]
fn imports_go_one_way() {
    for (root, modules_min) in [(LIBRARY, 30), (COMMAND, 15)] {
        let (mut above, mut wrong) = (BTreeSet::new(), Vec::new());
        for (module, imports) in imports(root) {
            wrong.extend(
                imports.difference(&above).map(|below| format!("{module:?} names {below:?}, which is below it")),
            );
            above.insert(module);
        }
        assert!(wrong.is_empty(), "{wrong:#?}");
        assert!(above.len() > modules_min, "{above:?}");
    }
}

#[test]
fn a_room_knows_only_those_before_it() {
    const ROOMS: [&[&str]; 6] = [
        &["log", "error", "limits"],
        &["http1"],
        &["payload", "request", "response", "into_response", "content", "handler", "upgrade"],
        &["connection"],
        &["server"],
        &["cli"],
    ];
    let room_of = |module: &str| {
        let first = module.split("::").next().unwrap();
        ROOMS.iter().position(|room| room.contains(&first)).unwrap_or_else(|| panic!("{module} is in no room"))
    };
    for (module, imports) in imports(LIBRARY).iter().filter(|(module, _)| !module.is_empty()) {
        let wrong: Vec<_> =
            imports.iter().filter(|named| named.is_empty() || room_of(named) > room_of(module)).collect();
        assert!(wrong.is_empty(), "{module} names {wrong:?}");
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
