//! A file's text: its frontmatter, its code, and whether that is a program or has a handler.

use std::path::Path;

/// What a `main` of ours serves.
pub const HANDLER: &str = "`pub async fn handler(req: Request) -> impl IntoResponse`";

/// What is wrong in which line.
pub type LineError = (usize, String);

/// Says what is wrong with a file's frontmatter.
pub fn refusal(file: &Path, (line, fault): LineError) -> String {
    format!("{}:{line}: {fault}; more: micro-smol explain frontmatter-invalid", file.display())
}

/// A file, in two texts whose lines have the numbers that they have in the file.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Source {
    /// The line in which the frontmatter begins, where there is one.
    pub opening: Option<usize>,
    pub manifest: String,
    pub code: String,
}

impl Source {
    /// Takes the frontmatter off: after a `#!` line and blank ones, up to a fence as long as its first (RFC 3502).
    pub fn split(text: &str) -> Result<Self, LineError> {
        let mut lines = behind_shebang(text).skip_while(|(_, line)| line.trim().is_empty());
        let Some((opening, line)) = lines.next().filter(|(_, line)| line.starts_with('-')) else {
            return Ok(Source::of_comment(text));
        };
        let infostring = line.trim_start_matches('-');
        let fence = &line[..line.len() - infostring.len()];
        if fence.len() < 3 || !matches!(infostring.trim(), "" | "cargo") {
            return Err((opening, "the frontmatter is for cargo: begin it with --- or ---cargo".to_owned()));
        }
        let closing = lines.find(|(_, line)| line.starts_with(fence));
        let (closing, end) = closing.ok_or((opening, format!("the frontmatter has no end: close it with {fence}")))?;
        if end.trim_end() != fence {
            return Err((
                closing,
                format!("the frontmatter ends here: close it with {fence} alone, or begin it with more"),
            ));
        }
        if let Some((line, _)) =
            lines.find(|(_, line)| !line.trim().is_empty()).filter(|(_, line)| line.starts_with('-'))
        {
            return Err((line, "a second frontmatter: put all into the first".to_owned()));
        }
        let blank = |count| "\n".repeat(count);
        let lines = |from, to| text.split_inclusive('\n').take(to).skip(from).collect::<String>();
        let manifest = blank(opening) + &lines(opening, closing - 1);
        Ok(Source { opening: Some(opening), manifest, code: blank(closing) + &lines(closing, usize::MAX) })
    }

    /// Takes the manifest from where rust-script has it: a block of the comment that the file begins with.
    fn of_comment(text: &str) -> Self {
        let comment =
            |line: &'_ str| line.strip_prefix("//!").map(|rest| rest.strip_prefix(' ').unwrap_or(rest).to_owned());
        let is_opening = |line: &str| comment(line).is_some_and(|line| line.trim_end() == "```cargo");
        let mut head = behind_shebang(text).take_while(|(_, line)| line.trim().is_empty() || line.starts_with("//"));
        let opening = head.find_map(|(number, line)| is_opening(line).then_some(number));
        let lines = text.lines().skip(opening.unwrap_or(usize::MAX)).map_while(comment);
        let lines = lines.take_while(|line| line.trim_end() != "```").map(|line| line + "\n");
        let manifest = "\n".repeat(opening.unwrap_or(0)) + &lines.collect::<String>();
        Source { opening, manifest, code: text.to_owned() }
    }

    /// The code with a `main`: its own, or one that serves its handler; none if it has neither.
    ///
    /// It goes by the words outside of `//` comments. Only a `main` at the beginning of a line counts, where rustfmt has
    /// it: one in a string or a module must not hide the handler. A handler is what may be one: if not, rustc says so.
    pub fn program(&self) -> Option<String> {
        let lines: Vec<&str> = self.code.lines().filter_map(|line| line.split("//").next()).collect();
        if lines.iter().any(|line| is_main(line)) {
            return Some(self.code.clone());
        }
        let code = lines.join("\n");
        let (at, _) = code.match_indices("pub ").find(|(at, public)| is_handler(&code[at + public.len()..]))?;
        let line = code[..at].matches('\n').count() + 1;
        let hint = format!("line {line}: micro-smol explain handler-type");
        Some(format!("{}\n{}", self.code.trim_end(), main("handler", &hint)))
    }
}

/// The lines of a file, with their numbers, without one that tells a shell how to run it.
fn behind_shebang(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // `#![…]` is an attribute, even with space in it.
    let is_shebang = text.strip_prefix("#!").is_some_and(|rest| !rest.trim_start().starts_with('['));
    (1..).zip(text.lines()).skip(usize::from(is_shebang))
}

/// A `main` that serves a handler, with a hint for who sees it in a message of rustc.
pub fn main(handler: &str, hint: &str) -> String {
    format!("fn main() -> ::std::process::ExitCode {{\n    ::micro_smol::run({handler}) // {hint}\n}}\n")
}

