//! The parts that fields have in common: tokens, lists, numbers (RFC 9110, 5.6).

/// A set of bytes.
pub struct Bytes([bool; 256]);

/// The bytes of a token.
pub const TCHAR: Bytes = Bytes::alphanumeric_or(b"!#$%&'*+-.^_`|~");

/// The bytes of a registered name that stand for themselves (RFC 3986, 3.2.2).
pub const REG_NAME: Bytes = Bytes::alphanumeric_or(b"-._~!$&'()*+,;=");

/// The bytes of a path, and with a `?` of what is behind it, forgivingly: RFC 3986 wants some of them encoded.
pub const PATH: Bytes = Bytes::alphanumeric_or(b"!\"$%&'()*+,-./:;<=>@[\\]^_`{|}~");

impl Bytes {
    #[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "it is computed by the compiler")]
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

    pub fn have_all(&self, text: &[u8]) -> bool {
        text.iter().all(|byte| self.has(*byte))
    }
}

/// Whether it may stand in a field value (RFC 9110, 5.5).
pub fn is_field_byte(byte: u8) -> bool {
    byte == b'\t' || byte >= b' ' && byte != 0x7f
}

/// How many bytes at the front are known to be printable ASCII. Eight are looked at in one step.
pub fn printable_bytes(text: &[u8]) -> usize {
    const EACH: u64 = u64::MAX / 255;
    let mut count = 0_usize;
    for word in text.as_chunks().0 {
        // The highest bit is set in a byte below the space, and in one above the tilde; behind those, it may be.
        let word = u64::from_le_bytes(*word);
        let marks = (word.wrapping_sub(EACH * 0x20) | word.wrapping_add(EACH)) & (EACH * 0x80);
        count = count.saturating_add(marks.trailing_zeros() as usize / 8);
        if marks != 0 {
            break;
        }
    }
    count
}

pub fn is_token(text: &[u8]) -> bool {
    !text.is_empty() && TCHAR.have_all(text)
}

/// Whether a list-based field value has this element, which is compared without case.
pub fn has_element(value: &[u8], element: &str) -> bool {
    elements(value).any(|found| found.eq_ignore_ascii_case(element.as_bytes()))
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

/// A number of digits alone; none of them make 0.
pub fn decimal(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0_u64, |number, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte & 0x0f))?;
        number.checked_mul(10)?.checked_add(digit)
    })
}
