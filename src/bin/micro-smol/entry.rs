//! What is to be served: one file, or a package.

use std::fs;
use std::path::{Path, PathBuf};

use micro_smol::serde_json::Value;

use super::arguments::nearest;
use super::frontmatter::{HANDLER, RustFile, refusal};
use super::manifest::{dependency, quoted};
use super::{cache, cargo, vendor};

/// What a package is generated for, and with what.
#[derive(Clone)]
pub struct Entry {
    /// The file, or the package's directory.
    pub path: PathBuf,
    /// The file that is compiled; it exists only in name where a package's library has the handler.
    pub file: PathBuf,
    pub source: RustFile,
    /// What is to be its `main`, if it has none: the file that has the handler, and a call in the same line and column.
    pub call: Option<(PathBuf, String)>,
    /// The tables of a manifest that name micro-smol and, of a package, its library.
    pub dependencies: String,
    /// The lock file to start from.
    pub lock: String,
    pub target_directory: PathBuf,
}

/// Finds the file or directory that the command line names.
pub fn locate(named: &Path) -> Result<PathBuf, String> {
    let advice = || match meant(named) {
        Some(file) => format!("did you mean {file}?"),
        None => "name a FILE.rs or a directory; more: micro-smol explain entry-not-existent".to_owned(),
    };
    named.canonicalize().map_err(|error| format!("cannot serve {}: {error}; {}", named.display(), advice()))
}

/// The Rust file that was probably meant: one with a similar name, or the only one in the directory.
fn meant(named: &Path) -> Option<String> {
    let directory = named.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new("."));
    let names = fs::read_dir(directory).ok()?.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    let name = named.file_name()?.to_string_lossy();
    let is_file = |other: &String| other.ends_with(".rs") && directory.join(other).is_file();
    let files: Vec<String> = names.filter(is_file).collect();
    let only = || files.first().filter(|_| files.len() == 1);
    let file = nearest(&name, &files).or_else(only)?;
    Some(named.with_file_name(file).display().to_string())
}

impl Entry {
    /// Finds what is to be served: a file, or in a directory.
    pub fn find(path: &Path) -> Result<Self, String> {
        let index = path.join("index.rs");
        if !path.is_dir() {
            Entry::of_file(path.to_owned())
        } else if path.join("Cargo.toml").exists() {
            Entry::of_package(path.to_owned())
        } else if index.exists() {
            Entry::of_file(index)
        } else {
            let file = meant(&index).unwrap_or("hello.rs".to_owned());
            let advice = format!("name a file, such as {file}; more: micro-smol explain entry-missing");
            Err(format!("there is neither Cargo.toml nor index.rs in {}: {advice}", path.display()))
        }
    }

    fn of_file(file: PathBuf) -> Result<Self, String> {
        let name = file.display();
        if file.extension().is_none_or(|extension| extension != "rs") {
            return Err(format!(
                "cannot serve {name}: it is no Rust file; name a FILE.rs or a directory; more: micro-smol explain entry-not-rust"
            ));
        }
        let bytes = fs::read(&file).map_err(|error| format!("cannot read {name}: {error}"))?;
        let text = String::from_utf8(bytes).map_err(|error| {
            let (valid, _) = error.as_bytes().split_at(error.utf8_error().valid_up_to());
            format!("{name}:{}: this is not UTF-8", 1 + valid.iter().filter(|byte| **byte == b'\n').count())
        })?;
        let source = RustFile::split(&text).map_err(|fault| refusal(&file, fault))?;
        let (has_main, blank) = (source.has_main(), source.blank_before_handler());
        if !has_main && blank.is_none() {
            return Err(no_handler(&file, &source));
        }
        let call = blank.filter(|_| !has_main).map(|blank| (file.clone(), call(&blank, "handler", "handler-type")));
        Entry::new(file, source, call)
    }

