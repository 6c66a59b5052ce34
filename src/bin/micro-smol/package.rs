//! The package that is generated for an entry: a manifest, a lock file, and what rustc compiles.
//!
//! That is a copy of the file: stable rustc refuses frontmatter, and a `main` that serves the handler must be in the
//! same crate, because the handler's types may be private. The copy stands among links to the file's neighbours, for
//! `mod` and `include_str!` to find them, in a directory whose path ends with the whole path of the file's, for `../` to
//! work as well; and rustc is told to leave out what is before that (`--remap-path-prefix`), for messages and panics to
//! name the file. `cargo rustc` hands such options to the rustc of the generated package alone: `RUSTFLAGS` would replace
//! the user's own, and compile the dependencies anew. A root of ours that takes the file in by `include!` or `#[path]`
//! would need no copy where there is no frontmatter, but refuse `//!` and `#![…]`, or give `crate::` another meaning.
//!
//! The call that serves the handler is taken in (`include!`) from another file, in which it stands in the line and column
//! that the handler's name has in the user's: that is where rustc then says that it is no handler.
//!
//! The frontmatter goes into the manifest as text. A TOML parser would be a dependency of everybody who uses the
//! library, and cargo has one, with good messages; so lines keep their numbers, which are then right in those.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use micro_smol::serde_json::Value;

use super::cache;
use super::entry::Entry;
use super::frontmatter::{LineError, refusal};

/// The directory that stands for `/`, by a name that no message has for another reason.
const COPY: &str = "micro-smol-copy";

/// The directory that stands for `/` where it has the call that serves. To rustc, two files of one name were one file.
const CALL: &str = "micro-smol-call";

/// Options of rustc. Nobody else uses a service's types: they need not be public because the handler is.
pub const RUSTC: [&str; 3] = ["-Aprivate_interfaces", "--remap-path-prefix", "micro-smol-copy=/"];

/// What rustc says, with the user's files in place of ours.
pub fn with_users_files(message: &str, package: &Path) -> String {
    let [call, copy] = [CALL, COPY].map(|root| format!("{}/", package.join(root).display()));
    message.replace(&call, "/").replace(&copy, "/").replace(&format!("{COPY}/"), "/")
}

/// Writes the package of an entry.
pub fn generate(entry: &Entry, package: &Path) -> Result<(), String> {
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    let place = |path: &Path| entry.directory().join(path);
    let completed = complete(&entry.source.manifest, place, &name, &entry.dependencies);
    let (frontmatter, manifest) = completed.map_err(|fault| refusal(&entry.file, fault))?;
    let root = copy(Path::new(""), &entry.file);
    let bin = format!("[[bin]]\nname = {name:?}\npath = {}\n[workspace]\n", quoted(&root));
    // Half the space, and all that a backtrace shows.
    let is_set = keys(&frontmatter).iter().any(|key| key.starts_with("profile.dev"));
    let profile = if is_set { "" } else { "[profile.dev]\ndebug = \"line-tables-only\"\n" };
    cache::write(&package.join("Cargo.toml"), frontmatter + &manifest + &bin + profile)?;
    let (lock, seed) = (package.join("Cargo.lock"), package.join("seed.lock"));
    if !lock.exists() || fs::read_to_string(&seed).ok().as_ref() != Some(&entry.lock) {
        cache::write(&lock, locked(&entry.lock, &name, &entry.dependencies))?;
        cache::write(&seed, &entry.lock)?;
    }
    cache::write(&package.join(root), program(entry, package)?)?;
    link(entry, package)
}

/// The code with a `main`, which is its own, or in one more line.
fn program(entry: &Entry, package: &Path) -> Result<String, String> {
    let Some((file, call)) = &entry.call else { return Ok(entry.source.code.clone()) };
    let path = place(&package.join(CALL), file);
    cache::write(&path, call)?;
    let code = entry.source.code.trim_end();
    let body = format!("use ::micro_smol::run; ::std::include!({path:?})");
    Ok(format!("{code}\nfn main() -> ::std::process::ExitCode {{ {body} }}\n"))
}

/// Where a package has its copy of a file.
fn copy(package: &Path, file: &Path) -> PathBuf {
    place(&package.join(COPY), file)
}

/// Where a file is below a directory that stands for `/`.
fn place(root: &Path, file: &Path) -> PathBuf {
    root.join(file.strip_prefix("/").unwrap_or(file))
}

/// The file which this one, of a package, stands for.
pub fn original(path: PathBuf, package: &Path) -> PathBuf {
    let mut stands_for = [COPY, CALL].into_iter().flat_map(|root| path.strip_prefix(package.join(root)));
    stands_for.next().map_or(path.clone(), |path| Path::new("/").join(path))
}

/// Readable, and no other entry's, because all share a target directory.
pub fn name(path: &Path) -> String {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy();
    let letters: String = stem.chars().filter(char::is_ascii_alphabetic).collect();
    format!("{letters}_{}", cache::key(path))
}

