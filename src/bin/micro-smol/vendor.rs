//! The library's own source, carried inside this program: a file needs neither a registry nor a checkout to be served.

use std::path::{Path, PathBuf};

use super::cache;

/// The versions of the dependencies that this program was tested with.
pub const LOCK: &str = include_str!("../../../Cargo.lock");

const FILES: &[(&str, &str)] = &[
    ("Cargo.toml", include_str!("../../../Cargo.toml")),
    ("src/cli.rs", include_str!("../../cli.rs")),
    ("src/connection.rs", include_str!("../../connection.rs")),
    ("src/content.rs", include_str!("../../content.rs")),
    ("src/deadline.rs", include_str!("../../deadline.rs")),
    ("src/drain.rs", include_str!("../../drain.rs")),
    ("src/duplex.rs", include_str!("../../duplex.rs")),
    ("src/endpoint.rs", include_str!("../../endpoint.rs")),
    ("src/error.rs", include_str!("../../error.rs")),
    ("src/h1.rs", include_str!("../../h1.rs")),
    ("src/h1/body.rs", include_str!("../../h1/body.rs")),
    ("src/h1/encode.rs", include_str!("../../h1/encode.rs")),
    ("src/h1/framing.rs", include_str!("../../h1/framing.rs")),
    ("src/h1/head.rs", include_str!("../../h1/head.rs")),
    ("src/h1/syntax.rs", include_str!("../../h1/syntax.rs")),
    ("src/handler.rs", include_str!("../../handler.rs")),
    ("src/healthcheck.rs", include_str!("../../healthcheck.rs")),
    ("src/kept.rs", include_str!("../../kept.rs")),
    ("src/lib.rs", include_str!("../../lib.rs")),
    ("src/limits.rs", include_str!("../../limits.rs")),
    ("src/poller.rs", include_str!("../../poller.rs")),
    ("src/poller/epoll.rs", include_str!("../../poller/epoll.rs")),
    ("src/poller/portable.rs", include_str!("../../poller/portable.rs")),
    ("src/request.rs", include_str!("../../request.rs")),
    ("src/response.rs", include_str!("../../response.rs")),
    ("src/server.rs", include_str!("../../server.rs")),
    ("src/testing.rs", include_str!("../../testing.rs")),
    ("src/upgrade.rs", include_str!("../../upgrade.rs")),
    ("src/wire.rs", include_str!("../../wire.rs")),
];

/// Unpacks the library into the cache, where it is not there yet, and says where.
pub fn unpack(cache: &Path) -> Result<PathBuf, String> {
    let library = cache.join(format!("library-{}", cache::key(FILES)));
    FILES.iter().try_for_each(|(name, text)| cache::write(&library.join(name), text))?;
    Ok(library)
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
        expected.push("Cargo.toml".to_owned());
        expected.sort();
        assert_eq!(FILES.iter().map(|(name, _)| *name).collect::<Vec<_>>(), expected);
    }
}
