//! What the README shows is what one gets.

use std::process::{Command, Stdio};

use crate::cli::{Service, files, manifest, micro_smol, text};
use crate::shells::has;
use crate::support::without_date;
use crate::vendor::success;

const README: &str = include_str!("../../README.md");

/// The blocks of code in one language.
fn blocks(text: &'static str, language: &str) -> Vec<&'static str> {
    let start = format!("```{language}\n");
    text.split(start.as_str()).skip(1).map(|rest| rest.split_once("```").unwrap().0).collect()
}

/// The commands of a block, each with what it prints.
fn commands(block: &'static str) -> Vec<(&'static str, &'static str)> {
    let commands = block.strip_prefix("$ ").unwrap().split("\n$ ");
    commands.map(|command| command.split_once('\n').unwrap_or((command, ""))).collect()
}

#[test]
fn its_commands_are_all_run() {
    let commands: Vec<_> =
        blocks(README, "console").into_iter().flat_map(commands).map(|(command, _)| command).collect();
    let [_, _, run, test, _] = commands[..] else { panic!("not five commands: {commands:?}") };
    // The others are run below.
    for command in [run.replace("3000", "0").as_str(), test] {
        assert!(include_str!("../../.ci/run").contains(&format!("\n{command} ")), "{command} is not in .ci/run");
    }
}

#[test]
fn its_first_program_is_served_and_answers_as_shown() {
    let [(serve, started), (ask, answer)] = commands(blocks(README, "console")[0])[..] else { panic!("two commands") };
    let directory = files("readme", &[("sleep.rs", blocks(README, "rust")[0])]);
    let args: Vec<_> = serve.split(' ').filter(|word| !["micro-smol", "3000", "&"].contains(word)).collect();
    assert_eq!(args, ["-p", "sleep.rs"]);
    let service = Service::start(&directory, &["sleep.rs"]);
    assert_eq!(started, "micro-smol: Accepting connections on http://0.0.0.0:3000");
    if has("curl") {
        let ask = ask.replace("localhost:3000", &format!("127.0.0.1:{}", service.port));
        let output = Command::new("sh").args(["-c", &ask]).stderr(Stdio::null()).output().unwrap();
        let shown = answer.trim_end().replace('\n', "\r\n");
        assert_eq!(without_date(text(&output.stdout)), without_date(&shown));
    }
}

#[test]
fn files_with_dependencies_compile() {
    for text in [README, include_str!("../../docs/command.md")] {
        let blocks = blocks(text, "rust,ignore");
        assert_eq!(blocks.len(), text.matches("\n#[derive(").count(), "an example that needs serde does not say so");
        for block in blocks {
            let directory = files("readme_file", &[("index.rs", block)]);
            assert_eq!(success(&mut micro_smol(&directory, &["check", "--offline"])), "");
        }
    }
}

#[test]
fn its_service_passes_its_own_test() {
    let directory = files("readme_service", &[("order.rs", blocks(README, "rust,ignore")[0])]);
    let said = success(&mut micro_smol(&directory, &["test", "--offline", "order.rs"]));
    assert!(said.contains("test an_order_without_a_cup_is_refused ... ok"), "{said}");
}

#[test]
fn its_cut_keeps_the_unicode_tables_out() {
    let command = commands(blocks(README, "console")[2])[0].0;
    let own = files("own", &[("Cargo.toml", &manifest("[workspace]\n")), ("src/lib.rs", "")]);
    for line in [format!("{command} --offline"), "cargo tree --offline --invert icu_properties".to_owned()] {
        let output = Command::new("sh").args(["-c", &line]).current_dir(&own).output().unwrap();
        assert_eq!(output.status.success(), line.contains("update"), "{line}: {}", text(&output.stderr));
    }
}
