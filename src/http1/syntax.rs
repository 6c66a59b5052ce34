//! The parts that messages have in common: tokens, lists, numbers (RFC 9110, 5.6).

/// A set of bytes.
pub struct Bytes([bool; 256]);

/// The bytes of a token (RFC 9110, 5.6.2).
pub const TCHAR: Bytes = Bytes::alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// The bytes of a registered name that stand for themselves (RFC 3986, 3.2.2), without the comma: `a,b` may be two Host
/// fields that somebody has merged.
pub const REG_NAME: Bytes = Bytes::alphanumeric_or(b"-._~!$&'()*+;=");

/// The bytes of a path; with `?`, those of a query. RFC 3986 wants some of them percent-encoded, but clients send them.
pub const PATH: Bytes = Bytes::alphanumeric_or(b"!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~");

impl Bytes {
    #[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler computes it")]
    const fn alphanumeric_or(others: &[u8]) -> Bytes {
        let mut set = [false; 256];
        let mut byte = 0;
        while byte < set.len() {
            set[byte] = (byte as u8).is_ascii_alphanumeric();
            byte += 1;
        }
        let mut index = 0;
        while index < others.len() {
            set[others[index] as usize] = true;
            index += 1;
        }
        Bytes(set)
    }

    pub fn has(&self, byte: u8) -> bool {
        self.0.get(usize::from(byte)).copied().unwrap_or_default()
    }
}

pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && text.iter().all(|byte| TCHAR.has(*byte))
}

/// Whether a byte may stand in a field value: visible ASCII, SP, HTAB or obs-text (RFC 9110, 5.5).
pub fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

pub fn is_field_value(value: &[u8]) -> bool {
    let (_, rest) = value.split_at(printable_bytes(value));
    rest.iter().all(|byte| is_field_byte(*byte))
}

/// How many bytes at the front are known to be printable ASCII. One step looks at eight.
pub fn printable_bytes(text: &[u8]) -> usize {
    const EACH: u64 = u64::MAX / 255;
    let mut count = 0_usize;
    for word in text.as_chunks().0 {
        // The highest bit is set in a byte below the space and in one above the tilde; in the bytes behind it, it may be.
        let word = u64::from_le_bytes(*word);
        let marks = (word.wrapping_sub(EACH * 0x20) | word.wrapping_add(EACH)) & (EACH * 0x80);
        count = count.saturating_add(marks.trailing_zeros() as usize / 8);
        if marks != 0 {
            break;
        }
    }
    count
}

/// The elements of a list-based field value, without the white space around them (RFC 9110, 5.6.1).
pub fn elements(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(trim)
}

/// Takes SP and HTAB off both ends; nothing else is optional white space (RFC 9110, 5.6.3).
pub fn trim(text: &[u8]) -> &[u8] {
    let mut text = text;
    while let [b' ' | b'\t', rest @ ..] | [rest @ .., b' ' | b'\t'] = text {
        text = rest;
    }
    text
}

/// The number that digits make; 0 if there are none, `None` if there is anything else or the number is too large.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte & 0x0f))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