    fn of_package(path: PathBuf) -> Result<Self, String> {
        let manifest = path.join("Cargo.toml");
        let wrong = |what: &str| format!("{}: {what}; more: micro-smol explain manifest-invalid", manifest.display());
        let metadata = cargo::metadata(&manifest, &manifest, ["--no-deps"])?
            .map_err(|said| cargo::unreadable(manifest.display(), &said))?;
        let package =
            list(&metadata["packages"]).find(|package| Path::new(text(&package["manifest_path"])) == manifest);
        let package = package.ok_or_else(|| wrong("this is a workspace: name the directory of a member"))?;
        let mut entry = match (package["metadata"]["micro-smol"]["main"].as_str(), library(package)) {
            (Some(main), _) => Entry::of_file(path.join(main))?,
            (None, Some(library)) => {
                Entry::new(path.join("(generated).rs"), RustFile::default(), Some(call_of_library(library)?))?
            }
            (None, None) => {
                return Err(wrong(
                    "no library could export a handler: add src/lib.rs, or name its program: [package.metadata.micro-smol] main = \"src/main.rs\"",
                ));
            }
        };
        entry.dependencies = dependencies(package, &path).map_err(|fault| wrong(&fault))?;
        let lock = fs::read_to_string(Path::new(text(&metadata["workspace_root"])).join("Cargo.lock"));
        entry.lock = lock.unwrap_or(entry.lock);
        if package["name"] == "micro-smol" {
            // Its own checkout, where the dependencies are compiled already.
            entry.target_directory = text(&metadata["target_directory"]).into();
        }
        Ok(Entry { path, ..entry })
    }

    /// With the library and the lock file that this program carries.
    fn new(file: PathBuf, source: RustFile, call: Option<(PathBuf, String)>) -> Result<Self, String> {
        let cache = cache::directory();
        let dependencies = dependency("micro-smol", "path", vendor::unpack(&cache)?);
        let (lock, target_directory) = (vendor::LOCK.to_owned(), cache.join("target"));
        Ok(Entry { path: file.clone(), file, source, call, dependencies, lock, target_directory })
    }

    /// Whether rustc speaks of the line that stands behind a file's own.
    pub fn is_behind(&self, message: &Value) -> bool {
        let end = self.source.code.trim_end().lines().count() as u64;
        let is_behind = |span: &Value| {
            Path::new(text(&span["file_name"])) == self.path && span["line_end"].as_u64().is_some_and(|line| line > end)
        };
        self.call.is_some() && list(&message["message"]["spans"]).any(is_behind)
    }

    pub fn directory(&self) -> &Path {
        self.file.parent().unwrap_or(&self.file)
    }
}

/// A package's library.
fn library(package: &Value) -> Option<&Value> {
    let is_library = |target: &&Value| list(&target["crate_types"]).any(|kind| matches!(text(kind), "lib" | "rlib"));
    list(&package["targets"]).find(is_library)
}

/// What serves a library's handler, where the library seems to have it.
fn call_of_library(library: &Value) -> Result<(PathBuf, String), String> {
    let file = PathBuf::from(text(&library["src_path"]));
    let source = fs::read_to_string(&file).ok().and_then(|text| RustFile::split(&text).ok()).unwrap_or_default();
    let blank = source.blank_before_handler();
    if blank.is_none() && source.functions().any(|function| function == "handler") {
        return Err(no_handler(&file, &source));
    }
    let (handler, page) =
        (format!("{}::handler", text(&library["name"])), if blank.is_some() { "handler-type" } else { "no-handler" });
    Ok((file, call(&blank.unwrap_or_default(), &handler, page)))
}

/// Says that a file exports no handler, and what to do.
fn no_handler(file: &Path, source: &RustFile) -> String {
    let advice = match nearest("handler", source.functions().filter(|function| *function != "handler")) {
        _ if source.functions().any(|function| function == "handler") => "make it `pub async fn handler`".to_owned(),
        Some(near) => format!("did you mean `{near}`? Its name has to be `handler`"),
        None => format!("add {HANDLER}"),
    };
    format!("{} exports no handler: {advice}; more: micro-smol explain no-handler", file.display())
}

