//! The fuzz targets' checks on a bounded number of inputs, the same in each run.

use std::fs;
use std::path::Path;

use crate::checks;

const ROUNDS: usize = 4000;

/// Fragments that are put together and into each other.
const FRAGMENTS: &[&str] = &[
    "GET ",
    "POST ",
    "HEAD ",
    "OPTIONS ",
    "PUT ",
    "/",
    "*",
    "/unread",
    "/stream",
    "/back",
    "/view",
    "/a?b=c",
    "http://b/c",
    " HTTP/1.1\r\n",
    " HTTP/1.0\r\n",
    " HTTP/1.2\r\n",
    " HTTP/2.0\r\n",
    "GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "POST /back HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n",
    "POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\n",
    "host: a\r\n",
    "Host: [::1]:80\r\n",
    "host: a,b\r\n",
    "host: :80\r\n",
    "content-length: 5\r\n",
    "content-length: 0\r\n",
    "transfer-encoding: chunked\r\n",
    "connection: close\r\n",
    "connection: keep-alive\r\n",
    "expect: 100-continue\r\n",
    "x: y\r\n",
    "hello",
    "5\r\nhello\r\n",
    "0\r\n\r\n",
    "0\r\n",
    "a;b=c\r\n",
    " ;a = \"b;c\"",
    "\"",
    "=",
    "x: 1\r\n\r\n",
    "\r\n",
    "\r",
    "\n",
    " ",
    "\t",
    ":",
    ",",
    ";",
    "\0",
    "\u{b}",
    "\u{a0}",
    "é",
    "%",
];

struct Inputs {
    random: Random,
    seeds: Vec<Vec<u8>>,
}

/// Numbers that are the same in each run (xorshift64).
struct Random(u64);

impl Random {
    /// A number below `end`, which is not 0.
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % end as u64) as usize
    }
}

impl Inputs {
    fn new() -> Self {
        let wire = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/wire");
        let files = fs::read_dir(wire).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.collect();
        files.sort();
        let seeds = files.iter().map(|file| fs::read(file).unwrap()).collect();
        Inputs { random: Random(9112), seeds }
    }

    fn next(&mut self) -> Vec<u8> {
        let mut input = match self.random.below(2) {
            0 => self.seeds[self.random.below(self.seeds.len())].clone(),
            _ => (0..self.random.below(12)).flat_map(|_| self.fragment()).collect(),
        };
        for _ in 0..self.random.below(4) {
            self.mutate(&mut input);
        }
        input
    }

    fn fragment(&mut self) -> Vec<u8> {
        FRAGMENTS[self.random.below(FRAGMENTS.len())].as_bytes().to_vec()
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.random.below(input.len() + 1);
        let end = (at + self.random.below(4)).min(input.len());
        let replacement = match self.random.below(3) {
            0 => self.fragment(),
            1 => vec![self.random.below(256) as u8],
            _ => Vec::new(),
        };
        input.splice(at..end, replacement);
    }
}

#[test]
fn a_head_that_is_accepted_is_strictly_valid() {
    let mut inputs = Inputs::new();
    (0..ROUNDS).for_each(|_| checks::head(&inputs.next()));
}

#[test]
fn a_chunked_body_may_be_cut_anywhere() {
    let mut inputs = Inputs::new();
    (0..ROUNDS / 20).for_each(|_| checks::chunked(&inputs.next()));
}

#[test]
fn a_connection_takes_any_bytes() {
    let mut inputs = Inputs::new();
    (0..ROUNDS).for_each(|_| checks::connection(&inputs.next()));
}

#[test]
fn what_was_found_once_is_not_found_again() {
    for seed in Inputs::new().seeds {
        checks::head(&seed);
        checks::chunked(&seed);
        checks::connection(&seed);
    }
}
