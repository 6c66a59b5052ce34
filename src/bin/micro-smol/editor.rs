//! `editor`: tells rust-analyzer what a file is made of.
//!
//! On stable Rust neither it nor cargo knows files with dependencies (`cargo script` is not stable). A rust-project.json
//! names all crates and how they depend on each other, and the command that checks the file when it is saved.

use std::env;
use std::fs;
use std::process::Command;

use lexopt::Parser;
use micro_smol::cli::{Outcome, print_text};
use micro_smol::serde_json::{Value, json};

use super::arguments::Arguments;
use super::build::BuildRequest;
use super::entry::{list, text};

/// `editor [--offline] [--locked] FILE`
pub fn editor(parser: Parser) -> Outcome {
    let arguments = Arguments::new(1, &["offline", "locked"]).read(parser)?;
    let [_] = arguments.all(["FILE"])?;
    let request = BuildRequest::of_profile(&arguments, "check")?;
    let file = &request.path;
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "sysroot", "--print", "host-tuple"]).current_dir(file.with_file_name(""));
    let said = String::from_utf8(rustc.output()?.stdout)?;
    let (sysroot, host) = said.trim_end().split_once('\n').ok_or("rustc does not say where its libraries are")?;
    let platform = env::var("CARGO_BUILD_TARGET").unwrap_or_else(|_| host.to_owned());
    let (metadata, messages) = request.explore(&platform)?;
    let root = &metadata["resolve"]["root"];
    let package = list(&metadata["packages"]).find(|package| package["id"] == *root).unwrap_or(&Value::Null);
    let target = json!({ "name": "file", "kind": ["bin"], "src_path": file, "edition": package["edition"] });
    let own = json!({ "package_id": root, "target": target });
    let is_dependency = |message: &&Value| {
        let is_script = message["target"]["kind"][0] == "custom-build";
        message["reason"] == "compiler-artifact" && !is_script && message["package_id"] != *root
    };
    let artifacts: Vec<&Value> = messages.iter().filter(is_dependency).chain([&own]).collect();
    let mut crates: Vec<Value> =
        artifacts.iter().map(|artifact| describe(artifact, &artifacts, &metadata, &messages)).collect();
    if let Some(own) = crates.last_mut() {
        own["is_workspace_member"] = true.into();
        own["build"] = json!({ "label": file, "build_file": file, "target_kind": "bin" });
    }
    let check =
        json!({ "kind": "flycheck", "program": env::current_exe()?, "args": ["check", "--json", file], "cwd": "/" });
    let project = json!({ "sysroot": sysroot, "crates": crates, "runnables": [check] });
    let path = file.with_file_name("rust-project.json");
    fs::write(&path, format!("{project:#}\n")).map_err(|error| format!("cannot write {}: {error}", path.display()))?;
    print_text(&format!("{}: open this directory in an editor with rust-analyzer\n", path.display()))
}

/// A crate, as rust-analyzer reads it, of what cargo says that it has compiled.
fn describe(artifact: &Value, artifacts: &[&Value], metadata: &Value, messages: &[Value]) -> Value {
    let (id, target) = (&artifact["package_id"], &artifact["target"]);
    let node = list(&metadata["resolve"]["nodes"]).find(|node| node["id"] == *id).unwrap_or(&Value::Null);
    let is_used = |dependency: &&Value| list(&dependency["dep_kinds"]).any(|kind| kind["kind"] != "build");
    let index = |dependency: &Value| artifacts.iter().position(|one| one["package_id"] == dependency["pkg"]);
    let dependencies = list(&node["deps"]).filter(is_used);
    let dependencies = dependencies.filter_map(|one| Some(json!({ "crate": index(one)?, "name": one["name"] })));
    let is_script = |message: &&Value| message["reason"] == "build-script-executed" && message["package_id"] == *id;
    let script = messages.iter().find(is_script).unwrap_or(&Value::Null);
    let features = list(&artifact["features"]).map(|feature| format!("feature={feature}"));
    let is_macro = target["kind"][0] == "proc-macro";
    json!({
        "display_name": target["name"],
        "root_module": target["src_path"],
        "edition": target["edition"],
        "deps": dependencies.collect::<Vec<_>>(),
        "cfg": features.chain(list(&script["cfgs"]).map(|cfg| text(cfg).to_owned())).collect::<Vec<_>>(),
        "env": { "OUT_DIR": text(&script["out_dir"]) },
        "is_workspace_member": false,
        "is_proc_macro": is_macro,
        "proc_macro_dylib_path": if is_macro { &artifact["filenames"][0] } else { &Value::Null },
    })
}
