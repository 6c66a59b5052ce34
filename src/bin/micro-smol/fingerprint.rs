//! What an executable was made of: files, and when they were changed.

use std::collections::{BTreeMap, BTreeSet};
use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use micro_smol::serde_json;

use super::cache;

/// Files that tell cargo what to do, wherever they stand above a source file.
const SETTINGS: [&str; 6] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", ".cargo/config", "rust-toolchain.toml", "rust-toolchain"];

/// When each file was changed; nothing where there is none.
pub type Fingerprint = BTreeMap<PathBuf, Option<SystemTime>>;

/// An executable, and what it was made of.
pub type Build = (PathBuf, Fingerprint);

/// Reads what was written down about a build.
pub fn read(record: &Path) -> Option<Build> {
    serde_json::from_slice(&fs::read(record).ok()?).ok()
}

pub fn are_unchanged(inputs: &Fingerprint) -> bool {
    inputs.iter().all(|(path, time)| changed(path) == *time)
}

/// The files to watch after a failed build: the sources of the last build, and the code beside them.
pub fn watch_set(known: Option<Build>, entry: &Path) -> Fingerprint {
    let (program, known) = known.unwrap_or_default();
    let is_setting = |path: &Path| SETTINGS.iter().any(|name| path.ends_with(name));
    let mut paths: BTreeSet<PathBuf> = known.into_keys().filter(|path| *path != program && !is_setting(path)).collect();
    paths.insert(entry.to_owned());
    // Twice: a module may be in a directory of its own.
    for _ in 0..2 {
        let directories: Vec<PathBuf> = paths.iter().filter_map(|path| code_directory(path)).collect();
        let beside = directories.iter().flat_map(fs::read_dir).flatten().flatten().map(|entry| entry.path());
        let code: Vec<PathBuf> = beside.filter(|path| code_directory(path).is_some()).collect();
        paths.extend(directories.into_iter().chain(code));
    }
    with_times(with_settings(paths))
}

/// The directory of a source file, or a directory that may have code. `None` if it is hidden or the target directory of cargo.
fn code_directory(path: &Path) -> Option<PathBuf> {
    let name = path.file_name()?.to_string_lossy();
    match path.extension() {
        Some(extension) if extension == "rs" => path.parent().map(Path::to_owned),
        None if path.is_dir() && name != cache::TARGET && !name.starts_with('.') => Some(path.to_owned()),
        _ => None,
    }
}

/// The files of which an executable was made, as rustc has listed them, in the first line.
pub fn listed(program: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(program.with_extension("d")).unwrap_or_default().replace("\\ ", "\0");
    let line = list.lines().next().unwrap_or_default();
    let files = line.split_once(": ").map_or("", |(_, files)| files).split_whitespace();
    files.map(|file| file.replace('\0', " ").into()).collect()
}

/// The files that an executable was built from, and the settings files of cargo.
pub fn of(program: &Path, entry: &Path, sources: Vec<PathBuf>) -> Fingerprint {
    let paths = sources.into_iter().chain([entry.to_owned()]).collect();
    // Another version of this program may generate another package.
    with_times(with_settings(paths).into_iter().chain([program.to_owned()]).chain(env::current_exe()))
}

fn with_settings(mut paths: BTreeSet<PathBuf>) -> BTreeSet<PathBuf> {
    let above = paths.iter().flat_map(|path| path.ancestors().skip(usize::from(path.is_file())));
    let directories: BTreeSet<PathBuf> = above.map(Path::to_owned).collect();
    let settings: Vec<PathBuf> = directories.iter().flat_map(|path| SETTINGS.map(|name| path.join(name))).collect();
    paths.extend(settings);
    paths
}

/// Files, each with the time of its change.
pub fn with_times(paths: impl IntoIterator<Item = PathBuf>) -> Fingerprint {
    paths.into_iter().map(|path| (changed(&path), path)).map(|(time, path)| (path, time)).collect()
}

fn changed(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).and_then(|metadata| metadata.modified()).ok()
}
