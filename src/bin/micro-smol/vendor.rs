//! The library's own source, carried inside this program: a file needs neither a registry nor a checkout to be served.

use std::fs;
use std::path::{Path, PathBuf};

use lexopt::Parser;
use micro_smol::cli::{Outcome, print_text};

use super::arguments::Arguments;
use super::cache;
use super::manifest::dependency;

/// The versions of the dependencies that this program was tested with.
pub const LOCK: &str = include_str!("../../../Cargo.lock");

const MANIFEST: &str = include_str!("../../../Cargo.toml");

const LICENSE: &str = include_str!("../../../LICENSE");

/// How the source is formatted, whatever a host likes.
const RUSTFMT: &str = include_str!("../../../rustfmt.toml");

const FILES: &[(&str, &str)] = &[
    ("src/cli.rs", include_str!("../../cli.rs")),
    ("src/cli/healthcheck.rs", include_str!("../../cli/healthcheck.rs")),
    ("src/connection.rs", include_str!("../../connection.rs")),
    ("src/connection/pipe.rs", include_str!("../../connection/pipe.rs")),
    ("src/connection/registry.rs", include_str!("../../connection/registry.rs")),
    ("src/connection/transport.rs", include_str!("../../connection/transport.rs")),
    ("src/connection/upgraded.rs", include_str!("../../connection/upgraded.rs")),
    ("src/content.rs", include_str!("../../content.rs")),
    ("src/error.rs", include_str!("../../error.rs")),
    ("src/handler.rs", include_str!("../../handler.rs")),
    ("src/http1.rs", include_str!("../../http1.rs")),
    ("src/http1/decoder.rs", include_str!("../../http1/decoder.rs")),
    ("src/http1/encoder.rs", include_str!("../../http1/encoder.rs")),
    ("src/http1/fields.rs", include_str!("../../http1/fields.rs")),
    ("src/http1/framing.rs", include_str!("../../http1/framing.rs")),
    ("src/http1/head.rs", include_str!("../../http1/head.rs")),
    ("src/http1/memory.rs", include_str!("../../http1/memory.rs")),
    ("src/http1/syntax.rs", include_str!("../../http1/syntax.rs")),
    ("src/into_response.rs", include_str!("../../into_response.rs")),
    ("src/lib.rs", include_str!("../../lib.rs")),
    ("src/limits.rs", include_str!("../../limits.rs")),
    ("src/log.rs", include_str!("../../log.rs")),
    ("src/payload.rs", include_str!("../../payload.rs")),
    ("src/request.rs", include_str!("../../request.rs")),
    ("src/response.rs", include_str!("../../response.rs")),
    ("src/server.rs", include_str!("../../server.rs")),
    ("src/server/endpoint.rs", include_str!("../../server/endpoint.rs")),
    ("src/server/listener.rs", include_str!("../../server/listener.rs")),
    ("src/server/reactor.rs", include_str!("../../server/reactor.rs")),
    ("src/server/reactor/async_io.rs", include_str!("../../server/reactor/async_io.rs")),
    ("src/server/reactor/epoll.rs", include_str!("../../server/reactor/epoll.rs")),
    ("src/server/socket.rs", include_str!("../../server/socket.rs")),
    ("src/server/turn.rs", include_str!("../../server/turn.rs")),
    ("src/server/worker.rs", include_str!("../../server/worker.rs")),
    ("src/upgrade.rs", include_str!("../../upgrade.rs")),
];

/// Files, each with its path and what is in it.
pub type Files = Vec<(PathBuf, Vec<u8>)>;

/// Unpacks the library into the cache, where it is not there yet, and says where.
pub fn unpack(cache: &Path) -> Result<PathBuf, String> {
    let files = package();
    let library = cache.join(format!("library-{}", cache::key(&files)));
    files.iter().try_for_each(|(path, content)| cache::write(&library.join(path), content))?;
    cache::touch(&library);
    Ok(library)
}

/// What a copy is a copy of.
const ORIGIN: &str = concat!("micro-smol ", env!("CARGO_PKG_VERSION"), " (https://docs.rs/micro-smol), vendored");

/// `vendor [--module] [--force] DIRECTORY`: copies the library there, and prints what a manifest needs for it.
pub fn vendor(parser: Parser) -> Outcome {
    let arguments = Arguments::new(1, &["module", "force"]).read(parser)?;
    let [directory] = arguments.all(["DIRECTORY"])?;
    let (files, dependencies) = match arguments.has("--module") {
        true => (module(), table("dependencies").to_owned() + "\n"),
        false => (package(), dependency("micro-smol", "path", directory)),
    };
    write(directory, &files, arguments.has("--force"))?;
    print_text(&format!("# {ORIGIN}\n{dependencies}"))
}

