//! Where generated packages and compiled code are kept, how they are written, and how they go.

use std::env;
use std::fs::{self, DirEntry, File};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process;
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock, statvfs};

/// What has not been used for so long is removed.
const UNUSED: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// A disk with less room than this is full.
const FULL_BYTES: u64 = 1 << 20;

const LOCK: &str = "lock";

/// Where compiled code is, below the cache.
pub const TARGET: &str = "target";

/// How deep cargo puts what belongs to a package: `target/TRIPLE/release/deps`.
const TARGET_DEPTH: usize = 3;

/// Finds the directory of the cache.
pub fn directory() -> Result<PathBuf, String> {
    let named = env::var_os("XDG_CACHE_HOME").map(PathBuf::from).filter(|path| path.is_absolute());
    let parent = named.or_else(|| env::home_dir().map(|home| home.join(".cache")));
    parent.map(|parent| parent.join("micro-smol")).ok_or_else(|| {
        "no place for a cache: set XDG_CACHE_HOME; more: micro-smol explain cache-not-writable".to_owned()
    })
}

/// Writes a file unless it is the same already, so that cargo sees real changes only.
pub fn write(path: &Path, content: impl AsRef<[u8]>) -> Result<(), String> {
    if fs::read(path).is_ok_and(|old| old == content.as_ref()) {
        return Ok(());
    }
    // By way of another file: nobody sees a half, and a link to a user's file is replaced, not followed.
    let unfinished = directory()?.join(format!("unfinished-{}", process::id()));
    let written = path.parent().map_or(Ok(()), fs::create_dir_all).and_then(|()| fs::write(&unfinished, content));
    written.and_then(|()| fs::rename(&unfinished, path)).map_err(|error| refused(path, &error))
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

/// Keeps every other process from writing until the file is dropped; `purpose` is what these are told to wait for.
pub fn lock(purpose: &str) -> Result<File, String> {
    let cache = directory()?;
    let path = cache.join(LOCK);
    let locked = || {
        fs::create_dir_all(&cache)?;
        let mut file = File::options().create(true).read(true).append(true).open(&path)?;
        if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            let purpose = fs::read_to_string(&path)?;
            eprintln!("micro-smol: waiting for another that is {}", if purpose.is_empty() { "busy" } else { &purpose });
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
    let cache = directory()?;
    let is_unused = |entry: &DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        entry.file_name() != TARGET && modified.is_ok_and(|time| time.elapsed().is_ok_and(|age| age > UNUSED))
    };
    for unused in entries(&cache).filter(is_unused) {
        remove(&cache.join(TARGET), &unused.file_name().to_string_lossy(), TARGET_DEPTH)?;
        remove(&cache, &unused.file_name().to_string_lossy(), 0)?;
    }
    Ok(())
}

/// Removes all but the lock, which others may wait for.
pub fn clear() -> Result<(), String> {
    let _lock = lock("clearing the cache")?;
    let cache = directory()?;
    let names = entries(&cache).map(|entry| entry.file_name().to_string_lossy().into_owned());
    names.filter(|name| name != LOCK).try_for_each(|name| remove(&cache, &name, 0))
}

/// Removes what has a name that begins so, and no link's target.
fn remove(directory: &Path, name: &str, depth: usize) -> Result<(), String> {
    for entry in entries(directory) {
        let (path, is_directory) = (entry.path(), entry.file_type().is_ok_and(|kind| kind.is_dir()));
        let removed = match entry.file_name().to_string_lossy().starts_with(name) {
            true if is_directory => fs::remove_dir_all(&path).map_err(|error| refused(&path, &error)),
            true => fs::remove_file(&path).map_err(|error| refused(&path, &error)),
            false if is_directory && depth > 0 => remove(&path, name, depth - 1),
            false => Ok(()),
        };
        removed?;
    }
    Ok(())
}

/// The size of a file, or of all that is in a directory, for people to read.
pub fn size(path: &Path) -> String {
    format!("{:.1} MiB", bytes(path) as f64 / f64::from(1 << 20))
}

fn bytes(path: &Path) -> u64 {
    match path.symlink_metadata() {
        Ok(metadata) if metadata.is_dir() => entries(path).map(|entry| bytes(&entry.path())).sum(),
        // Cargo links what it has compiled to a second name.
        Ok(metadata) => metadata.size() / metadata.nlink().max(1),
        Err(_) => 0,
    }
}

fn entries(directory: &Path) -> impl Iterator<Item = DirEntry> {
    fs::read_dir(directory).into_iter().flatten().flatten()
}