/// Names the micro-smol of a package, and the package's library.
fn dependencies(package: &Value, path: &Path) -> Result<String, String> {
    let itself = dependency(text(&package["name"]), "path", path);
    if package["name"] == "micro-smol" {
        return Ok(itself);
    }
    let micro_smol = list(&package["dependencies"])
        .find(|dependency| dependency["name"] == "micro-smol")
        .ok_or("it does not name micro-smol: add what `micro-smol vendor vendor/micro-smol` prints")?;
    let micro_smol = match (micro_smol["path"].as_str(), text(&micro_smol["source"]).strip_prefix("git+")) {
        (Some(path), _) => dependency("micro-smol", "path", path),
        (None, None) => version_dependency(text(&micro_smol["req"]))?,
        (None, Some(url)) => git_dependency(url),
    };
    Ok(micro_smol + if library(package).is_some() { &itself } else { "" })
}

/// A dependency by version. The requirement of another minor version is refused, because its options may differ.
fn version_dependency(requirement: &str) -> Result<String, String> {
    const OURS: &str = concat!(env!("CARGO_PKG_VERSION_MAJOR"), ".", env!("CARGO_PKG_VERSION_MINOR"));
    let wanted = requirement.trim_start_matches(['^', '=', '~', '>', ' ']);
    if wanted == "*" || format!("{wanted}.").starts_with(&format!("{OURS}.")) {
        return Ok(dependency("micro-smol", "version", requirement));
    }
    Err(format!("it wants micro-smol {requirement}, but this command serves {OURS}: install the one that it wants"))
}

/// From `url` or `url?branch=name`, as cargo tells it.
fn git_dependency(url: &str) -> String {
    let (url, reference) = url.split_once('?').unwrap_or((url, ""));
    let reference = reference.split_once('=').map(|(kind, name)| format!("{kind} = {}\n", quoted(name)));
    dependency("micro-smol", "git", url) + &reference.unwrap_or_default()
}

/// A call that serves the handler, after as much blank space as precedes the handler's name. Its comment names a page for readers
/// of rustc's message.
fn call(blank: &str, handler: &str, page: &str) -> String {
    const RUN: &str = "run(";
    let blank = blank.strip_suffix(&" ".repeat(RUN.len())).unwrap_or(blank);
    format!("{blank}{RUN}{handler}) // micro-smol explain {page}\n")
}

pub fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

pub fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use micro_smol::serde_json::json;

    #[test]
    fn the_micro_smol_of_a_package_is_repeated() {
        let git =
            |query: &str| json!({ "name": "micro-smol", "source": format!("git+https://a/b{query}"), "req": "*" });
        let cases = [
            (json!({ "name": "micro-smol", "path": "/m", "req": "*" }), "path = \"/m\"\n"),
            (json!({ "name": "micro-smol", "req": "^0.1" }), "version = \"^0.1\"\n"),
            (json!({ "name": "micro-smol", "req": ">=0.1.0, <0.3" }), "version = \">=0.1.0, <0.3\"\n"),
            (json!({ "name": "micro-smol", "req": "*" }), "version = \"*\"\n"),
            (git(""), "git = \"https://a/b\"\n"),
            (git("?branch=next"), "git = \"https://a/b\"\nbranch = \"next\"\n"),
            (git("?tag=v1"), "git = \"https://a/b\"\ntag = \"v1\"\n"),
            (git("?rev=0a1b"), "git = \"https://a/b\"\nrev = \"0a1b\"\n"),
        ];
        for (micro_smol, expected) in cases {
            let package = json!({ "name": "shop", "dependencies": [micro_smol], "targets": [] });
            assert_eq!(dependencies(&package, Path::new("/")), Ok(format!("[dependencies.micro-smol]\n{expected}")));
        }
        for requirement in ["^0.2", "0.10", "^1", "=0.0.1"] {
            let fault = version_dependency(requirement).err().unwrap_or_default();
            assert!(fault.starts_with(&format!("it wants micro-smol {requirement}, but this command serves 0.1: ")));
        }
    }
}
