//! What `micro-smol` keeps between two runs.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, SystemTime};

use rustix::fs::{FlockOperation, flock};

use crate::cli::{HANDLER, PROGRAM, Service, alone, cache, directory, failure, files, micro_smol, text};

#[test]
fn a_start_without_a_change_runs_no_cargo() {
    let directory = files("unchanged", &[("index.rs", &format!("mod other;\n{HANDLER}")), ("other.rs", "")]);
    assert_eq!(Service::start(&directory, &[]).get(), "served");
    let start = ["--debug", "--offline", "-H", "127.0.0.1", "-p", "0"];
    assert_eq!(Service::of(micro_smol(&directory, &start).env("CARGO", "/missing")).get(), "served");
    let asks_cargo = |variable: &str| {
        let mut command = micro_smol(&directory, &start);
        let said = failure(command.env("CARGO", "/missing").env(variable, "--cfg a"), 1);
        assert!(said.contains("cargo was not found"), "{said}");
    };
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_PROFILE_DEV_LTO", "RUSTC_WRAPPER"] {
        asks_cargo(variable);
    }
    for setting in ["Cargo.lock", "rust-toolchain.toml"] {
        File::create(directory.join(setting)).unwrap();
        asks_cargo("UNRELATED");
        fs::remove_file(directory.join(setting)).unwrap();
    }
    // An older file in its place is a change, too.
    File::options().write(true).open(directory.join("other.rs")).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    asks_cargo("UNRELATED");
}

#[test]
fn a_first_compile_without_a_terminal_says_so_and_how_long_it_took() {
    let directory = files("first_compile", &[("main.rs", "fn main() {}\n")]);
    let name = directory.join("main.rs");
    let said = |ours: &str, args: &[&str]| {
        let ours = directory.join(ours);
        fs::create_dir_all(ours.join("micro-smol")).unwrap();
        // The second time it is there.
        let _ = symlink(cache().join("micro-smol/target").canonicalize().unwrap(), ours.join("micro-smol/target"));
        let mut command = micro_smol(&directory, &["--debug", "--offline", "-p", "0", "main.rs"]);
        let Output { status, stderr, .. } = command.args(args).env("XDG_CACHE_HOME", ours).output().unwrap();
        assert!(status.success());
        text(&stderr).to_owned()
    };
    let first = said("cache", &[]);
    let (start, end) = first.split_once('\n').unwrap();
    assert_eq!(start, format!("micro-smol: compiling {}", name.display()));
    assert!(end.starts_with("micro-smol: compiled in ") && end.ends_with("s\n") && end.lines().count() == 1, "{end}");
    assert_eq!(said("cache", &[]), "");
    fs::write(&name, "fn main() {}\n\n").unwrap();
    assert_eq!(said("cache", &[]), "");
    assert_eq!(said("other_cache", &["--silent"]), "");
    // Where nothing has been compiled, that is to be dependencies, too.
    let mut command = micro_smol(&directory, &["main.rs"]);
    let output = command.env("XDG_CACHE_HOME", directory.join("empty")).env("CARGO", "/missing").output().unwrap();
    let start = format!("micro-smol: compiling {}; its dependencies are compiled only once\n", name.display());
    assert!(text(&output.stderr).starts_with(&start), "{}", text(&output.stderr));
}

