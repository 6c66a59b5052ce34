//! What `GET /sum?a=1&b=2` and `POST` with a number add up, on those servers that have it.

use serde::Deserialize;

/// The query.
#[derive(Deserialize)]
pub struct Terms {
    pub a: i64,
    pub b: i64,
}

impl Terms {
    /// The sum with the content of a request, which may be empty; `None` if that is no number.
    pub fn sum(&self, content: &str) -> Option<i64> {
        let content = if content.is_empty() { 0 } else { content.parse().ok()? };
        Some(self.a.wrapping_add(self.b).wrapping_add(content))
    }
}
