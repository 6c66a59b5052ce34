//! The text of a generated manifest, and of its lock file.
//!
//! The frontmatter goes into the manifest as text. A TOML parser would be a dependency of everybody who uses the
//! library, and cargo has one, with good messages; so lines keep their numbers, which are then right in those.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use micro_smol::serde_json::Value;

use super::arguments::nearest;
use super::frontmatter::LineError;

/// The tables that a frontmatter may have. Cargo ignores others, with a warning that few see.
const TABLES: [&str; 11] = [
    "dependencies",
    "package",
    "profile",
    "features",
    "patch",
    "replace",
    "lints",
    "target",
    "build-dependencies",
    "dev-dependencies",
    "badges",
];

/// A table `[dependencies.name]` with one key.
pub fn dependency(name: &str, key: &str, value: impl AsRef<Path>) -> String {
    format!("[dependencies.{name}]\n{key} = {}\n", quoted(value))
}

/// A TOML string. Its escapes are those of JSON.
pub fn quoted(text: impl AsRef<Path>) -> String {
    Value::from(text.as_ref().to_string_lossy()).to_string()
}

/// Splits a frontmatter in two: all tables but `[package]`, with each path resolved by `place`; and `[package]` with the name,
/// followed by `dependencies` unless micro-smol is named.
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
    let tables = (1..).zip(frontmatter.lines().zip(&keys)).filter(|(_, (line, _))| line.trim_start().starts_with('['));
    for (line, (_, key)) in tables {
        let table = key.split('.').next().unwrap_or_default();
        if !TABLES.contains(&table) {
            let meant = nearest(table, TABLES).map_or(String::new(), |near| format!(": did you mean `{near}`?"));
            return Err((line, format!("cargo knows no table `{table}`{meant}")));
        }
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

/// The full key of each line, as in `table.key`.
pub fn keys(manifest: &str) -> Vec<String> {
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
    fn a_table_that_cargo_would_ignore_is_refused() {
        let cases = [
            ("\n[dependancies]\n", (2, "cargo knows no table `dependancies`: did you mean `dependencies`?")),
            ("[dependecies.b]\n", (1, "cargo knows no table `dependecies`: did you mean `dependencies`?")),
            ("[shop]\n", (1, "cargo knows no table `shop`")),
        ];
        for (frontmatter, (line, fault)) in cases {
            assert_eq!(completed(frontmatter), Err((line, fault.to_owned())), "{frontmatter:?}");
        }
        let known =
            "cargo-features = [\n  \"a\",\n]\n[target.'cfg(unix)'.dependencies]\n[dev-dependencies]\n[profile.dev]\n";
        assert!(completed(known).is_ok());
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
