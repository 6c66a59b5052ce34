//! What holds of the repository.

use std::collections::BTreeSet;
use std::process::Command;

#[test]
fn the_readme_counts_the_crates() {
    let mut cargo = Command::new(env!("CARGO"));
    let args = ["tree", "--offline", "--locked", "-e", "normal,build", "--prefix", "none", "--format", "{p}"];
    let output = cargo.args(args).current_dir(env!("CARGO_MANIFEST_DIR")).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let tree = String::from_utf8(output.stdout).unwrap();
    let crates: BTreeSet<_> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    let others = crates.len() - 1;
    assert!(include_str!("../../README.md").contains(&format!("The dependency tree is {others} crates")), "{others}");
}
