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

use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::cache;
use super::entry::Entry;
use super::frontmatter::refusal;
use super::manifest::{complete, keys, locked, quoted};

/// The directory that stands for `/`. Its name is unusual because it is replaced in rustc's messages.
const COPY: &str = "micro-smol-copy";

/// The directory that stands for `/` for the call that serves. It is another one, because rustc takes two files of one name for
/// one file.
const CALL: &str = "micro-smol-call";

/// Options of rustc. Nobody else uses a service's types: they need not be public because the handler is.
pub const RUSTC: [&str; 3] = ["-Aprivate_interfaces", "--remap-path-prefix", "micro-smol-copy=/"];

/// What cargo and rustc say, with the user's files in place of ours; nothing of the line in which cargo counts errors or warnings.
pub fn with_users_files(message: &str, package: &Path, file: &Path) -> String {
    let name = package.file_name().unwrap_or_default().display();
    if message.contains(&format!("`{name}` (bin ")) {
        return String::new();
    }
    // As it is in JSON.
    let (ours, quoted) = (package.display(), quoted(file));
    let file = &quoted[1..quoted.len() - 1];
    let names = [
        (format!("{name} v0.0.0 ({ours})"), file),
        (format!("`{name}`"), &format!("`{file}`")),
        (format!("{ours}/Cargo.toml"), file),
        (format!("{ours}/{CALL}/"), "/"),
        (format!("{ours}/{COPY}/"), "/"),
        (format!("{COPY}/"), "/"),
    ];
    names.iter().fold(message.to_owned(), |text, (ours, users)| text.replace(ours, users))
}

/// Writes the package of an entry.
pub fn generate(entry: &Entry, package: &Path) -> Result<(), String> {
    let name = package.file_name().unwrap_or_default().to_string_lossy();
    let place = |path: &Path| entry.directory().join(path);
    let completed = complete(&entry.source.manifest, place, &name, &entry.dependencies);
    let (frontmatter, manifest) = completed.map_err(|fault| refusal(&entry.file, fault))?;
    let root = copy(Path::new(""), &entry.file);
    let bin = format!("[[bin]]\nname = {name:?}\npath = {}\n[workspace]\n", quoted(&root));
    // Line tables take half the space, and a backtrace needs no more.
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

/// The code, with one more line for a `main` if it has none.
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

/// A readable name that is unique to the path, because all packages share a target directory.
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
