//! Packages that were files.

use std::fs;
use std::path::Path;

use crate::cli::{CHECKOUT, HANDLER, ORDER, failure, files, micro_smol};
use crate::vendor::{cargo_run, success};

/// Writes files and ejects `order.rs` into `shop`; says what the command said.
fn eject(test: &str, test_files: &[(&str, &str)]) -> (std::path::PathBuf, String) {
    let directory = files(test, test_files);
    let said = success(&mut micro_smol(&directory, &["eject", "--debug", "--offline", "order.rs", "shop"]));
    (directory, said)
}

#[test]
fn a_file_becomes_a_package_with_all_that_it_needs() {
    let (directory, said) = eject(
        "ejected",
        &[
            ("order.rs", &format!("#!/usr/bin/env micro-smol\n{ORDER}")),
            ("name.rs", "mod part;\npub fn name() -> String {\n    format!(\"a {}\", part::PART)\n}\n"),
            ("name/part.rs", "pub const PART: &str = include_str!(\"../a part.txt\");\n"),
            ("a part.txt", "pie"),
            ("unrelated.rs", "not even Rust"),
            ("number/Cargo.toml", "[package]\nname = \"number\"\nversion = \"0.1.0\"\nedition = \"2024\"\n"),
            ("number/src/lib.rs", "pub fn number() -> u8 {\n    3\n}\n"),
        ],
    );
    assert_eq!(said, "shop is a package: start it there with `cargo run`\n");
    for moved in ["order.rs", "name.rs", "name", "a part.txt"] {
        fs::rename(directory.join(moved), directory.join(format!("old {moved}"))).unwrap();
    }
    let shop = directory.join("shop");
    assert_eq!(cargo_run(&shop).get(), r#"{"count":3,"name":"a pie"}"#);
    let read = |name: &str| fs::read_to_string(shop.join(name)).unwrap();
    assert!(
        read("Cargo.toml").starts_with("[package]\nname = \"shop\"\nedition = \"2021\"\n"),
        "{}",
        read("Cargo.toml")
    );
    assert!(read("Cargo.toml").contains("\nnumber = { path = \"../number\" }\n"), "{}", read("Cargo.toml"));
    let main = read("src/main.rs");
    assert!(main.starts_with("//! An order.\n#![deny(warnings)]\n"), "{main}");
    assert!(main.ends_with("}\n\nfn main() -> std::process::ExitCode {\n    micro_smol::run(handler)\n}\n"), "{main}");
    assert_eq!(read(".gitignore"), "/target\n");
    let mut names: Vec<_> = fs::read_dir(shop.join("src"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["a part.txt", "main.rs", "name", "name.rs"]);
}

#[test]
fn a_program_and_its_own_micro_smol_stay_what_they_are() {
    let main = "#![warn(unused)]\nfn main() -> std::process::ExitCode {\n    micro_smol::run(handler)\n}\n";
    let manifest = format!("---\ndependencies.micro-smol.path = {CHECKOUT:?}\n---\n");
    let (directory, _) = eject("ejected_program", &[("order.rs", &format!("{manifest}{main}{HANDLER}"))]);
    let shop = directory.join("shop");
    assert_eq!(fs::read_to_string(shop.join("src/main.rs")).unwrap(), format!("{main}{HANDLER}"));
    assert!(!shop.join("micro-smol").exists());
    assert_eq!(cargo_run(&shop).get(), "served");
}

#[test]
fn nothing_is_overwritten_but_by_force() {
    let (directory, _) = eject("ejected_twice", &[("order.rs", HANDLER)]);
    let mut again = micro_smol(&directory, &["eject", "order.rs", "shop", "--offline", "--debug"]);
    success(&mut again);
    success(
        micro_smol(&directory, &["eject", "--offline", "--debug", "../order.rs", "."])
            .current_dir(directory.join("shop")),
    );
    fs::write(directory.join("shop/src/main.rs"), "mine").unwrap();
    fs::remove_file(directory.join("shop/Cargo.toml")).unwrap();
    let refused = "micro-smol: shop/src/main.rs is there, and differs: --force overwrites it\n";
    assert_eq!(failure(&mut again, 1), refused);
    assert!(!directory.join("shop/Cargo.toml").exists());
    success(again.arg("--force"));
    assert!(directory.join("shop/Cargo.toml").exists());
    let mut beside = micro_smol(&directory, &["eject", "order.rs", ".", "--offline", "--debug"]);
    let refused = "micro-smol: ./order.rs is there: name an empty directory, or give --force to write beside it\n";
    assert_eq!(failure(&mut beside, 1), refused);
    assert!(!directory.join("src").exists());
}

#[test]
fn what_cannot_be_ejected_is_told_why() {
    let directory = files("not_ejected", &[("order.rs", HANDLER), ("broken.rs", "pub async fn handler() {}\n")]);
    let eject = |args: &[&str]| micro_smol(&directory, &[&["eject", "--debug", "--offline"], args].concat());
    let message = format!("micro-smol: {CHECKOUT} is a package already\n");
    assert_eq!(failure(&mut eject(&[CHECKOUT, "shop"]), 1), message);
    assert!(failure(&mut eject(&["tea.rs", "shop"]), 1).starts_with("micro-smol: cannot serve tea.rs: "));
    assert!(failure(&mut eject(&["broken.rs", "shop"]), 1).contains("broken.rs does not compile; see above; "));
    assert_eq!(
        failure(&mut eject(&["order.rs"]), 2),
        "micro-smol: missing argument DIRECTORY; --help shows the options\n"
    );
    assert_eq!(failure(&mut eject(&["-p", "1"]), 2), "micro-smol: invalid option '-p'; --help shows the options\n");
    let refused = "micro-smol: broken.rs is a file: name a directory for the package\n";
    assert_eq!(failure(&mut eject(&["order.rs", "broken.rs"]), 1), refused);
    assert!(!directory.join("shop").exists());
    assert!(Path::new(CHECKOUT).join("Cargo.toml").exists());
}