fn is_main(line: &str) -> bool {
    let item = line.trim_start_matches("pub ").trim_start_matches("async ");
    item.strip_prefix("fn main").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Whether what stands after `pub` may declare or re-export a `handler`.
fn is_handler(item: &str) -> bool {
    let head = item.split(['(', '=', ';']).next().unwrap_or(item);
    head.contains("::*") || head.split(|c: char| !c.is_alphanumeric() && c != '_').any(|word| word == "handler")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontmatter_is_taken_off_and_lines_keep_their_numbers() {
        let cases = [
            ("fn a() {}\n", (None, "", "fn a() {}\n")),
            ("", (None, "", "")),
            ("// a\n---\n---\n", (None, "", "// a\n---\n---\n")),
            (" ---\n ---\n", (None, "", " ---\n ---\n")),
            ("#! [allow(a)]\n---\n---\n", (None, "", "#! [allow(a)]\n---\n---\n")),
            ("#![allow(a)]\n---\n---\n", (None, "", "#![allow(a)]\n---\n---\n")),
            ("---\n---\nb", (Some(1), "\n", "\n\nb")),
            ("---\na = 1\n---\nb\nc\n", (Some(1), "\na = 1\n", "\n\n\nb\nc\n")),
            ("#!/bin/x\n\n---cargo\na\n---\nb\n", (Some(3), "\n\n\na\n", "\n\n\n\n\nb\n")),
            ("----  cargo \na\n---\n---- \nb\n", (Some(1), "\na\n---\n", "\n\n\n\nb\n")),
            (" \n\t\n---\t\n---", (Some(3), "\n\n\n", "\n\n\n\n")),
            ("---\r\na\r\n---\r\nb\r\n", (Some(1), "\na\r\n", "\n\n\nb\r\n")),
        ];
        for (text, (opening, manifest, code)) in cases {
            let expected = Source { opening, manifest: manifest.to_owned(), code: code.to_owned() };
            assert_eq!(Source::split(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn a_block_in_the_first_comment_is_a_manifest_too() {
        let cases = [
            ("//! ```cargo\n//! [a]\n//! b = 1\n//! ```\nc\n", (Some(1), "\n[a]\nb = 1\n")),
            ("#!/bin/x\n// A\n\n//!```cargo \n//!a\n", (Some(4), "\n\n\n\na\n")),
            ("//! ```cargo\n//!   a\n//!\nb\n//! c", (Some(1), "\n  a\n\n")),
            ("//! ```\n//! a\n//! ```\n", (None, "")),
            ("a\n//! ```cargo\n//! [a]\n//! ```\n", (None, "")),
        ];
        for (text, (opening, manifest)) in cases {
            let expected = Source { opening, manifest: manifest.to_owned(), code: text.to_owned() };
            assert_eq!(Source::split(text), Ok(expected), "{text:?}");
        }
    }

    #[test]
    fn malformed_frontmatter_is_named_with_its_line() {
        let cases = [
            ("---\na = 1\n", (1, "the frontmatter has no end: close it with ---")),
            ("\n----\n---\n", (2, "the frontmatter has no end: close it with ----")),
            ("---\n ---\n", (1, "the frontmatter has no end: close it with ---")),
            ("-----\n---\n", (1, "the frontmatter has no end: close it with -----")),
            ("---", (1, "the frontmatter has no end: close it with ---")),
            ("---toml\n---\n", (1, "the frontmatter is for cargo: begin it with --- or ---cargo")),
            ("--- cargo toml\n---\n", (1, "the frontmatter is for cargo: begin it with --- or ---cargo")),
            ("--\n--\n", (1, "the frontmatter is for cargo: begin it with --- or ---cargo")),
            ("---\n----\n", (2, "the frontmatter ends here: close it with --- alone, or begin it with more")),
            ("---\n\n--- a\n---\n", (3, "the frontmatter ends here: close it with --- alone, or begin it with more")),
            ("---\n---\n\n---\n---\n", (4, "a second frontmatter: put all into the first")),
        ];
        for (text, (line, fault)) in cases {
            assert_eq!(Source::split(text), Err((line, fault.to_owned())), "{text:?}");
        }
    }

    /// What comes of a file: nothing, the same program, or one with a `main` for the handler in this line.
    fn kind(code: &str) -> String {
        let source = Source { code: code.to_owned(), ..Source::default() };
        match source.program() {
            None => "none".to_owned(),
            Some(program) if program == code => "program".to_owned(),
            Some(program) => program.split(" // ").last().unwrap_or_default().chars().take("line 1".len()).collect(),
        }
    }

    #[test]
    fn a_main_or_an_exported_handler_is_found() {
        let cases = [
            ("", "none"),
            ("fn main() {}", "program"),
            ("pub fn main () {}", "program"),
            ("async fn main() {}", "program"),
            ("pub async fn handler(_: R) {}\nfn main() {}", "program"),
            ("pub async fn handler(_: R) {}\nmod tests {\n    fn main() {}\n}", "line 1"),
            ("fn main_loop() {}\nfn handler() {}", "none"),
            ("// fn main() {}\n/// pub async fn handler()\n", "none"),
            ("use a;\n\npub async fn handler(_: R) {}", "line 3"),
            ("    #[a] pub async fn handler<T>(_: R) {}", "line 1"),
            ("pub fn handler(_: R) -> impl Future {}", "line 1"),
            ("pub fn other(handler: u8) {}", "none"),
            ("pub fn handlers() {}", "none"),
            ("pub(crate) async fn handler() {}", "none"),
            ("pub static handler: H = H;", "line 1"),
            ("pub const handler: fn() = a;", "line 1"),
            ("pub use a::b as handler;", "line 1"),
            ("pub use a::{\n    b,\n    handler,\n};", "line 1"),
            ("pub use a::*;", "line 1"),
            ("pub use a::b;\nuse c::handler;", "none"),
        ];
        for (code, expected) in cases {
            assert_eq!(kind(code), expected, "{code:?}");
        }
    }
}