/// Links what the code may name to where its copy is: all that stands beside the file, and what it names by `"../`.
fn link(entry: &Entry, package: &Path) -> Result<(), String> {
    let directory = entry.directory();
    let above = entry.source.code.split('"').filter(|text| text.starts_with("../")).filter_map(|text| {
        let path = text.trim_start_matches("../");
        let ancestor = directory.ancestors().nth((text.len() - path.len()) / "../".len())?;
        Some(ancestor.join(path.split('/').next()?)).filter(|path| path.exists())
    });
    let failed = |error| format!("cannot read {}: {error}", directory.display());
    let beside = fs::read_dir(directory).map_err(failed)?.flatten().map(|neighbour| neighbour.path());
    for path in beside.chain(above) {
        let link = copy(package, &path);
        match symlink(&path, &link) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(cache::refused(&link, &error)),
            _ => {}
        }
    }
    Ok(())
}

/// A table `[dependencies.name]` with one key.
pub fn dependency(name: &str, key: &str, value: impl AsRef<Path>) -> String {
    format!("[dependencies.{name}]\n{key} = {}\n", quoted(value))
}

/// A string as TOML has it, which is as JSON has it.
pub fn quoted(text: impl AsRef<Path>) -> String {
    Value::from(text.as_ref().to_string_lossy()).to_string()
}

/// The frontmatter of a file without what it says of the package, and with the place of each path; and what it says, with
/// a name and, unless micro-smol is named, dependencies.
pub fn complete(
    frontmatter: &str,
    place: impl Fn(&Path) -> PathBuf,
    name: &str,
    dependencies: &str,
) -> Result<(String, String), LineError> {
    let keys = keys(frontmatter);
    let is_ours = |key: &str| match key.split_once('.').unwrap_or((key, "")) {
        ("package", key) => matches!(key, "name" | "workspace" | "build" | "links") || key.starts_with("auto"),
        (table, _) => matches!(table, "lib" | "bin" | "example" | "test" | "bench" | "workspace"),
    };
    if let Some((line, key)) = (1..).zip(&keys).find(|(_, key)| is_ours(key)) {
        return Err((line, format!("`{key}` belongs to the package that micro-smol makes of the file: remove it")));
    }
    let has = |start: &str| keys.iter().any(|key| key.starts_with(start));
    let edition = if has("package.edition") { "" } else { "edition = \"2024\"\n" };
    let (mut manifest, mut package) = (String::new(), format!("[package]\nname = {name:?}\n{edition}"));
    for (line, key) in frontmatter.lines().zip(&keys) {
        match key.strip_prefix("package") {
            // A table must not be in two places.
            Some("") => {}
            Some(rest) if rest.starts_with('.') => {
                package += &(line.trim().trim_start_matches("package.").to_owned() + "\n")
            }
            _ => manifest += &with_place(line, &place).unwrap_or_else(|| line.to_owned()),
        }
        manifest.push('\n');
    }
    Ok((manifest, package + if has("dependencies.micro-smol") { "" } else { dependencies }))
}

/// What each line says something about: its key, after the name of its table.
fn keys(manifest: &str) -> Vec<String> {
    let mut table = String::new();
    let mut key = |line: String| match line.strip_prefix('[') {
        None => table.clone() + line.split('=').next().unwrap_or_default(),
        Some(header) => {
            let name = header.trim_start_matches('[').split(']').next().unwrap_or_default();
            table = format!("{name}.");
            name.to_owned()
        }
    };
    manifest.lines().map(|line| key(line.replace([' ', '\t', '"', '\''], ""))).collect()
}

/// The `path` of a dependency is relative to the file, not to the manifest.
fn with_place(line: &str, place: impl Fn(&Path) -> PathBuf) -> Option<String> {
    let (start, value) = line.match_indices("path").find_map(|(at, key)| {
        let (start, rest) = (&line[..at], &line[at + key.len()..]);
        let is_key = start.is_empty() || start.ends_with([' ', '\t', ',', '{', '.']);
        Some((start, rest.trim_start().strip_prefix('=')?.trim_start())).filter(|_| is_key)
    })?;
    let quote = value.chars().next().filter(|c| matches!(c, '"' | '\''))?;
    let (path, rest) = value[1..].split_once(quote)?;
    Some(format!("{start}path = {}{rest}", quoted(place(Path::new(path)))))
}

