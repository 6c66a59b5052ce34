//! What rustc says to the mistakes that a newcomer makes: each message names what is to be mended.

use std::path::Path;
use std::process::Command;

use crate::cli::manifest;

/// The name of a mistake, the handler, and what must stand in the message.
const MISTAKES: [(&str, &str, &[&str]); 5] = [
    (
        "not_async",
        "fn handler(_req: Request) -> &'static str { \"Hello, world\" }",
        &["-> &'static str {handler}` is not a handler", "expected an `async fn(Request) -> impl IntoResponse`"],
    ),
    (
        "wrong_argument",
        "async fn handler(name: String) -> String { name }",
        &["type mismatch in function arguments", "expected function signature `fn((micro_smol::Request,)) -> _`"],
    ),
    (
        "cannot_be_sent",
        "struct Colour;\nasync fn handler(_req: Request) -> Colour { Colour }",
        &[
            "`Colour` cannot be sent as a response",
            "text, bytes, numbers, `()`, `Option`, `Result`, `(status, value)`, `json!(…)` and `Response` can",
            "return `micro_smol::Json(value)`",
        ],
    ),
    (
        "error_does_not_convert",
        "struct Failure;\nasync fn handler(_req: Request) -> Result<String, Failure> { Err(Failure) }",
        &["the trait `std::error::Error` is not implemented for `Failure`", "to implement `IntoResponse`"],
    ),
    (
        "state_is_not_sync",
        "fn main() {
            let count = std::cell::Cell::new(0);
            let handler = async move |_req: Request| count.replace(1);
            let _ = micro_smol::serve(handler);
        }",
        &["`Cell<i32>` cannot be shared between threads safely", "use `std::sync::RwLock`"],
    ),
];

#[test]
fn messages_name_what_is_to_be_mended() {
    let library = Path::new(env!("CARGO_MANIFEST_DIR"));
    let package = Path::new(env!("CARGO_TARGET_TMPDIR")).join("mistakes");
    std::fs::create_dir_all(package.join("src/bin")).unwrap();
    std::fs::write(package.join("Cargo.toml"), manifest("[workspace]\n")).unwrap();
    std::fs::copy(library.join("Cargo.lock"), package.join("Cargo.lock")).unwrap();
    for (name, handler, _) in MISTAKES {
        let main = if handler.contains("fn main") { "" } else { "fn main() { let _ = micro_smol::serve(handler); }" };
        let source = format!("#![allow(unused)]\nuse micro_smol::Request;\n{handler}\n{main}\n");
        std::fs::write(package.join(format!("src/bin/{name}.rs")), source).unwrap();
    }
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--offline", "--keep-going", "--color=never", "--target-dir"]);
    cargo.arg(Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap());
    let output = cargo.current_dir(&package).output().unwrap();
    let messages = String::from_utf8(output.stderr).unwrap();
    for (name, _, expected) in MISTAKES {
        // Each message says in which file it is; what is said of one must not stand in for another.
        let of_it = |message: &&str| message.contains(&format!("src/bin/{name}.rs"));
        let message: String = messages.split("\nerror").filter(of_it).collect();
        for text in expected {
            assert!(message.contains(text), "{name} lacks {text:?}:\n{messages}");
        }
    }
}