#[test]
fn another_run_is_waited_for() {
    let directory = files("waiting", &[("index.rs", HANDLER)]);
    let path = cache().join("micro-smol/lock");
    let lock = File::options().create(true).append(true).open(&path).unwrap();
    flock(&lock, FlockOperation::LockExclusive).unwrap();
    fs::write(&path, "having its tea").unwrap();
    let mut command = micro_smol(&directory, &["--debug", "--offline", "-H", "127.0.0.1", "-p", "0"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(child.stderr.take().unwrap()).read_line(&mut line).unwrap();
    assert_eq!(line, "micro-smol: waiting for another that is having its tea\n");
    drop(lock);
    assert_eq!(Service::ready(child).get(), "served");
}

#[test]
fn a_killed_build_leaves_nothing_broken() {
    let directory = files("killed", &[("index.rs", HANDLER)]);
    let start = ["--debug", "--offline", "-H", "127.0.0.1", "-p", "0"];
    let is_ours = |entry: &fs::DirEntry| entry.file_name().to_string_lossy().starts_with("killed_");
    let packages = || fs::read_dir(cache().join("micro-smol")).unwrap().flatten().filter(is_ours);
    packages().for_each(|package| fs::remove_dir_all(package.path()).unwrap());
    let mut child = micro_smol(&directory, &start).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    while packages().next().is_none_or(|package| !package.path().join("micro-smol-copy").exists()) {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(Service::start(&directory, &[]).get(), "served");
}

#[test]
fn the_library_stays_for_as_long_as_it_is_used() {
    let directory = files("library_used", &[("main.rs", "fn main() {}\n")]);
    let cache = directory.join("micro-smol");
    let run = || {
        let mut command = micro_smol(&directory, &["--debug", "--offline", "--silent", "main.rs"]);
        said(command.env("XDG_CACHE_HOME", &directory));
    };
    run();
    let is_library = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("library-");
    let library = fs::read_dir(&cache).unwrap().map(|entry| entry.unwrap().path()).find(is_library).unwrap();
    let used = SystemTime::now() - Duration::from_secs(31 * 24 * 60 * 60);
    File::open(&library).unwrap().set_modified(used).unwrap();
    fs::write(directory.join("main.rs"), "fn main() {}\n\n").unwrap();
    run();
    assert!(library.join("src/lib.rs").exists());
}

/// Makes an entry that was used so many days ago, with something compiled for it.
fn entry_used(name: &str, days: u64) {
    let cache = cache().join("micro-smol");
    fs::create_dir_all(cache.join(name)).unwrap();
    fs::create_dir_all(cache.join("target/debug/deps")).unwrap();
    fs::write(cache.join(format!("target/debug/deps/{name}-0a1b")), "").unwrap();
    let used = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60);
    File::open(cache.join(name)).unwrap().set_modified(used).unwrap();
}

#[test]
fn what_is_unused_for_30_days_is_removed_at_the_next_build() {
    entry_used("old_00000000", 31);
    entry_used("young_00000000", 29);
    let directory = files("cleaning", &[("index.rs", &format!("{HANDLER}// {:?}\n", SystemTime::now()))]);
    Service::start(&directory, &[]);
    let cache = cache().join("micro-smol");
    assert!(!cache.join("old_00000000").exists() && !cache.join("target/debug/deps/old_00000000-0a1b").exists());
    assert!(cache.join("young_00000000").exists() && cache.join("target/debug/deps/young_00000000-0a1b").exists());
}

fn said(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!((status.code(), text(&stderr)), (Some(0), ""));
    text(&stdout).to_owned()
}

#[test]
fn the_cache_says_where_it_is_and_is_emptied() {
    let directory = directory("cleared");
    let cache = directory.join("micro-smol");
    let path = cache.display();
    let run = |args: &[&str]| said(micro_smol(Path::new("/"), args).env("XDG_CACHE_HOME", &directory));
    assert_eq!(run(&["cache"]), format!("{path}: 0.0 MiB\n    compiled for several: 0.0 MiB\n"));
    fs::create_dir_all(cache.join("target/debug")).unwrap();
    fs::write(cache.join("target/debug/large"), vec![1; 3 << 20]).unwrap();
    fs::hard_link(cache.join("target/debug/large"), cache.join("target/larger")).unwrap();
    assert_eq!(run(&["cache"]), format!("{path}: 3.0 MiB\n    compiled for several: 3.0 MiB\n"));
    for (name, days) in [("tea_0a1b2c3d", 3), ("b_00000000", 0)] {
        fs::create_dir_all(cache.join(name)).unwrap();
        fs::write(cache.join(name).join("Cargo.toml"), vec![b'\n'; 1 << 20]).unwrap();
        let used = SystemTime::now() - Duration::from_secs(days * 24 * 60 * 60 + 60);
        File::open(cache.join(name)).unwrap().set_modified(used).unwrap();
    }
    fs::write(cache.join("target/debug/tea_0a1b2c3d"), vec![1; 1 << 19]).unwrap();
    let entries = "    b_00000000: 1.0 MiB, used 0 days ago\n    tea_0a1b2c3d: 1.5 MiB, used 3 days ago\n";
    assert_eq!(run(&["cache"]), format!("{path}: 5.5 MiB\n{entries}    compiled for several: 3.0 MiB\n"));
    assert_eq!(run(&["cache", "clear"]), format!("{path}: 0.0 MiB\n    compiled for several: 0.0 MiB\n"));
    assert_eq!(fs::read_dir(&cache).unwrap().count(), 1, "only the lock is left");
    let mut refused = micro_smol(Path::new("/"), &["cache", "clean"]);
    assert_eq!(
        failure(&mut refused, 2),
        "micro-smol: there is no `cache clean`: `micro-smol cache clear` empties it\n"
    );
}

#[test]
fn a_link_in_the_cache_is_not_followed() {
    let directory = files("planted", &[("index.rs", HANDLER), ("mine", "mine"), ("cache/micro-smol/x", "")]);
    // The number of the process stays the same when it becomes another program.
    let script = format!(
        "ln -s {0}/mine {0}/cache/micro-smol/unfinished-$$ && exec {PROGRAM} eject --offline --debug index.rs shop",
        directory.display()
    );
    let mut planted = Command::new("sh");
    planted.args(["-c", &script]).current_dir(&directory).env("XDG_CACHE_HOME", directory.join("cache"));
    planted.env("CARGO", "/missing");
    let said = failure(&mut planted, 1);
    assert!(said.contains("cargo was not found"), "{said}");
    assert_eq!(fs::read(directory.join("mine")).unwrap(), b"mine");
    // A leftover of the same number was no obstacle.
    assert!(fs::read_dir(directory.join("cache/micro-smol")).unwrap().count() > 2);
    let lock = directory.join("cache/micro-smol/lock");
    fs::remove_file(&lock).unwrap();
    symlink(directory.join("mine"), &lock).unwrap();
    let mut command = micro_smol(&directory, &["--debug", "--offline"]);
    let said = failure(command.env("XDG_CACHE_HOME", directory.join("cache")), 1);
    assert!(said.starts_with(&format!("micro-smol: cannot write {}: ", lock.display())), "{said}");
    assert_eq!(fs::read(directory.join("mine")).unwrap(), b"mine");
}

#[test]
fn debug_builds_have_the_lines_of_a_backtrace_only() {
    let own = "---\n[profile.dev]\ndebug = \"line-tables-only\"\n---\n";
    for (test, frontmatter) in [("lines", ""), ("lines_of_its_own", own)] {
        let directory = files(test, &[("index.rs", &format!("{frontmatter}{HANDLER}"))]);
        assert_eq!(Service::start(&directory, &["index.rs"]).get(), "served");
        let packages = fs::read_dir(cache().join("micro-smol")).unwrap().flatten();
        let manifests = packages.flat_map(|package| fs::read_to_string(package.path().join("Cargo.toml")));
        for manifest in manifests.filter(|text| text.contains(&format!("/cli/{test}/index.rs"))) {
            assert_eq!(manifest.matches("debug = \"line-tables-only\"").count(), 1, "{manifest}");
        }
    }
}

#[test]
fn a_build_is_one_executable_of_which_the_size_is_told() {
    let directory = files("build", &[("index.rs", HANDLER)]);
    for (args, is_static) in [(&["--static"][..], true), (&[], false)] {
        let mut command = micro_smol(&directory, &["build", "--debug", "--offline", "-o", "service"]);
        let Output { status, stdout, stderr } = command.args(args).output().unwrap();
        assert!(status.success(), "{}", text(&stderr));
        assert_eq!(alone(&stderr), "");
        let executable = fs::read(directory.join("service")).unwrap();
        let size = executable.len() as f64 / f64::from(1 << 20);
        assert_eq!(text(&stdout), format!("service: {size:.1} MiB\n"));
        let loader = b"/ld-linux";
        let is_dynamic = executable.windows(loader.len()).any(|bytes| bytes == loader);
        assert_eq!(is_dynamic, !is_static || cfg!(not(all(target_os = "linux", target_env = "gnu"))));
        let mut service = Command::new(directory.join("service"));
        assert_eq!(Service::of(service.args(["-H", "127.0.0.1", "-p", "0"])).get(), "served");
    }
    let names: Vec<_> = fs::read_dir(&directory).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names.len(), 2, "{names:?}");
}

#[test]
fn a_build_stands_beside_its_file_or_where_it_is_told_to() {
    let directory = files("build_beside", &[("a/tea.rs", HANDLER), ("shop/index.rs", HANDLER), ("b/tea", "mine")]);
    let build = |args: &[&str]| micro_smol(&directory, &[&["build", "--debug", "--offline"], args].concat());
    // The second time, it is replaced.
    for _ in 0..2 {
        let Output { status, stdout, stderr } = build(&["a/tea.rs"]).output().unwrap();
        assert_eq!((status.code(), &*alone(&stderr)), (Some(0), ""));
        assert!(text(&stdout).starts_with(&format!("{}/a/tea: ", directory.display())), "{}", text(&stdout));
    }
    assert!(build(&["shop"]).status().unwrap().success());
    assert!(directory.join("shop/shop").is_file());
    let belongs = "say where the executable belongs, with -o FILE\n";
    let said = failure(&mut build(&["a/tea.rs", "-o", "b"]), 1);
    assert_eq!(said, format!("micro-smol: b is a directory: {belongs}"));
    let said = failure(&mut build(&["a/tea.rs", "-o", "b/tea"]), 1);
    assert_eq!(said, format!("micro-smol: b/tea is a file that is no executable: {belongs}"));
    assert_eq!(fs::read(directory.join("b/tea")).unwrap(), b"mine");
    let said = failure(&mut build(&["-p", "3"]), 2);
    assert_eq!(said, "micro-smol: invalid option '-p'; --help shows the options\n");
    // Before anything is compiled.
    for output in ["missing/service", "missing/"] {
        let said = failure(build(&["a/tea.rs", "-o", output]).env("CARGO", "/missing"), 1);
        assert_eq!(said, format!("micro-smol: cannot write {output}: there is no such directory\n"));
    }
}
