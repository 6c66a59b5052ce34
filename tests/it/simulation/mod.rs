//! A connection against a script: a peer, a stream, handlers and a clock that do what a seed says.
//!
//! `MICRO_SMOL_SEEDS=1000000 cargo test --release --test it simulation::` tries more seeds, and `MICRO_SMOL_SEED=123` one alone,
//! or begins there.

mod bounds;
mod choices;
mod content;
mod draw;
mod exchange;
mod executor;
#[cfg(test)]
mod found;
mod handler;
mod model;
mod output;
mod reading;
mod script;
mod shrink;
mod session;
mod stream;
mod upgraded;
mod wire;
mod world;

use std::collections::BTreeSet;
use std::env;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use choices::Choices;
use model::Stop;
use script::Script;
use session::simulate;
use shrink::shrink;

/// How many seeds are tried.
const SEEDS: u64 = 10_000;

/// How long one script may take.
const HANG_TIME: Duration = Duration::from_secs(10);

const HANGS: &str = "a poll does not end";

/// How long a script is made shorter.
const SHRINK_TIME: Duration = Duration::from_secs(4);

/// Runs a script in a thread of its own, where no memory has been used before: a seed does the same in each run.
fn run(script: &Script) -> Result<BTreeSet<Stop>, String> {
    let (done, is_done) = mpsc::channel();
    let script = script.clone();
    thread::spawn(move || done.send(simulate(&script)));
    match is_done.recv_timeout(HANG_TIME) {
        Ok(reached) => reached,
        Err(RecvTimeoutError::Disconnected) => Err("the simulation panics".to_owned()),
        Err(RecvTimeoutError::Timeout) => Err(HANGS.to_owned()),
    }
}

/// What went wrong, without the numbers and what is shown.
fn kind(fault: &str) -> String {
    let words = fault.split('"').next().unwrap_or_default();
    words.chars().filter(|c| !c.is_ascii_digit()).collect()
}

/// Checks a script; panics with a shorter one if it fails.
fn check(script: &Script, again: &str) {
    let Err(fault) = run(script) else { return };
    if fault == HANGS {
        // It may take all memory next, so that there is no time to make the script shorter.
        eprintln!("{fault}\n{script}\n{again}");
        std::process::exit(101);
    }
    let wanted = kind(&fault);
    let end = Instant::now() + SHRINK_TIME;
    let fails = |script: &Script| Instant::now() < end && run(script).is_err_and(|fault| kind(&fault) == wanted);
    let short = shrink(script.clone(), fails);
    let short_fault = run(&short).err();
    panic!("{fault}\nshortened: {}\n{short}\n{again}", short_fault.unwrap_or_default());
}

/// Checks the script that the bytes of a fuzzer make.
pub fn check_bytes(bytes: &[u8]) {
    let script = draw::script(&mut Choices::Bytes(bytes));
    check(&script, "");
}

fn check_seed(seed: u64) {
    let script = draw::script(&mut Choices::Seed(seed));
    check(&script, &format!("MICRO_SMOL_SEED={seed} cargo test --test it simulation::"));
}

fn number(name: &str) -> Option<u64> {
    env::var(name).ok().map(|number| number.parse().unwrap())
}

/// Whether nothing is logged: what the handlers of the scripts do would fill the log. If it is, runs the test again in a
/// process of its own, without.
fn is_silent(test: &str) -> bool {
    if env::var("MICRO_ENV").as_deref() == Ok("test") {
        return true;
    }
    let mut again = std::process::Command::new(env::current_exe().unwrap());
    again.args(["--exact", "--nocapture", &format!("simulation::{test}")]);
    let output = again.env("MICRO_ENV", "test").output().unwrap();
    let said = [output.stdout, output.stderr].concat();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&said));
    false
}

#[test]
fn every_seed_holds() {
    if is_silent("every_seed_holds") {
        let seed = number("MICRO_SMOL_SEED");
        let first = seed.unwrap_or(0);
        let count = number("MICRO_SMOL_SEEDS").unwrap_or(if seed.is_some() { 1 } else { SEEDS });
        (first..first + count).for_each(check_seed);
    }
}

#[test]
fn the_bytes_of_a_fuzzer_make_scripts() {
    if is_silent("the_bytes_of_a_fuzzer_make_scripts") {
        let mut choices = Choices::Seed(1);
        (0..100).for_each(|_| check_bytes(&choices.list(300, |choices| choices.below(256) as u8)));
    }
}

#[test]
fn the_seeds_reach_each_state() {
    if is_silent("the_seeds_reach_each_state") {
        let mut reached = BTreeSet::new();
        for seed in 0.. {
            reached.extend(run(&draw::script(&mut Choices::Seed(seed))).unwrap_or_default());
            if reached.len() == Stop::COUNT {
                break;
            }
            assert!(seed < 1000, "{reached:?}");
        }
    }
}
