//! Copies of the library's source, in projects that have nothing else of it.

use std::fs;
use std::path::Path;
use std::process::{Command, Output};

use crate::cli::{CHECKOUT, HANDLER, Service, alone, directory, failure, files, micro_smol, text};

/// What a copy says of itself.
const ORIGIN: &str = concat!("micro-smol ", env!("CARGO_PKG_VERSION"), " (https://docs.rs/micro-smol), vendored");

/// What a command prints that does what it is asked.
pub fn success(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    assert_eq!((status.code(), &*alone(&stderr)), (Some(0), ""), "{command:?}");
    text(&stdout).to_owned()
}

/// Starts a package with cargo, on a free port, with the dependencies that `cargo test` has compiled.
pub fn cargo_run(directory: &Path) -> Service {
    let lock = directory.join("Cargo.lock");
    if !lock.exists() {
        fs::copy(Path::new(CHECKOUT).join("Cargo.lock"), lock).unwrap();
    }
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--offline", "--target-dir"]).arg(target).args(["--", "-H", "127.0.0.1", "-p", "0"]);
    Service::of(cargo.current_dir(directory))
}

/// A package whose program serves [`HANDLER`]; a warning is an error.
fn project(test: &str, start: &str) -> std::path::PathBuf {
    let main = format!(
        "#![deny(warnings)]\n{start}{HANDLER}fn main() -> std::process::ExitCode {{\n    micro_smol::run(handler)\n}}\n"
    );
    let manifest = format!("[package]\nname = \"{test}\"\nversion = \"7.0.0\"\nedition = \"2024\"\n\n");
    files(test, &[("Cargo.toml", &manifest), ("src/main.rs", &main)])
}

fn append(path: &Path, text: &str) {
    let old = fs::read_to_string(path).unwrap();
    fs::write(path, old + text).unwrap();
}

#[test]
fn a_vendored_package_is_a_dependency() {
    let directory = project("vendored_package", "");
    let dependency = success(&mut micro_smol(&directory, &["vendor", "vendor/micro-smol"]));
    assert_eq!(dependency, format!("# {ORIGIN}\n[dependencies.micro-smol]\npath = \"vendor/micro-smol\"\n"));
    append(&directory.join("Cargo.toml"), &dependency);
    assert_eq!(cargo_run(&directory).get(), "served");
    let vendored = directory.join("vendor/micro-smol");
    let manifest = fs::read_to_string(vendored.join("Cargo.toml")).unwrap();
    assert!(manifest.starts_with("[package]\nname = \"micro-smol\"\nversion = "), "{manifest}");
    for left_out in ["dev-dependencies", "README", "metadata", "exclude"] {
        assert!(!manifest.contains(left_out), "{manifest}");
    }
    assert_eq!(fs::read(vendored.join("LICENSE")).unwrap(), fs::read(Path::new(CHECKOUT).join("LICENSE")).unwrap());
    assert!(!vendored.join("src/bin").exists());
}

#[test]
fn a_vendored_module_is_part_of_a_program() {
    let directory = project("vendored_module", "mod micro_smol;\n");
    let dependencies = success(&mut micro_smol(&directory, &["vendor", "--module", "src/micro_smol"]));
    assert!(
        dependencies.starts_with(&format!("# {ORIGIN}\n[dependencies]\n")) && dependencies.contains("\nsmol = "),
        "{dependencies}"
    );
    append(&directory.join("Cargo.toml"), &dependencies);
    assert_eq!(cargo_run(&directory).get(), "served");
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["run", "--quiet", "--offline", "--target-dir"]).arg(target).args(["--", "--version"]);
    assert_eq!(
        success(cargo.current_dir(&directory)),
        concat!("micro-smol ", env!("CARGO_PKG_VERSION"), "\n"),
        "not the program's version"
    );
}

#[test]
fn a_vendored_module_leaves_a_librarys_tests_alone() {
    let manifest = "[package]\nname = \"vendored_library\"\nedition = \"2024\"\n\n";
    let library = format!("#![deny(warnings)]\npub mod micro_smol;\n{HANDLER}").replace("_: micro", "_: crate::micro");
    let directory = files("vendored_library", &[("Cargo.toml", manifest), ("src/lib.rs", &library)]);
    append(
        &directory.join("Cargo.toml"),
        &success(&mut micro_smol(&directory, &["vendor", "src/micro_smol", "--module"])),
    );
    fs::copy(Path::new(CHECKOUT).join("Cargo.lock"), directory.join("Cargo.lock")).unwrap();
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap();
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["test", "--doc", "--quiet", "--offline", "--target-dir"]).arg(target);
    let said = success(cargo.current_dir(&directory));
    assert!(said.contains("test result: ok. 0 passed; 0 failed; ") && !said.contains(" 0 ignored"), "{said}");
}

