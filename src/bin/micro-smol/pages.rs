//! Pages that this program carries: a page for each mistake that its messages name one for, and completions.

use std::path::Path;

use lexopt::Parser;
use micro_smol::cli::{Outcome, print_text};

use super::arguments::{Arguments, nearest};

/// Pages with their names.
type Pages = [(&'static str, &'static str)];

pub const PAGES: &Pages = &[
    ("address-in-use", include_str!("../../../errors/address-in-use.md")),
    ("cache-not-writable", include_str!("../../../errors/cache-not-writable.md")),
    ("cargo-not-found", include_str!("../../../errors/cargo-not-found.md")),
    ("dependency-undeclared", include_str!("../../../errors/dependency-undeclared.md")),
    ("dependency-unreachable", include_str!("../../../errors/dependency-unreachable.md")),
    ("endpoint-invalid", include_str!("../../../errors/endpoint-invalid.md")),
    ("entry-missing", include_str!("../../../errors/entry-missing.md")),
    ("entry-not-existent", include_str!("../../../errors/entry-not-existent.md")),
    ("entry-not-rust", include_str!("../../../errors/entry-not-rust.md")),
    ("frontmatter-invalid", include_str!("../../../errors/frontmatter-invalid.md")),
    ("handler-type", include_str!("../../../errors/handler-type.md")),
    ("manifest-invalid", include_str!("../../../errors/manifest-invalid.md")),
    ("no-handler", include_str!("../../../errors/no-handler.md")),
    ("port-invalid", include_str!("../../../errors/port-invalid.md")),
    ("port-privileged", include_str!("../../../errors/port-privileged.md")),
    ("socket-in-use", include_str!("../../../errors/socket-in-use.md")),
];

pub const COMPLETIONS: &Pages = &[
    ("bash", include_str!("../../../completions/micro-smol.bash")),
    ("fish", include_str!("../../../completions/micro-smol.fish")),
    ("zsh", include_str!("../../../completions/micro-smol.zsh")),
];

const MANUAL: &str = include_str!("../../../docs/micro-smol.1");

/// What the manual says of a command, and of its options.
pub fn manual(command: &str) -> String {
    let about = item(command);
    let more = if about.contains("[options]") { item("\\-\\-debug") } else { String::new() };
    format!("Usage: micro-smol {about}{}{more}", if more.is_empty() { "" } else { "\nOptions: " })
}

/// The item of the manual that begins with a name: a line, and a paragraph.
fn item(name: &str) -> String {
    let mut items = MANUAL.split(".TP\n").filter_map(|item| item.strip_prefix("\\fB"));
    let item = items.find(|item| item.starts_with(name)).unwrap_or_default().split(".SH").next().unwrap_or_default();
    let plain = ["\\fB", "\\fI", "\\fR", "\\"].iter().fold(item.to_owned(), |text, font| text.replace(font, ""));
    let (usage, paragraph) = plain.split_once('\n').unwrap_or_default();
    let words = paragraph.lines().map(|line| match line.split_once(' ') {
        // Two fonts in one word.
        Some((".BR" | ".IR", word)) => word.replace(' ', ""),
        Some((start, rest)) if start.starts_with('.') => rest.to_owned(),
        _ => line.to_owned(),
    });
    let mut text = format!("{usage}\n");
    for word in words.collect::<Vec<_>>().join(" ").split(' ') {
        let column = text.len() - text.rfind('\n').map_or(0, |end| end + 1);
        text += if column + word.len() >= 80 || column == 0 { "\n    " } else { " " };
        text += word;
    }
    text + "\n"
}

/// Prints the text that the argument names; without one, all names.
pub fn print(parser: Parser, texts: &Pages) -> Outcome {
    let names: Vec<&str> = texts.iter().map(|(name, _)| *name).collect();
    let Some(name) = Arguments::new(1, &[]).read(parser)?.values.pop() else {
        return print_text(&(names.join("\n") + "\n"));
    };
    let Some((_, text)) = texts.iter().find(|(known, _)| name == Path::new(known)) else {
        let advice = match nearest(&name.to_string_lossy(), &names) {
            Some(near) => format!("did you mean {near}?"),
            None => format!("there are {}", names.join(", ")),
        };
        return Err(lexopt::Error::from(format!("there is no {}; {advice}", name.display())).into());
    };
    print_text(text)
}