/// A lock file that has the generated package, in its place by name, so that `--locked` holds from the start.
pub fn locked(seed: &str, name: &str, dependencies: &str) -> String {
    const START: &str = "[[package]]\nname = ";
    let tables = dependencies.lines().filter_map(|line| line.strip_prefix("[dependencies.")?.strip_suffix(']'));
    let names: BTreeSet<String> = tables.map(|name| format!(" {name:?},\n")).collect();
    let names: String = names.into_iter().collect();
    let package = format!("{START}{name:?}\nversion = \"0.0.0\"\ndependencies = [\n{names}]");
    let mut blocks: Vec<&str> = seed.trim_end().split("\n\n").collect();
    let place = blocks.partition_point(|block| !block.starts_with(START) || *block < package.as_str());
    blocks.insert(place, &package);
    blocks.join("\n\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(frontmatter: &str) -> Result<String, LineError> {
        let completed =
            complete(frontmatter, |path: &Path| Path::new("/a").join(path), "n", "[dependencies.micro-smol]\n");
        completed.map(|(frontmatter, package)| frontmatter + &package)
    }

    #[test]
    fn what_a_package_needs_is_added_to_the_frontmatter() {
        const PACKAGE: &str = "[package]\nname = \"n\"\n";
        const EDITION: &str = "edition = \"2024\"\n";
        const MICRO_SMOL: &str = "[dependencies.micro-smol]\n";
        let cases = [
            ("", format!("{PACKAGE}{EDITION}{MICRO_SMOL}")),
            ("\n[dependencies]\nb = \"1\"\n", format!("\n[dependencies]\nb = \"1\"\n{PACKAGE}{EDITION}{MICRO_SMOL}")),
            (
                "[package]\nedition = \"2021\"\n[patch.c]\n",
                format!("\n\n[patch.c]\n{PACKAGE}edition = \"2021\"\n{MICRO_SMOL}"),
            ),
            ("package.edition = \"2021\"\n", format!("\n{PACKAGE}edition = \"2021\"\n{MICRO_SMOL}")),
            (
                "[package]\nkeywords = [\n  \"k\",\n]\n",
                format!("\n\n\n\n{PACKAGE}{EDITION}keywords = [\n\"k\",\n]\n{MICRO_SMOL}"),
            ),
            (
                "[profile.release]\nlto = true\n",
                format!("[profile.release]\nlto = true\n{PACKAGE}{EDITION}{MICRO_SMOL}"),
            ),
            ("dependencies.micro-smol = \"1\"\n", format!("dependencies.micro-smol = \"1\"\n{PACKAGE}{EDITION}")),
            (
                "[dependencies]\nmicro-smol.path = 'b'\n",
                format!("[dependencies]\nmicro-smol.path = \"/a/b\"\n{PACKAGE}{EDITION}"),
            ),
            ("[dependencies.micro-smol]\n", format!("[dependencies.micro-smol]\n{PACKAGE}{EDITION}")),
        ];
        for (frontmatter, expected) in cases {
            assert_eq!(completed(frontmatter), Ok(expected), "{frontmatter:?}");
        }
    }

    #[test]
    fn keys_that_a_package_needs_for_itself_are_refused() {
        let cases = [
            ("\n[lib]\n", (2, "lib")),
            ("[[bin]]\n", (1, "bin")),
            ("[ workspace ] # w\n", (1, "workspace")),
            ("[workspace.dependencies]\n", (1, "workspace.dependencies")),
            ("lib.path = \"b\"\n", (1, "lib.path")),
            ("[package]\nversion = \"1.0.0\"\n\"name\" = \"b\"\n", (3, "package.name")),
            ("[[test]]\n", (1, "test")),
            ("[package]\nbuild = \"b.rs\"\n", (2, "package.build")),
            ("package.autobins = true\n", (1, "package.autobins")),
        ];
        for (frontmatter, (line, key)) in cases {
            let fault = format!("`{key}` belongs to the package that micro-smol makes of the file: remove it");
            assert_eq!(completed(frontmatter), Err((line, fault)), "{frontmatter:?}");
        }
    }

    #[test]
    fn paths_are_relative_to_the_file() {
        let cases = [
            (r#"b = { path = "b" }"#, Some(r#"b = { path = "/a/b" }"#)),
            (
                r#"b = { version = "1", path="../b", features = ["path"] }"#,
                Some(r#"b = { version = "1", path = "/a/../b", features = ["path"] }"#),
            ),
            ("path = 'b'", Some(r#"path = "/a/b""#)),
            (r#"b.path = "/b""#, Some(r#"b.path = "/b""#)),
            (r#"b = { features = ["path"] }"#, None),
            (r#"subpath = "b""#, None),
            ("path = 1", None),
            (r#"path = "b"#, None),
        ];
        for (line, expected) in cases {
            assert_eq!(with_place(line, |path| Path::new("/a").join(path)).as_deref(), expected, "{line}");
        }
    }

    #[test]
    fn a_lock_file_has_the_package_in_its_place() {
        let block = |name: &str| format!("[[package]]\nname = \"{name}\"\n");
        let seed = format!("version = 4\n\n{}\n{}", block("b"), block("d"));
        let package =
            |name: &str| format!("{}version = \"0.0.0\"\ndependencies = [\n \"micro-smol\",\n]\n", block(name));
        let cases = [
            ("a", format!("version = 4\n\n{}\n{}\n{}", package("a"), block("b"), block("d"))),
            ("c", format!("version = 4\n\n{}\n{}\n{}", block("b"), package("c"), block("d"))),
            ("e", format!("version = 4\n\n{}\n{}\n{}", block("b"), block("d"), package("e"))),
        ];
        for (name, expected) in cases {
            assert_eq!(locked(&seed, name, "[dependencies.micro-smol]\n"), expected);
        }
    }
}