#[test]
fn what_differs_is_only_overwritten_by_force() {
    let directory = directory("vendored_twice");
    let vendor = |more: &[&str]| micro_smol(&directory, &[&["vendor", "."], more].concat());
    success(&mut vendor(&[]));
    success(&mut vendor(&[]));
    let (lib, error) = (directory.join("src/lib.rs"), directory.join("src/error.rs"));
    let original = fs::read(&lib).unwrap();
    fs::write(&lib, "mine").unwrap();
    fs::remove_file(&error).unwrap();
    let refused = "micro-smol: ./src/lib.rs is there, and differs: --force overwrites it\n";
    assert_eq!(failure(&mut vendor(&[]), 1), refused);
    assert_eq!(fs::read(&lib).unwrap(), b"mine");
    assert!(!error.exists(), "all or nothing");
    success(&mut vendor(&["--force"]));
    assert_eq!(fs::read(&lib).unwrap(), original);
    assert!(error.exists());
    fs::write(directory.join("other.rs"), "mine").unwrap();
    let refused = "micro-smol: ./other.rs is there: name an empty directory, or give --force to write beside it\n";
    assert_eq!(failure(&mut vendor(&[]), 1), refused);
    success(&mut vendor(&["--force"]));
    assert_eq!(fs::read(directory.join("other.rs")).unwrap(), b"mine");
}

#[test]
fn a_copy_says_what_it_is_and_a_host_formats_as_it_likes() {
    for (args, root) in [(&["src/copy", "--module"][..], "src/copy/mod.rs"), (&["copy"], "copy/src/lib.rs")] {
        let directory = project("vendored_quietly", if root.starts_with("src") { "mod copy;\n\n" } else { "" });
        let dependency = success(micro_smol(&directory, &["vendor"]).args(args));
        append(&directory.join("Cargo.toml"), &dependency);
        fs::write(directory.join("rustfmt.toml"), "max_width = 60\nhard_tabs = true\n").unwrap();
        let text = fs::read_to_string(directory.join(root)).unwrap();
        assert!(text.starts_with(&format!("// {ORIGIN}\n//! ")), "{text}");
        let fmt = |more: &[&str]| {
            Command::new(env!("CARGO")).args(["fmt", "--all"]).args(more).current_dir(&directory).output().unwrap()
        };
        // What is the host's own is formatted, and nothing else.
        let main = fs::read_to_string(directory.join("src/main.rs")).unwrap();
        assert!(fmt(&[]).status.success());
        assert_ne!(fs::read_to_string(directory.join("src/main.rs")).unwrap(), main);
        assert_eq!(fs::read_to_string(directory.join(root)).unwrap(), text);
        success(micro_smol(&directory, &["vendor"]).args(args));
        let output = fmt(&["--check"]);
        assert!(output.status.success() && output.stderr.is_empty(), "{}", text_of(&output));
    }
}

fn text_of(output: &Output) -> String {
    [text(&output.stdout), text(&output.stderr)].concat()
}

#[test]
fn a_directory_that_cannot_be_written_is_reported() {
    let directory = directory("vendored_nowhere");
    let said = failure(&mut micro_smol(&directory, &["vendor", "/dev/null"]), 1);
    assert!(said.starts_with("micro-smol: cannot write /dev/null/src/cli.rs: "), "{said}");
}

#[test]
fn vendor_wants_one_directory_and_knows_two_flags() {
    let cases: [(&[&str], &str); 3] = [
        (&["vendor"], "missing argument DIRECTORY; --help shows the options"),
        (&["vendor", "a", "b"], "unexpected argument \"b\"; --help shows the options"),
        (&["vendor", "--debug", "a"], "invalid option '--debug': it belongs to `micro-smol build`"),
    ];
    for (args, message) in cases {
        let said = failure(&mut micro_smol(Path::new("/"), args), 2);
        assert_eq!(said, format!("micro-smol: {message}\n"));
    }
}