/// The library as a package: its source, its licence and as much of its manifest as that needs.
pub fn package() -> Files {
    let keys = ["[package]", "name", "version", "edition", "rust-version", "description", "license"];
    let is_needed = |line: &&str| keys.iter().any(|key| line.starts_with(key));
    let lines: Vec<&str> = table("package").lines().filter(is_needed).collect();
    let manifest = format!("{}\n\n{}\n", lines.join("\n"), table("dependencies"));
    let source = FILES.iter().map(|(name, text)| (*name, with_origin(without_readme(text))));
    let others = [("Cargo.toml", manifest), ("LICENSE", LICENSE.to_owned()), ("rustfmt.toml", RUSTFMT.to_owned())];
    files(source.chain(others))
}

/// The library as a module of another crate, which does not use all of it.
fn module() -> Files {
    const ATTRIBUTES: &str = "#![allow(dead_code, unused_imports, reason = \"vendored as a whole\")]
#![cfg_attr(rustfmt, rustfmt::skip)]
#![forbid";
    let version = format!("{:?}", env!("CARGO_PKG_VERSION"));
    let edit = |(name, text): &(&'static str, &str)| {
        let text = with_origin(&without_doctests(without_readme(text))).replacen("#![forbid", ATTRIBUTES, 1);
        let name = if *name == "src/lib.rs" { "mod.rs" } else { name.trim_start_matches("src/") };
        (name, text.replace("env!(\"CARGO_PKG_VERSION\")", &version))
    };
    files(FILES.iter().map(edit).chain([("LICENSE", LICENSE.to_owned())]))
}

/// The text of a file; that of the root says what the library is a copy of.
fn with_origin(text: &str) -> String {
    if text.contains("#![forbid") { format!("// {ORIGIN}\n{text}") } else { text.to_owned() }
}

/// Takes texts for files.
pub fn files<'a>(texts: impl Iterator<Item = (&'a str, impl AsRef<str>)>) -> Files {
    texts.map(|(path, text)| (path.into(), text.as_ref().into())).collect()
}

/// A table of the manifest, with its name, and without a blank line.
fn table(name: &str) -> &'static str {
    let has_name = |table: &&str| table.strip_prefix('[').is_some_and(|rest| rest.starts_with(&format!("{name}]")));
    MANIFEST.split("\n\n").find(has_name).unwrap_or_default()
}

/// The README, whose examples are tested with the library's, stays in the repository.
fn without_readme(text: &str) -> &str {
    text.split("\n#[cfg(doctest)]").next().unwrap_or_default()
}

/// The examples, each behind an empty line, name a crate `micro_smol`, which they are no longer in.
fn without_doctests(text: &str) -> String {
    ["///", "    ///", "//!"].iter().fold(text.to_owned(), |text, comment| {
        let start = format!("\n{comment}\n{comment} ```");
        text.replace(&start, &format!("{start}ignore,"))
    })
}

/// Writes all files below a directory, where nothing else may be, nor a file that differs, unless `is_forced`.
pub fn write(directory: &Path, files: &Files, is_forced: bool) -> Result<(), String> {
    let differs = |(path, content): &(PathBuf, Vec<u8>)| {
        Some(directory.join(path)).filter(|path| fs::read(path).is_ok_and(|old| old != *content))
    };
    let is_other = |path: &PathBuf| {
        !files.iter().any(|(file, _)| path.starts_with(directory.join(file.iter().next().unwrap_or_default())))
    };
    let there = || fs::read_dir(directory).into_iter().flatten().flatten().map(|entry| entry.path());
    if is_forced {
    } else if let Some(path) = files.iter().find_map(differs) {
        return Err(format!("{} is there, and differs: --force overwrites it", path.display()));
    } else if let Some(path) = there().filter(is_other).min() {
        return Err(format!(
            "{} is there: name an empty directory, or give --force to write beside it",
            path.display()
        ));
    }
    for (path, content) in files {
        let path = directory.join(path);
        let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&path, content));
        written.map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    /// The paths of the library's files below `directory`, which is `name` in the list.
    fn source_files(directory: &Path, name: &str) -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let files = entries.map(|entry| (entry.path(), format!("{name}/{}", entry.file_name().display())));
        files
            .filter(|(_, name)| name != "src/bin")
            .flat_map(|(path, name)| if path.is_dir() { source_files(&path, &name) } else { vec![name] })
            .collect()
    }

    #[test]
    fn every_file_of_the_library_is_carried() {
        let mut expected = source_files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("src"), "src");
        expected.sort();
        assert_eq!(FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected);
    }
}
