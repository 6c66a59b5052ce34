//! `eject`: makes a package of a file that has outgrown being one.
//!
//! What moves along is what rustc has read: so modules are found as it finds them, and what `include_str!` takes in, too.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{self, Path, PathBuf};

use lexopt::Parser;
use micro_smol::cli::{Outcome, print_text};

use super::arguments::Arguments;
use super::build::BuildRequest;
use super::entry::Entry;
use super::frontmatter::refusal;
use super::manifest::{complete, dependency, locked};
use super::vendor::{self, Files};

/// Where the package has the library.
const LIBRARY: &str = "micro-smol";

/// Types that only the handler uses are private in a file, and need not be public because it is.
const LINTS: &str = "[lints.rust]\nprivate_interfaces = \"allow\"\n";

const MAIN: &str = "\n\nfn main() -> std::process::ExitCode {\n    micro_smol::run(handler)\n}\n";

/// `eject [options] [--force] ENTRY DIRECTORY`
pub fn eject(parser: Parser) -> Outcome {
    let arguments = Arguments::new(2, &["debug", "offline", "locked", "force"]).read(parser)?;
    let [_, directory] = arguments.all(["ENTRY", "DIRECTORY"])?;
    if directory.is_file() {
        return Err(format!("{} is a file: name a directory for the package", directory.display()).into());
    }
    let request = BuildRequest::new(&arguments)?;
    let entry = Entry::find(&request.path)?;
    if entry.path != entry.file {
        return Err(format!("{} is a package already", entry.path.display()).into());
    }
    let mut files = generated(&entry, &real(directory)?)?;
    let (program, _) = request.build()?;
    for file in request.sources(&program).into_iter().filter(|file| *file != entry.file).flat_map(fs::canonicalize) {
        files.extend(moved(&file, entry.directory())?);
    }
    vendor::write(directory, &files, arguments.has("--force"))?;
    print_text(&format!("{} is a package: start it there with `cargo run`\n", directory.display()))
}

/// The path without links of a directory that need not exist.
fn real(directory: &Path) -> io::Result<PathBuf> {
    let path = path::absolute(directory)?;
    let real = path.ancestors().find_map(|above| Some(above.canonicalize().ok()?.join(path.strip_prefix(above).ok()?)));
    Ok(real.unwrap_or(path.clone()))
}

/// How a path is written in a package that stands elsewhere: as it was, if it was absolute.
fn moved_path(path: &Path, from: &Path, to: &Path) -> PathBuf {
    let target = from.join(path);
    let target = target.canonicalize().unwrap_or(target);
    let shared = target.iter().zip(to).take_while(|(one, other)| one == other).count();
    let up = to.iter().skip(shared).map(|_| OsStr::new(".."));
    if path.is_absolute() { path.to_owned() } else { up.chain(target.iter().skip(shared)).collect() }
}

/// What the package has that was no file before: the manifest, the root, and the library unless it names another.
fn generated(entry: &Entry, directory: &Path) -> Result<Files, String> {
    let source = &entry.source;
    let name = &directory.file_name().unwrap_or_default().to_string_lossy();
    let place = |path: &Path| moved_path(path, entry.directory(), directory);
    let completed = complete(&source.manifest, place, name, &dependency("micro-smol", "path", LIBRARY));
    let (frontmatter, package) = completed.map_err(|fault| refusal(&entry.file, fault))?;
    let mut library = Files::new();
    if package.contains("[dependencies.micro-smol]") {
        library.extend(vendor::package().into_iter().map(|(path, text)| (Path::new(LIBRARY).join(path), text)));
    }
    let is_program = entry.call.is_none();
    let code = source.code.trim().to_owned() + if is_program { "\n" } else { MAIN };
    let lints = if is_program || frontmatter.contains("lints") { "" } else { LINTS };
    let manifest = (package + lints).replace("\n[", "\n\n[");
    // What is in no table must not come to be in one.
    let in_order = match frontmatter.trim() {
        tables if tables.starts_with('[') => [&manifest, "\n", tables, "\n"].concat(),
        keys => [keys, "\n\n", &manifest].concat(),
    };
    let lock = locked(&entry.lock, name, &manifest);
    let texts = [
        ("Cargo.toml", in_order.trim_start()),
        ("Cargo.lock", &lock),
        ("src/main.rs", &code),
        (".gitignore", "/target\n"),
    ];
    Ok([vendor::files(texts.into_iter()), library].concat())
}

/// A file that the code was made of, unless it belongs to a package, as do the library, dependencies and our copy.
fn moved(file: &Path, directory: &Path) -> Result<Option<(PathBuf, Vec<u8>)>, String> {
    // The code may say `include_str!("../data.txt")`.
    let places = [(directory, "src"), (directory.parent().unwrap_or(directory), "")];
    let Some((base, place)) = places.into_iter().find(|(base, _)| file.starts_with(base)) else { return Ok(None) };
    let mut within = file.ancestors().skip(1).take_while(|above| *above != base);
    if within.any(|above| above.join("Cargo.toml").exists()) {
        return Ok(None);
    }
    let content = fs::read(file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
    Ok(Some((Path::new(place).join(file.strip_prefix(base).unwrap_or(file)), content)))
}
