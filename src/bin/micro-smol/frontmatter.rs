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
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RustFile {
    /// The line in which the frontmatter begins, where there is one.
    pub opening: Option<usize>,
    pub manifest: String,
    pub code: String,
}

impl RustFile {
    /// Takes the frontmatter off: after a `#!` line and blank ones, up to a fence as long as its first (RFC 3502).
    pub fn split(text: &str) -> Result<Self, LineError> {
        // As rustc does with a byte order mark.
        let text = text.trim_start_matches('\u{feff}');
        let mut lines = behind_shebang(text).skip_while(|(_, line)| line.trim().is_empty());
        let Some((opening, line)) = lines.next().filter(|(_, line)| line.starts_with('-')) else {
            let code = behind_shebang(text).find(|(_, line)| !line.trim().is_empty() && !line.starts_with("//"));
            return match code.filter(|(_, line)| line.starts_with("---")) {
                Some((line, _)) => Err((line, "the frontmatter has to be first: move it above the comment".to_owned())),
                None => Ok(RustFile::of_comment(text)),
            };
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
        Ok(RustFile { opening: Some(opening), manifest, code: blank(closing) + &lines(closing, usize::MAX) })
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
        RustFile { opening, manifest, code: text.to_owned() }
    }

    /// Whether it has a `main` at the beginning of a line, where rustfmt has it: others are in a string or a module.
    pub fn has_main(&self) -> bool {
        self.code.lines().filter_map(|line| line.split("//").next()).any(is_main)
    }

    /// What the file seems to have as functions.
    pub fn functions(&self) -> impl Iterator<Item = &str> {
        self.code.split("fn ").skip(1).filter_map(|function| function.split(['(', '<']).next())
    }

    /// The text before the name of a possible public handler, with all but line ends replaced by spaces; `//` comments do not
    /// count. If the name is not a handler, rustc reports it.
    pub fn blank_before_handler(&self) -> Option<String> {
        let lines: Vec<&str> = self.code.lines().filter_map(|line| line.split("//").next()).collect();
        let code = lines.join("\n");
        let mut public = code.match_indices("pub ").map(|(at, public)| at + public.len());
        let at = public.find_map(|at| Some(at + handler_in(&code[at..])?))?;
        Some(code[..at].chars().map(|c| if c == '\n' { c } else { ' ' }).collect())
    }
}

/// The lines of a file, with their numbers, without one that tells a shell how to run it.
fn behind_shebang(text: &str) -> impl Iterator<Item = (usize, &str)> {
    // `#![…]` is an attribute, even with space in it.
    let is_shebang = text.strip_prefix("#!").is_some_and(|rest| !rest.trim_start().starts_with('['));
    (1..).zip(text.lines()).skip(usize::from(is_shebang))
}

fn is_main(line: &str) -> bool {
    let item = line.trim_start_matches("pub ").trim_start_matches("async ");
    item.strip_prefix("fn main").is_some_and(|rest| rest.trim_start().starts_with('('))
}

/// Where what stands after `pub` declares or re-exports a `handler`, or may do so.
fn handler_in(item: &str) -> Option<usize> {
    let head = item.split(['(', '=', ';']).next().unwrap_or(item);
    let is_in_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_whole = |(before, after): (&str, &str)| !before.ends_with(is_in_word) && !after.starts_with(is_in_word);
    let mut words = head.match_indices("handler").map(|(at, word)| (at, at + word.len()));
    words.find(|(at, end)| is_whole((&head[..*at], &head[*end..]))).map(|(at, _)| at).or_else(|| head.find("::*"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frontmatter_is_taken_off_and_lines_keep_their_numbers() {
        let cases = [
            ("fn a() {}\n", (None, "", "fn a() {}\n")),
            ("", (None, "", "")),
            ("// a\n--a;\n", (None, "", "// a\n--a;\n")),
            (" ---\n ---\n", (None, "", " ---\n ---\n")),
            ("#! [allow(a)]\n---\n---\n", (None, "", "#! [allow(a)]\n---\n---\n")),
            ("#![allow(a)]\n---\n---\n", (None, "", "#![allow(a)]\n---\n---\n")),
            ("---\n---\nb", (Some(1), "\n", "\n\nb")),
            ("---\na = 1\n---\nb\nc\n", (Some(1), "\na = 1\n", "\n\n\nb\nc\n")),
            ("#!/bin/x\n\n---cargo\na\n---\nb\n", (Some(3), "\n\n\na\n", "\n\n\n\n\nb\n")),
            ("----  cargo \na\n---\n---- \nb\n", (Some(1), "\na\n---\n", "\n\n\n\nb\n")),
            (" \n\t\n---\t\n---", (Some(3), "\n\n\n", "\n\n\n\n")),
            ("\u{feff}---\na\n---\nb\n", (Some(1), "\na\n", "\n\n\nb\n")),
            ("---\r\na\r\n---\r\nb\r\n", (Some(1), "\na\r\n", "\n\n\nb\r\n")),
        ];
        for (text, (opening, manifest, code)) in cases {
            let expected = RustFile { opening, manifest: manifest.to_owned(), code: code.to_owned() };
            assert_eq!(RustFile::split(text), Ok(expected), "{text:?}");
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
            let expected = RustFile { opening, manifest: manifest.to_owned(), code: text.to_owned() };
            assert_eq!(RustFile::split(text), Ok(expected), "{text:?}");
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
            ("#!/x\n// a\n\n---\n---\n", (4, "the frontmatter has to be first: move it above the comment")),
            ("---\n---\n\n---\n---\n", (4, "a second frontmatter: put all into the first")),
        ];
        for (text, (line, fault)) in cases {
            assert_eq!(RustFile::split(text), Err((line, fault.to_owned())), "{text:?}");
        }
    }

    #[test]
    fn a_main_or_an_exported_handler_is_found() {
        let at = |lines, columns| Some("\n".repeat(lines) + &" ".repeat(columns));
        let cases = [
            ("", None),
            ("pub async fn handler(_: R) {}\nmod tests {\n    fn main() {}\n}", at(0, 13)),
            ("fn main_loop() {}\nfn handler() {}", None),
            ("// fn main() {}\n/// pub async fn handler()\n", None),
            ("use a;\n\npub async fn handler(_: R) {}", Some(format!("      \n\n{}", " ".repeat(13)))),
            ("    #[a] pub async fn handler<T>(_: R) {}", at(0, 22)),
            ("/* \u{fc} */ pub fn handler(_: R) -> impl Future {}", at(0, 15)),
            ("pub fn other(handler: u8) {}", None),
            ("pub fn handlers() {}", None),
            ("pub(crate) async fn handler() {}", None),
            ("pub static handler: H = H;", at(0, 11)),
            ("pub const handler: fn() = a;", at(0, 10)),
            ("pub use handlers::b as handler;", at(0, 23)),
            ("\npub use {\n    handler,\n};", Some("\n         \n    ".to_owned())),
            ("pub use a::*;", at(0, 9)),
            ("pub use a::b;\nuse c::handler;", None),
        ];
        for (code, expected) in cases {
            let source = RustFile { code: code.to_owned(), ..RustFile::default() };
            assert!(!source.has_main(), "{code:?}");
            assert_eq!(source.blank_before_handler(), expected, "{code:?}");
        }
        for code in
            ["fn main() {}", "pub fn main () {}", "async fn main() {}", "pub async fn handler(_: R) {}\nfn main() {}"]
        {
            assert!(RustFile { code: code.to_owned(), ..RustFile::default() }.has_main(), "{code:?}");
        }
    }
}
