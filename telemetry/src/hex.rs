//! Ids in lower-case hex, as W3C Trace Context writes them. Every request reads or writes some, so this goes without the
//! machinery of formatting.

const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// Appends two digits for each byte.
pub(crate) fn push(text: &mut String, bytes: &[u8]) {
    for byte in bytes {
        text.push(char::from(DIGITS[usize::from(byte >> 4)]));
        text.push(char::from(DIGITS[usize::from(byte & 15)]));
    }
}

/// The number of a text of exactly so many lower-case digits, at most 32.
pub(crate) fn read(text: &str, digits: usize) -> Option<u128> {
    if text.len() != digits || digits > 32 {
        return None;
    }
    text.bytes().try_fold(0, |number, byte| {
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        Some(number << 4 | u128::from(digit))
    })
}
