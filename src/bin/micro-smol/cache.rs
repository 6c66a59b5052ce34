//! Where generated packages and compiled code are kept, and how they are written.

use std::env;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::{Path, PathBuf};
use std::process;

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

/// A short name for a value, the same in every run.
pub fn key(value: impl Hash) -> String {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    format!("{:08x}", hasher.finish() >> 32)
}
