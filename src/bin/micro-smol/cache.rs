//! Where generated packages and compiled code are kept, how they are written, and how they go.

use std::collections::BTreeSet;
use std::env;
use std::fs::{self, File, Metadata};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, OFlags, flock, statvfs};

use super::terminal;

/// What has not been used for so long is removed.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A disk with less room than this is full.
const FULL_BYTES: u64 = 1 << 20;

const LOCK: &str = "lock";

/// Where compiled code is, below the cache.
pub const TARGET: &str = "target";

/// How deep cargo puts what belongs to a package: `target/TRIPLE/release/deps`.
const TARGET_DEPTH: usize = 3;

/// The directory of the cache.
pub fn directory() -> PathBuf {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    // Without a home directory, the first write fails and reports it.
    let default = || env::home_dir().unwrap_or_else(|| "/".into()).join(".cache");
    named.unwrap_or_else(default).join("micro-smol")
}

/// Writes a file unless it is the same already, so that cargo sees real changes only.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == content.as_ref()) {
        return Ok(());
    }
    // It is written to another file and renamed: no reader sees half a file, and a link to a user's file is replaced, not
    // followed.
    let unfinished = directory().join(format!("unfinished-{}", process::id()));
    let written = || {
        path.parent().map_or(Ok(()), fs::create_dir_all)?;
        // It may be left from a process of the same number, or be a link that somebody has put there.
        let _ = fs::remove_file(&unfinished);
        File::create_new(&unfinished)?.write_all(content.as_ref())?;
        fs::rename(&unfinished, path)
    };
    written().map_err(|error| refused(path, &error))
}

/// Says that the cache cannot be changed.
pub fn refused(path: &Path, error: &io::Error) -> String {
    format!(
        "cannot write {}: {error}; XDG_CACHE_HOME says where the cache is; more: micro-smol explain cache-not-writable",
        path.display()
    )
}

/// Says that the disk of a directory is full, if it is.
pub fn full(directory: &Path) -> Option<String> {
    let disk = statvfs(directory).ok()?;
    let is_full = disk.f_bavail.saturating_mul(disk.f_frsize) < FULL_BYTES;
    is_full.then(|| refused(directory, &io::ErrorKind::StorageFull.into()))
}

/// A short name for a value, the same in every run.
pub fn key(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() >> 32)
}

/// Locks the cache until the file is dropped. Other processes wait, and print `purpose`.
pub fn lock(purpose: &str) -> Result<File, String> {
    let path = directory().join(LOCK);
    let locked = || {
        fs::create_dir_all(directory())?;
        let no_link = OFlags::NOFOLLOW.bits().cast_signed();
        let mut file = File::options().create(true).read(true).append(true).custom_flags(no_link).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let purpose = fs::read_to_string(&path)?;
            let purpose = if purpose.is_empty() { "busy" } else { &purpose };
            terminal::say(format_args!("waiting for another that is {purpose}"));
            flock(&file, FlockOperation::LockExclusive)?;
        }
        file.set_len(0)?;
        file.write_all(purpose.as_bytes())?;
        Ok(file)
    };
    locked().map_err(|error| refused(&path, &error))
}

/// Notes that what is in a directory of the cache is in use.
pub fn touch(directory: &Path) {
    // Where it cannot be noted, nothing can be removed either.
    let _ = File::open(directory).and_then(|directory| directory.set_modified(SystemTime::now()));
}

/// Removes what has not been used for long, with what was compiled for it.
pub fn remove_unused() -> Result<(), String> {
    let unused = entries().into_iter().filter(|entry| unused_for(entry) > UNUSED);
    unused.flat_map(|entry| parts(&entry)).try_for_each(|path| remove(&path))
}

/// A line for each package: its name, its size, and when it was used; and one for what they share.
pub fn list() -> String {
    let packages = entries().into_iter().filter(|entry| entry.join("Cargo.toml").exists());
    let packages: Vec<(PathBuf, Vec<PathBuf>)> = packages.map(|entry| (entry.clone(), parts(&entry))).collect();
    let line = |(entry, parts): &(PathBuf, Vec<PathBuf>)| {
        let days = unused_for(entry).as_secs() / (24 * 60 * 60);
        let name = entry.file_name().unwrap_or_default().display().to_string();
        format!("    {name}: {}, used {days} days ago\n", size(parts))
    };
    let is_shared = |path: &PathBuf| {
        path.is_file() && !packages.iter().flat_map(|(_, parts)| parts).any(|part| path.starts_with(part))
    };
    let shared: Vec<PathBuf> = below(&directory(), usize::MAX).into_iter().filter(is_shared).collect();
    packages.iter().map(line).collect::<String>() + &format!("    compiled for several: {}\n", size(&shared))
}

/// What is in the cache, but for the compiled code.
fn entries() -> Vec<PathBuf> {
    let mut entries = below(&directory(), 0);
    entries.retain(|path| !path.ends_with(TARGET));
    entries.sort();
    entries
}

/// How long ago an entry was used last.
fn unused_for(entry: &Path) -> Duration {
    let modified = entry.symlink_metadata().and_then(|metadata| metadata.modified());
    modified.ok().and_then(|time| time.elapsed().ok()).unwrap_or_default()
}

/// The files that were compiled for an entry, then the entry.
fn parts(entry: &Path) -> Vec<PathBuf> {
    let name = entry.file_name().unwrap_or_default().as_encoded_bytes();
    let is_its_own = |path: &PathBuf| path.file_name().is_some_and(|own| own.as_encoded_bytes().starts_with(name));
    let compiled = below(&directory().join(TARGET), TARGET_DEPTH).into_iter().filter(is_its_own);
    compiled.chain([entry.to_owned()]).collect()
}

/// Removes all but the lock, which others may wait for.
pub fn clear() -> Result<(), String> {
    let _lock = lock("clearing the cache")?;
    below(&directory(), 0).iter().filter(|path| !path.ends_with(LOCK)).try_for_each(|path| remove(path))
}

/// Removes a file, a link, or a directory with all that is in it.
fn remove(path: &Path) -> Result<(), String> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    removed.map_err(|error| refused(path, &error))
}

/// The size of files, and of all that is in directories, for people to read.
pub fn size(paths: &[PathBuf]) -> String {
    let all: BTreeSet<PathBuf> = paths.iter().flat_map(|path| below(path, usize::MAX)).chain(paths.to_vec()).collect();
    let files = all.iter().flat_map(|path| path.symlink_metadata()).filter(Metadata::is_file);
    // Cargo links what it has compiled to a second name.
    let bytes: u64 = files.map(|file| file.size() / file.nlink().max(1)).sum();
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

/// The paths below a directory, `depth` levels down. The content of a directory precedes it.
fn below(directory: &Path, depth: usize) -> Vec<PathBuf> {
    let mut all = Vec::new();
    for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
        if depth > 0 && entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            all.extend(below(&entry.path(), depth - 1));
        }
        all.push(entry.path());
    }
    all
}
